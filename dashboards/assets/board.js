/* The board: joins controls, results and list to the session on the server. */

import * as f from "./format.js"
import {copyButton, fill, h, icon} from "./dom.js"
import {Controls} from "./controls.js"
import {MatchList} from "./list.js"
import {Notices, emptyState, errorState, futureState, waitingState} from "./notices.js"
import {Operations} from "./operations.js"
import {Performance} from "./performance.js"
import {Results} from "./results.js"

const TICK_MS = 30e3
const ANSWER_MS = 15e3
const BUSY_AFTER_MS = 300
const VIEWS = [
  ["matches", "Matches"],
  ["value", "Value bets"],
  ["performance", "Performance"],
  ["operations", "Operations"],
]
/* a key acts only in the views that show what it acts on */
const KEYS_OF = {matches: "jkvo/", value: "/", performance: "v/", operations: ""}
const CONTENT = {matches: "matches", value: "value bets", performance: "charts", operations: "state"}
const OLD_RESULTS_MS = 7 * f.DAY // leagues play every week: later, the source has stopped

class Board {
  constructor(model) {
    this.send = message => {
      if (!this.isLost) model.send_msg(message)
    }
    this.config = {apiUrl: ""}
    this.revision = 0
    this.total = null
    this.notices = new Notices({onRetry: () => this.reload(), onChange: () => this.showLive()})
    this.results = new Results(stake => this.change({stake}))
    this.performance = new Performance()
    this.operations = new Operations()
    this.view = "matches"
    this.controls = new Controls(patch => this.change(patch), {
      onReset: () => this.reset(),
      onOdds: () => {
        this.list.relayout()
        this.results.redraw()
      },
      onSql: () => this.send({kind: "sql"}),
    })
    this.list = new MatchList({
      config: this.config,
      onMore: cursor => this.send({kind: "more", cursor}),
      onPredict: (id, alias) => this.send({kind: "predict", id, alias}),
      onHistory: id => this.send({kind: "history", id}),
    })
    this.content = h("div", {class: "stage"}, waitingState())
    this.panes = h("div", {class: "panes", hidden: true})
    this.tables = null // the scripts of tables, once they are asked for
    this.el = this.frame()
    this.listen(model)
  }

  frame() {
    this.fresh = h("span", {class: "fresh"})
    this.freshLine = h("span", {class: "fresh"})
    this.badge = h("span", {class: "badge"})
    this.side = h("aside", {class: "side", "aria-label": "Filters"}, this.controls.side)
    this.drawer = this.drawerDialog()
    this.opener = h(
      "button",
      {type: "button", class: "button opener", "aria-haspopup": "dialog", onclick: () => this.open()},
      icon("sliders"),
      h("span", {class: "word"}, "Filters"),
      this.badge,
    )
    this.summary = h(
      "button",
      {type: "button", class: "summary", "aria-expanded": "false", onclick: () => this.toggleSummary()},
      "Results",
      icon("chevron"),
    )
    this.controls.bar.prepend(this.opener)
    this.tabs = h(
      "nav",
      {class: "tabs", "aria-label": "Views"},
      VIEWS.map(([view, name]) =>
        h("button", {type: "button", "data-view": view, onclick: () => this.change({view})}, name),
      ),
    )
    this.live = h("span", {class: "live-state", role: "status"})
    this.help = helpDialog()
    this.definitions = definitionsPopover()
    this.sql = h("dialog", {class: "help sql", "aria-labelledby": "sql-title"})
    return h(
      "div",
      {class: "touchline"},
      h(
        "header",
        {class: "bar"},
        h("button", {type: "button", class: "button skip", onclick: () => this.list.move(1)}, "Skip to matches"),
        h("h1", {}, h("span", {class: "logo", "aria-hidden": "true"}), h("span", {class: "brand-name"}, "Touchline")),
        this.tabs,
        this.fresh,
        this.live,
        iconButton("info", "Definitions", () => this.definitions.togglePopover()),
        h(
          "button",
          {
            type: "button",
            class: "icon-button theme",
            "aria-label": "Switch between light and dark",
            onclick: switchTheme,
          },
          icon("sun"),
          icon("moon"),
        ),
      ),
      h("div", {class: "busy", role: "progressbar", "aria-label": "Loading", hidden: true}),
      h(
        "div",
        {class: "frame"},
        // before the filters, which stand on its left: the Tab key comes to the first match sooner
        h(
          "main",
          {class: "main", id: "matches"},
          this.notices.el,
          this.results.el,
          this.controls.bar,
          h("p", {class: "fresh-line"}, this.freshLine, this.summary),
          (this.title = h("h2", {class: "hidden"}, "Matches")),
          this.content,
          this.panes,
          footer(),
        ),
        this.side,
      ),
      this.drawer,
      this.definitions,
      this.help,
      this.sql,
    )
  }

  /* the filters where there is no room beside the list; the browser keeps the focus inside */
  drawerDialog() {
    const body = h("div", {class: "drawer-body"})
    const close = () => dialog.close()
    const dialog = h(
      "dialog",
      {class: "drawer", "aria-labelledby": "drawer-title"},
      h(
        "div",
        {class: "drawer-head"},
        h("h2", {id: "drawer-title"}, "Filters"),
        iconButton("close", "Close filters", close),
      ),
      body,
      h("button", {type: "button", class: "button primary wide done", onclick: close}, "Show matches"),
    )
    dialog.addEventListener("close", () => this.side.append(this.controls.side))
    dialog.addEventListener("click", event => {
      if (event.target === dialog) close()
    })
    this.wide = matchMedia("(min-width: 75em)")
    this.onWide = () => dialog.close()
    this.wide.addEventListener("change", this.onWide)
    this.fillDrawer = () => fill(body, this.controls.side)
    return dialog
  }

  toggleSummary() {
    const isOpen = this.el.classList.toggle("has-summary")
    this.summary.setAttribute("aria-expanded", String(isOpen))
  }

  listen(model) {
    model.on("msg:custom", messages => messages.forEach(message => this.receive(message)))
    this.onKey = event => this.key(event)
    this.onBack = () => this.ask({kind: "back", query: location.search})
    this.onSeen = () => {
      if (!document.hidden) this.tick()
    }
    addEventListener("keydown", this.onKey)
    addEventListener("popstate", this.onBack)
    document.addEventListener("visibilitychange", this.onSeen)
    this.ticking = setInterval(() => {
      if (!document.hidden) this.tick()
    }, TICK_MS)
    model.document.on_event("connection_lost", () => {
      this.isLost = true
      this.notices.showDisconnected()
    })
    this.ask({kind: "hello", zone: f.zone(), query: location.search})
  }

  remove() {
    removeEventListener("keydown", this.onKey)
    removeEventListener("popstate", this.onBack)
    document.removeEventListener("visibilitychange", this.onSeen)
    clearInterval(this.ticking)
    this.wide.removeEventListener("change", this.onWide)
    clearTimeout(this.answering)
    this.list.remove()
  }

  /* --- to the server --------------------------------------------------------------------------------------- */

  ask(message) {
    this.send(message)
    clearTimeout(this.answering)
    this.answering = setTimeout(() => this.notices.showDisconnected(), ANSWER_MS + 5e3)
    clearTimeout(this.slow)
    if (message.kind !== "tick") this.slow = setTimeout(() => this.busy(true), BUSY_AFTER_MS)
  }

  change(patch) {
    this.typed = Object.keys(patch).join() === "q"
    this.ask({kind: "change", patch})
  }
  reset() {
    this.typed = false
    this.controls.search.value = ""
    this.ask({kind: "change", reset: true})
  }
  reload() {
    this.ask({kind: "again"})
  }
  tick() {
    this.ask({kind: "tick"})
  }

  /* --- from the server --------------------------------------------------------------------------------------- */

  receive(message) {
    clearTimeout(this.answering)
    this.notices.clear("disconnected")
    const handlers = {
      config: this.onConfig,
      filters: this.onFilters,
      rows: this.onRows,
      same: this.onSame,
      results: this.onResults,
      facets: this.onFacets,
      prediction: this.onPrediction,
      history: this.onHistory,
      sql: this.onSql,
      problem: this.onProblem,
      series: this.onSeries,
      no_series: this.onNoSeries,
      operations: this.onOperations,
      bets: this.onBets,
      live: this.onLive,
    }
    handlers[message.kind]?.call(this, message)
  }

  onConfig({api_url, table_scripts}) {
    this.config.apiUrl = api_url
    this.tableScripts = table_scripts
  }

  /* Tabulator is 450 kB that the other views do without */
  async openTables() {
    this.tables ??= loadScripts(this.tableScripts)
    await this.tables
    this.ask({kind: "tables"})
  }

  onBets(message) {
    if (message.revision !== this.revision) return
    this.busy(false)
    this.about(message)
    const {n, total} = message
    this.results.total(total)
    this.panes.hidden = this.panes.inert = n === 0
    if (!n)
      return void fill(
        this.content,
        emptyState(this.controls.loosen(), () => this.reset()),
      )
    fill(
      this.content,
      h(
        "p",
        {class: "scope"},
        total > n
          ? `The ${f.count(n)} value bets with the largest edges of ${f.count(total)}. `
          : `${f.count(n)} value ${n === 1 ? "bet" : "bets"} among the matches of the filter. `,
        "Odds are those the edge is from; the best price is the highest of any bookmaker. Click a head to sort.",
      ),
    )
    nameControls(this.panes)
  }

  onFilters({revision, push, query, state, narrowing, is_live}) {
    this.revision = revision
    this.grouped = state.sort !== "edge"
    this.status = state.status
    this.onLive({is_live})
    this.show(state.view)
    if (state.view === "value") this.openTables()
    this.results.stake(state.stake)
    const n = this.controls.show(state, narrowing, query)
    this.badge.textContent = n ? String(n) : ""
    const url = location.pathname + (query ? `?${query}` : "")
    if (push && url !== location.pathname + location.search)
      history[this.typed ? "replaceState" : "pushState"](null, "", url)
  }

  /* another view waits for its own data: what the last one showed would be taken for it */
  show(view) {
    this.el.dataset.view = view
    for (const tab of this.tabs.children)
      tab.dataset.view === view ? tab.setAttribute("aria-current", "page") : tab.removeAttribute("aria-current")
    if (view === this.view) return
    this.view = view
    this.title.textContent = VIEWS.find(([name]) => name === view)[1]
    this.seenAt = null
    this.notices.clear("cached", "newer")
    this.performance.remove()
    this.panes.hidden = this.panes.inert = true
    fill(this.content, waitingState())
  }

  onRows(message) {
    if (message.revision !== this.revision) return
    this.busy(false)
    this.about(message)
    const rows = message.rows.flatMap(part => JSON.parse(part)),
      page = {next: message.next, total: message.total, grouped: this.grouped, ofUpcoming: this.status === "upcoming"}
    this.total = message.total
    this.results.total(message.total)
    if (message.cursor) return this.list.append(rows, page)
    const isShown = this.content.firstChild === this.list.el
    if (message.renewal && isShown) return this.renew(rows, page)
    if (!rows.length)
      return void fill(
        this.content,
        emptyState(this.controls.loosen(), () => this.reset()),
      )
    if (!isShown) fill(this.content, this.list.el)
    this.list.show(rows, page)
    if (!message.renewal) this.toTop()
  }

  renew(rows, page) {
    if (this.list.rows.length > rows.length && page.next) {
      this.notices.show(
        "newer",
        "info",
        h("span", {}, "There is newer data."),
        h(
          "button",
          {
            type: "button",
            class: "button",
            onclick: () => {
              this.notices.clear("newer")
              this.reload()
            },
          },
          "Show it",
        ),
      )
      return
    }
    const n = this.list.renew(rows, page)
    if (n) this.live.textContent = `${f.count(n)} ${n === 1 ? "match" : "matches"} changed at ${f.time(Date.now())}`
  }

  onSeries(message) {
    if (message.revision !== this.revision) return
    this.busy(false)
    this.about(message)
    this.performance.show(JSON.parse(message.series), message.is_like)
    fill(this.content, this.performance.el)
  }

  onNoSeries({revision}) {
    if (revision !== this.revision) return
    this.busy(false)
    fill(
      this.content,
      futureState(() => this.change({status: "finished", period: "all"})),
    )
  }

  onOperations({revision, parts}) {
    if (revision !== this.revision) return
    this.busy(false)
    this.operations.show(parts)
    if (this.content.firstChild !== this.operations.el) fill(this.content, this.operations.el)
  }

  onLive({is_live: isLive}) {
    this.isLive = isLive
    this.showLive()
  }

  /* in the bar, which stays in sight when the notices do not */
  showLive() {
    const state = this.notices.isOld ? "not updating" : this.isLive ? "connected" : ""
    this.el.classList.toggle("is-live", state === "connected")
    this.el.classList.toggle("not-live", state === "not updating")
    if (this.state === state) return
    this.state = state
    this.live.textContent = state
    this.live.title =
      state === "connected" ? "Changes appear here by themselves" : state && "The note above the matches says why"
  }

  onSame({seen_at}) {
    this.seenAt = seen_at
    this.notices.clear("cached")
  }

  about({snapshot, failure, seen_at}) {
    this.seenAt = seen_at
    this.notices.snapshot(snapshot)
    failure ? this.notices.showCached(seen_at, failure.reason, CONTENT[this.view]) : this.notices.clear("cached")
    const until = snapshot.data_until && Date.parse(snapshot.data_until)
    for (const el of [this.fresh, this.freshLine]) showAge(el, snapshot, until)
  }

  onResults(message) {
    this.results.show(message, this.total)
  }

  onFacets({items}) {
    this.controls.facets(items)
  }

  onPrediction(message) {
    this.list.setPrediction(message)
  }

  onHistory(message) {
    this.list.setHistory(message)
  }

  onSql({sql, reason}) {
    fill(this.sql, ...sqlParts(sql, reason))
    this.sql.showModal()
  }

  onProblem(problem) {
    if (problem.part === "results") return this.results.fail(problem.reason)
    if (problem.part === "facets") return
    this.busy(false)
    if (problem.part === "page" && problem.renewal === undefined)
      return this.notices.show(
        "page",
        "bad",
        h("span", {}, h("b", {}, problem.reason), " What you see may be incomplete."),
        this.notices.retry(),
      )
    if (this.seenAt && (problem.renewal || problem.part === "more")) {
      this.list.requested = null
      return this.notices.showCached(this.seenAt, problem.reason, CONTENT[this.view])
    }
    fill(
      this.content,
      errorState(problem, CONTENT[this.view], () => this.reload()),
    )
  }

  /* --- the frame -------------------------------------------------------------------------------------------- */

  busy(isBusy) {
    clearTimeout(this.slow)
    this.el.querySelector(".busy").hidden = !isBusy
    this.content.setAttribute("aria-busy", String(isBusy))
  }

  toTop() {
    const top = this.content.getBoundingClientRect().top + scrollY
    if (scrollY > top) scrollTo({top: Math.max(0, top - 120), behavior: "instant"})
  }

  open() {
    this.fillDrawer()
    this.drawer.showModal()
    this.controls.search.focus({preventScroll: true})
  }

  /* whether a dialog is open, which has the keys for itself */
  get isCovered() {
    return [this.help, this.sql, this.drawer].some(dialog => dialog.open)
  }

  key(event) {
    const target = event.composedPath()[0]
    if (event.key === "Escape") return this.escape(target)
    if (event.ctrlKey || event.metaKey || event.altKey || target.matches?.("input, select, textarea")) return
    if (this.isCovered) return // what is behind it does not move
    if (event.key === "?") return this.help.showModal()
    const actions = {
      j: () => this.list.move(1),
      k: () => this.list.move(-1),
      "/": () => this.search(),
      v: () => this.change({value: !this.controls.state.value}),
      o: () => this.follow(),
    }
    const action = actions[event.key]
    if (!action || !KEYS_OF[this.view].includes(event.key)) return
    event.preventDefault()
    action()
  }

  search() {
    if (!this.wide.matches) this.open()
    this.controls.focusSearch()
  }

  escape(target) {
    if (this.isCovered || this.definitions.matches(":popover-open")) return
    if (!this.list.close(target)) target.blur?.()
  }

  follow() {
    const row = this.list.current()
    if (row?.money?.url?.startsWith("https://")) window.open(row.money.url, "_blank", "noopener,noreferrer")
  }
}

/* how old the data is, in the bar where it is wide and over the matches where it is not */
function showAge(el, snapshot, until) {
  const isOld = until && Date.now() - until > OLD_RESULTS_MS
  fill(
    el,
    h("b", {class: isOld ? "old" : ""}, until ? `Results to ${f.date(until)}` : "No results yet"),
    isOld && h("em", {class: "old"}, ` (${f.ago(until)})`),
    h("span", {}, ` · forecasts made ${f.ago(Date.parse(snapshot.built_at))}`),
    snapshot.simulated && h("span", {class: "made-up"}, "simulated"),
    !snapshot.simulated && snapshot.source && h("span", {}, ` · results and odds: ${snapshot.source}`),
  )
  el.title = `Source: ${snapshot.source ?? "unknown"}\nBuilt ${f.moment(Date.parse(snapshot.built_at))}`
}

const loadScripts = urls =>
  Promise.all(
    urls.map(
      url =>
        new Promise((then, fail) =>
          document.head.append(h("script", {src: url, onload: then, onerror: () => fail(new Error(url))})),
        ),
    ),
  )

/* the filters of the table have no names, and its heads no keys: they get both once they are drawn */
function nameControls(panes) {
  const heads = deepQuery(panes, ".tabulator-col[role=columnheader]")
  if (!heads.length && !panes.hidden) return void setTimeout(() => nameControls(panes), 100)
  for (const head of heads) {
    const title = head.querySelector(".tabulator-col-title")?.textContent.trim()
    if (!title || head.classList.contains("empty")) {
      head.setAttribute("aria-hidden", "true") // Panel's own, one pixel wide
      continue
    }
    head.querySelector(".tabulator-header-filter input")?.setAttribute("aria-label", `Filter ${title}`)
    if (head.tabIndex === 0) continue
    head.tabIndex = 0
    head.addEventListener("keydown", event => {
      if (event.target !== head || !["Enter", " "].includes(event.key)) return
      event.preventDefault()
      head.querySelector(".tabulator-col-content")?.click()
    })
  }
}

/* also inside the shadow roots of Panel's parts */
const deepQuery = (el, selector) => [
  ...el.querySelectorAll(selector),
  ...[...el.querySelectorAll("*")].flatMap(child => (child.shadowRoot ? deepQuery(child.shadowRoot, selector) : [])),
]

function switchTheme() {
  const root = document.documentElement
  const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches
  root.dataset.theme = isDark ? "light" : "dark"
  try {
    localStorage.setItem("touchline-theme", root.dataset.theme)
  } catch {
    /* kept for this page only */
  }
}

const iconButton = (name, label, onclick) =>
  h("button", {type: "button", class: `icon-button ${name}`, "aria-label": label, title: label, onclick}, icon(name))

/* what the words on the page mean, for every pointer and for the keyboard */
const DEFINITIONS = [
  ["1, X, 2", "Win of the home side, draw, win of the away side."],
  ["Pick", "The most probable outcome. Hit: it came. It is judged apart from the value bet."],
  ["Edge", "Probability × odds − 1: what a bet would gain on average if the model were right."],
  ["Value bet", "The outcome with the best edge, where the edge reaches the threshold. One a match."],
  ["⚠ check", "An edge above 30 % is likelier a wrong or old price than value: check the odds."],
  ["Fair odds", "1 / probability. Odds above them would be value if the model is right."],
  ["Market", "Probability the odds say, without the bookmaker's margin."],
  ["ROI", "Yield: profit per unit staked on settled value bets. Expected: the mean edge of the same bets."],
  ["95 % CI", "Interval of the ROI. While it contains 0, luck alone explains the result."],
  ["Region ROI", "ROI of value bets in the region settled before the match, shrunk towards the overall ROI."],
  ["¼ Kelly", "Stake as a share of the bankroll: a quarter of Kelly's, capped."],
  ["Accuracy", "Share of picks that came, beside two picks that need no model: market favourite and always home."],
  ["In-sample", "The model was trained on this result, so it proves nothing."],
  ["Too few matches", "The model knows too few recent matches of a team: no edge counts as value."],
]

const definitionsPopover = () =>
  h(
    "div",
    {class: "definitions", popover: "auto", role: "dialog", "aria-labelledby": "definitions-title"},
    h("h2", {id: "definitions-title"}, "Definitions"),
    h(
      "dl",
      {tabindex: 0},
      DEFINITIONS.map(([term, text]) => h("div", {}, h("dt", {}, term), h("dd", {}, text))),
    ),
  )

const KEYS = [
  ["j", "next match"],
  ["k", "match before"],
  ["Enter", "details of the match"],
  ["o", "its odds at the bookmaker"],
  ["v", "value bets only"],
  ["/", "search"],
  ["Esc", "close the detail"],
  ["?", "this help"],
]

const footer = () =>
  h(
    "footer",
    {},
    h(
      "p",
      {},
      "Probabilities are a model's estimates, for information only and no advice to bet. Odds are a snapshot: check them before you rely on them. 18+.",
    ),
    h("p", {class: "keys"}, h("kbd", {}, "?"), " keys"),
  )

const sqlParts = (sql, reason) => [
  h("h2", {id: "sql-title"}, "SQL of these matches"),
  reason
    ? h("p", {class: "missing"}, `Not available: ${reason}`)
    : h("p", {class: "quiet"}, "For scripts/sql, or POST /sql with a key that may."),
  sql && h("div", {class: "call"}, h("pre", {tabindex: 0}, h("code", {}, sql)), copyButton("Copy the SQL", sql)),
  h("form", {method: "dialog"}, h("button", {class: "button primary"}, "Close")),
]

function helpDialog() {
  const dialog = h(
    "dialog",
    {class: "help", "aria-labelledby": "help-title"},
    h("h2", {id: "help-title"}, "Keys"),
    h(
      "dl",
      {},
      KEYS.map(([key, does]) => h("div", {}, h("dt", {}, h("kbd", {}, key)), h("dd", {}, does))),
    ),
    h("form", {method: "dialog"}, h("button", {class: "button primary"}, "Close")),
  )
  return dialog
}

/* The server's first screen stays until this one is styled and has its own: both have their parts in the same places. */
function takeOver(board) {
  const areResultsThere = () => board.view === "operations" || !board.results.el.querySelector(".skeleton")
  const isReady = () =>
    getComputedStyle(board.el).getPropertyValue("--styled") &&
    (board.notices.isUrgent || (!board.content.querySelector(".waiting") && areResultsThere()))
  const look = () => {
    if (!isReady()) return setTimeout(look, 16)
    document.getElementById("shell")?.remove()
    document.documentElement.classList.add("is-live-page")
    board.list.redraw()
  }
  look()
}

export function render({model, el}) {
  const board = new Board(model)
  board.panes.append(model.get_child("panes"))
  el.append(board.el)
  takeOver(board)
  model.on("remove", () => board.remove())
}

export default {render}
