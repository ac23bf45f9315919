/* The list: groups rows by day, region and tournament, and draws only what can be visible. */

import * as f from "./format.js"
import {fill, h} from "./dom.js"
import {buildDetail} from "./detail.js"
import {buildAwaitedHead, buildDayHead, buildGroupHead, buildRow, isAwaited} from "./row.js"

const OVERSCAN_PX = 700
const AHEAD_PX = 2000
/* in rem, as in the style sheet: who has larger text has larger rows */
const SIZES = {
  wide: {day: 2.5, group: 2.25, row: 3.5, context: 1.25, tail: 3.5},
  narrow: {day: 2, group: 2, row: 8.25, context: 1.25, tail: 3.5},
}
const rem = () => parseFloat(getComputedStyle(document.documentElement).fontSize)
const sizes = isNarrow => {
  const unit = rem()
  return Object.fromEntries(
    Object.entries(isNarrow ? SIZES.narrow : SIZES.wide).map(([name, size]) => [name, size * unit]),
  )
}

export class MatchList {
  constructor({onMore, onPredict, onHistory, config}) {
    this.onMore = onMore
    this.onPredict = onPredict
    this.onHistory = onHistory
    this.config = config
    this.grouped = true
    this.ofUpcoming = false
    this.awaitedOpen = false
    this.next = null
    this.total = 0
    this.requested = null
    this.rows = []
    this.items = []
    this.byKey = new Map()
    this.drawn = new Map()
    this.openIds = new Set()
    this.heights = new Map()
    this.predictions = new Map()
    this.histories = new Map()
    this.active = -1
    this.narrow = matchMedia("(max-width: 43.6875em)")
    this.canvas = h("div", {class: "canvas", role: "list", "aria-label": "Matches"})
    this.here = h("span", {class: "here"})
    this.head = h(
      "div",
      {class: "head", "aria-hidden": "true"},
      this.here,
      ...["1", "X", "2"].map(text => h("span", {class: "c"}, text)),
      h("span", {class: "s"}, "Value signal"),
      h("span", {class: "p"}, "Pred"),
      h("span", {}),
    )
    this.el = h("section", {class: "list", "aria-label": "Matches"}, this.head, this.canvas)
    this.measure = new ResizeObserver(entries => this.onMeasure(entries))
    this.redraw = () => {
      this.frame ??= requestAnimationFrame(() => {
        this.frame = null
        this.draw()
      })
    }
    this.relayout = () => {
      this.clear()
      this.layout()
      this.draw()
    }
    addEventListener("scroll", this.redraw, {passive: true})
    addEventListener("resize", this.redraw, {passive: true})
    this.narrow.addEventListener("change", this.relayout)
  }

  remove() {
    removeEventListener("scroll", this.redraw)
    removeEventListener("resize", this.redraw)
    this.narrow.removeEventListener("change", this.relayout)
    this.measure.disconnect()
  }

  /* --- data --------------------------------------------------------------------------------------------- */

  show(rows, {next, total, grouped, ofUpcoming}) {
    Object.assign(this, {rows, next, total, grouped, ofUpcoming, requested: null, active: -1, awaitedOpen: false})
    this.openIds.clear()
    this.heights.clear()
    this.clear()
    this.layout()
    this.draw()
  }

  append(rows, {next, total}) {
    const known = new Set(this.rows.map(row => row.id))
    this.rows = this.rows.concat(rows.filter(row => !known.has(row.id)))
    Object.assign(this, {next, total, requested: null})
    this.keepPlace(() => this.layout())
    this.draw()
  }

  /* new numbers of the same matches: redraws what changed and marks it, without moving the page or the focus */
  renew(rows, {next, total}) {
    const before = new Map(this.rows.map(row => [row.id, row]))
    const changed = rows.filter(row => {
      const old = before.get(row.id)
      return !old || fingerprint(old) !== fingerprint(row)
    })
    for (const row of changed) if (before.has(row.id)) row.was = pricesBefore(before.get(row.id), row)
    const focused = this.focusedId(),
      active = this.current()?.id
    Object.assign(this, {rows, next, total, requested: null})
    this.keepPlace(() => {
      this.forget(changed, before)
      this.layout()
    })
    this.active = this.position.get(active) ?? -1
    this.draw()
    for (const row of changed) this.drawn.get(row.id)?.classList.add("is-new")
    if (focused) this.drawn.get(focused)?.querySelector(".teams")?.focus({preventScroll: true})
    return changed.length
  }

  focusedId() {
    return this.canvas.getRootNode().activeElement?.closest?.(".row")?.dataset.id
  }

  /* what was drawn of matches that have changed, and every head, whose counts and ROI may have */
  forget(changed, before) {
    const keys = new Set(changed.flatMap(row => [row.id, `${row.id} detail`]))
    for (const row of before.values()) if (row.was) keys.add(row.id)
    for (const [key, el] of this.drawn) {
      if (!keys.has(key) && !/^(day|group) |^(tail|awaited)$/.test(key)) continue
      this.measure.unobserve(el)
      el.remove()
      this.drawn.delete(key)
    }
  }

  setPrediction(message) {
    this.predictions.set(`${message.id} ${message.alias}`, message)
    this.drawn.get(`${message.id} detail`)?.redraw()
  }

  setHistory(message) {
    this.histories.set(message.id, message)
    this.drawn.get(`${message.id} detail`)?.redraw()
  }

  /* --- layout -------------------------------------------------------------------------------------------- */

  layout() {
    const size = sizes(this.narrow.matches)
    this.items = []
    let y = 0
    const put = (item, height) => {
      this.items.push({...item, y, height})
      y += height
    }
    if (this.grouped) this.placeGroups(put, size)
    else this.rows.forEach(row => this.placeRow(put, row, size.row + size.context))
    if (this.next) put({kind: "tail", key: "tail"}, size.tail)
    this.byKey = new Map(this.items.map(item => [item.key, item]))
    this.order = this.items.filter(item => item.kind === "row").map(item => item.row)
    this.position = new Map(this.order.map((row, i) => [row.id, i]))
    this.canvas.style.height = `${y}px`
  }

  placeDays(rows, put, size) {
    for (const [day, ofDay] of groupBy(rows, row => f.dayKey(row.t, row.timed))) {
      put({kind: "day", key: `day ${day}`, at: ofDay[0].t, timed: ofDay[0].timed}, size.day)
      const groups = [...groupBy(ofDay, row => `${row.region}\n${row.tour}`)].sort(([a], [b]) => a.localeCompare(b))
      for (const [name, ofGroup] of groups) {
        put({kind: "group", key: `group ${day} ${name}`, row: ofGroup[0]}, size.group)
        ofGroup.forEach(row => this.placeRow(put, row, size.row))
      }
    }
  }

  /* matches that wait for their result are no upcoming ones: they have a group of their own, closed at first */
  placeGroups(put, size) {
    const awaited = this.ofUpcoming ? this.rows.filter(isAwaited) : []
    if (!awaited.length) return this.placeDays(this.rows, put, size)
    const others = this.rows.filter(row => !isAwaited(row))
    const place = () => {
      const isOpen = this.awaitedOpen
      put(
        {kind: "awaited", key: "awaited", n: awaited.length, isAll: others.length > 0 || !this.next, isOpen},
        size.day,
      )
      if (isOpen) awaited.forEach(row => this.placeRow(put, row, size.row + size.context))
    }
    const isFirst = isAwaited(this.rows[0])
    if (isFirst) place()
    this.placeDays(others, put, size)
    if (!isFirst) place()
  }

  toggleAwaited() {
    this.awaitedOpen = !this.awaitedOpen
    this.relayout()
    this.drawn.get("awaited")?.querySelector("button").focus({preventScroll: true})
  }

  placeRow(put, row, height) {
    put({kind: "row", key: row.id, row}, height)
    if (this.openIds.has(row.id)) put({kind: "detail", key: `${row.id} detail`, row}, this.heights.get(row.id) ?? 300)
  }

  /* what stands above may grow or shrink; the first row on screen stays where it is */
  keepPlace(change) {
    const top = scrollY - this.top(),
      anchor = top > 0 && this.items.find(item => item.kind === "row" && item.y >= top)
    change()
    const now = anchor && this.byKey.get(anchor.key)
    if (now && now.y !== anchor.y) scrollTo({top: scrollY + now.y - anchor.y, behavior: "instant"})
  }

  onMeasure(entries) {
    for (const {target} of entries) {
      const height = target.firstChild?.offsetHeight ?? 0,
        id = target.dataset.for
      if (!height || this.heights.get(id) === height) continue
      this.heights.set(id, height)
      this.layout()
      this.redraw()
    }
  }

  top() {
    return this.canvas.getBoundingClientRect().top + scrollY
  }

  /* --- drawing --------------------------------------------------------------------------------------------- */

  clear() {
    this.measure.disconnect()
    this.drawn.clear()
    fill(this.canvas)
  }

  draw() {
    const top = scrollY - this.top(),
      bottom = top + innerHeight
    const visible = this.items.slice(
      lowerBound(this.items, top - OVERSCAN_PX),
      lowerBound(this.items, bottom + OVERSCAN_PX) + 1,
    )
    const wanted = new Set(visible.map(item => item.key))
    for (const [key, el] of this.drawn)
      if (!wanted.has(key)) {
        this.measure.unobserve(el)
        el.remove()
        this.drawn.delete(key)
      }
    let previous = null
    for (const item of visible) previous = this.place(item, previous)
    this.mark(top)
    this.ahead(bottom)
  }

  place(item, previous) {
    let el = this.drawn.get(item.key)
    if (!el) {
      el = this.build(item)
      this.drawn.set(item.key, el)
      // in reading order, so that the Tab key follows the eye
      if (previous) previous.after(el)
      else this.canvas.prepend(el)
      if (item.kind === "detail") this.measure.observe(el)
    }
    el.style.transform = `translateY(${item.y}px)`
    if (item.kind !== "detail") el.style.height = `${item.height}px`
    return el
  }

  build(item) {
    if (item.kind === "day") return buildDayHead(item)
    if (item.kind === "group") return buildGroupHead(item.row)
    if (item.kind === "awaited") return buildAwaitedHead(item, () => this.toggleAwaited())
    if (item.kind === "tail")
      return h("div", {class: "tail", role: "listitem"}, h("span", {class: "spinner"}), "Loading more matches…")
    if (item.kind === "detail") return this.buildDetail(item.row)
    const position = this.position.get(item.row.id)
    const el = buildRow(item.row, {
      grouped: this.grouped && !(this.ofUpcoming && isAwaited(item.row)),
      open: this.openIds.has(item.row.id),
      position,
      total: this.total,
      onToggle: row => this.toggle(row),
    })
    el.classList.toggle("is-active", position === this.active)
    return el
  }

  buildDetail(row) {
    const detail = buildDetail(row, {
      apiUrl: this.config.apiUrl,
      predictions: this.predictions,
      histories: this.histories,
      onResize: () => {},
      onPredict: (match, alias) => {
        this.predictions.set(`${match.id} ${alias}`, {state: "pending"})
        this.onPredict(match.id, alias)
      },
    })
    if (row.money) this.onHistory(row.id)
    const el = h("div", {class: "detail-item", role: "listitem", "data-for": row.id}, detail)
    el.redraw = detail.redraw
    return el
  }

  mark(top) {
    let day = null
    if (this.grouped && top > 0) day = this.items.findLast(item => item.kind === "day" && item.y <= top)
    const text = day ? f.dayTitle(day.at, day.timed).join(" · ") : ""
    if (this.here.textContent !== text) this.here.textContent = text
    this.head.classList.toggle("is-day", Boolean(day))
  }

  ahead(bottom) {
    if (!this.next || this.requested === this.next) return
    if (this.canvas.offsetHeight - bottom > AHEAD_PX) return
    this.requested = this.next
    this.onMore(this.next)
  }

  /* --- keys and clicks ------------------------------------------------------------------------------------ */

  toggle(row) {
    this.openIds.delete(row.id) || this.openIds.add(row.id)
    const el = this.drawn.get(row.id),
      isOpen = this.openIds.has(row.id)
    el?.classList.toggle("is-open", isOpen)
    el?.querySelector(".teams")?.setAttribute("aria-expanded", String(isOpen))
    this.active = this.position.get(row.id)
    this.layout()
    this.draw()
    this.highlight()
  }

  move(step) {
    if (!this.order?.length) return
    this.active = Math.min(Math.max(this.active + step, 0), this.order.length - 1)
    const item = this.byKey.get(this.order[this.active].id),
      y = this.top() + item.y
    const head = 130
    if (y < scrollY + head) scrollTo({top: y - head, behavior: "instant"})
    else if (y + item.height > scrollY + innerHeight - 20)
      scrollTo({top: y + item.height - innerHeight + 20, behavior: "instant"})
    this.draw()
    this.highlight()
    this.drawn.get(item.key)?.querySelector(".teams")?.focus({preventScroll: true})
  }

  /**
   * Close the detail that an element is in, or that of its row, and focus the row; return whether there was one.
   * A detail drawn anew, as when its history arrives, may have lost the focus to the page: then the row last opened.
   * @param {Element} target
   */
  close(target) {
    const item = /** @type {HTMLElement | null} */ (target.closest?.(".row, .detail-item")),
      last = target === document.body ? this.current()?.id : undefined,
      id = item?.dataset.id ?? item?.dataset.for ?? last
    if (!this.openIds.has(id)) return false
    this.toggle(this.byKey.get(id).row)
    this.drawn.get(id)?.querySelector(".teams")?.focus({preventScroll: true})
    return true
  }

  highlight() {
    const id = this.order[this.active]?.id
    for (const [key, el] of this.drawn) el.classList.toggle("is-active", key === id)
  }

  current() {
    return this.order?.[this.active]
  }
}

/* what a row shows, to tell whether it looks other than before */
const fingerprint = row =>
  JSON.stringify({...row, was: null, at: null, roi: null, money: row.money && {...row.money, at: null}})

/* the prices before, where they have moved */
function pricesBefore(old, row) {
  const prices = old.money?.odds,
    now = row.money?.odds
  return prices && now && prices.some((price, i) => price !== now[i]) ? prices : null
}

function groupBy(rows, keyOf) {
  const groups = new Map()
  for (const row of rows) {
    const key = keyOf(row)
    groups.has(key) ? groups.get(key).push(row) : groups.set(key, [row])
  }
  return groups
}

/* index of the first item that ends below y */
function lowerBound(items, y) {
  let low = 0,
    high = items.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (items[middle].y + items[middle].height <= y) low = middle + 1
    else high = middle
  }
  return low
}
