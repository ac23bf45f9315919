/* What is notices when things are not as usual: simulated, stale, cut off, empty, failed. */

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

  showCached(seenAt, reason) {
    const at = Date.parse(seenAt)
    this.show(
      "cached",
      "warn",
      h("span", {}, h("b", {}, `Showing data from ${f.time(at)} (${f.ago(at)}).`), ` ${reason}`),
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

export const emptyState = (loosen, onReset) =>
  h(
    "div",
    {class: "state", role: "status"},
    h("h2", {}, "No matches for these filters"),
    loosen.length
      ? h("p", {}, "Take one of them back:")
      : h("p", {}, "There are no matches of this kind in the data yet."),
    h("div", {class: "buttons"}, loosen),
    h("button", {type: "button", class: "button primary", onclick: onReset}, "Reset filters"),
  )

export const errorState = ({reason, code, request_id: id}, onRetry) =>
  h(
    "div",
    {class: "state", role: "alert"},
    h("h2", {class: "bad"}, "The matches could not be loaded"),
    h("p", {}, reason),
    h("button", {type: "button", class: "button primary", onclick: onRetry}, "Try again"),
    h("p", {class: "quiet"}, `${code}${id ? ` · request ${id}` : ""}`),
  )

export const waitingState = () =>
  h(
    "div",
    {class: "waiting", "aria-label": "Loading matches"},
    [...Array(10)].map(() => h("i", {})),
  )
