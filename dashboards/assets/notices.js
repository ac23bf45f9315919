/* What the page says when things are not as usual: simulated, stale, cut off, empty, failed. */

import * as f from "./format.js"
import {fill, h} from "./dom.js"

export class Notices {
  constructor({onRetry, onChange}) {
    this.onRetry = onRetry
    this.onChange = onChange
    this.notices = new Map()
    this.el = h("div", {class: "notices"})
  }

  show(name, tone, ...parts) {
    this.notices.set(
      name,
      h("div", {class: `notice ${tone}`, role: tone === "bad" ? "alert" : "status", "data-notice": name}, ...parts),
    )
    this.draw()
  }

  clear(...names) {
    if (names.filter(name => this.notices.delete(name)).length) this.draw()
  }

  /* whether what is seen may be old */
  get isOld() {
    return this.notices.has("cached") || this.notices.has("disconnected")
  }

  /* whether there is one that cannot wait */
  get isUrgent() {
    return this.isOld || this.notices.has("page")
  }

  draw() {
    fill(this.el, [...this.notices.values()])
    this.onChange()
  }

  snapshot(snapshot) {
    if (snapshot.simulated)
      this.show(
        "simulated",
        "info",
        h(
          "span",
          {},
          h("b", {}, "Simulated data."),
          " Clubs, results and odds are made up: nothing here is about real football.",
        ),
      )
    else this.clear("simulated")
    if (snapshot.stale)
      this.show(
        "stale",
        "warn",
        h(
          "span",
          {},
          h("b", {}, "Old data."),
          ` Newer forecasts could not be opened; these are from ${f.ago(Date.parse(snapshot.built_at))}.`,
        ),
      )
    else this.clear("stale")
  }

  /** @param {string} what of which view, "matches" */
  showCached(seenAt, reason, what) {
    const at = Date.parse(seenAt)
    this.show(
      "cached",
      "warn",
      h("span", {}, h("b", {}, `Showing ${what} as of ${whenOf(at)} (${f.ago(at)}).`), ` ${reason}`),
      this.retry(),
    )
  }

  showDisconnected() {
    this.show(
      "disconnected",
      "warn",
      h("span", {}, h("b", {}, "The connection to this page's server is lost."), " What you see may be old."),
      h("button", {type: "button", class: "button", onclick: () => location.reload()}, "Reload"),
    )
  }

  retry() {
    return h("button", {type: "button", class: "button", onclick: this.onRetry}, "Try again")
  }
}

/* the clock of today, else also the day */
const whenOf = at => (f.daysFromToday(at) === 0 ? f.time(at) : `${f.shortDay(at)}, ${f.time(at)}`)

export const emptyState = (loosen, onReset) =>
  h(
    "div",
    {class: "state", role: "status"},
    h("h2", {}, "No matches for these filters"),
    loosen.length
      ? h("p", {}, "Change one of them:")
      : h("p", {}, "There are no matches of this kind in the data yet."),
    h("div", {class: "buttons"}, loosen),
    h("button", {type: "button", class: "button primary", onclick: onReset}, "Reset filters"),
  )

/**
 * @param {{reason: string, request_id?: string}} problem
 * @param {string} what
 * @param {() => void} onRetry
 */
export const errorState = ({reason, request_id: id}, what, onRetry) =>
  h(
    "div",
    {class: "state", role: "alert"},
    h("h2", {class: "bad"}, `The ${what} could not be loaded`),
    h("p", {}, reason),
    h("button", {type: "button", class: "button primary", onclick: onRetry}, "Try again"),
    id && h("p", {class: "quiet"}, `For a report: request ${id}`),
  )

export const futureState = onStep =>
  h(
    "div",
    {class: "state", role: "status"},
    h("h2", {}, "The matches of this period are still to come"),
    h("p", {}, "Performance is about results, and this period has none yet."),
    h("button", {type: "button", class: "button primary", onclick: onStep}, "Show all finished matches"),
  )

export const waitingState = () =>
  h(
    "div",
    {class: "waiting", "aria-label": "Loading matches"},
    [...Array(10)].map(() => h("i", {})),
  )
