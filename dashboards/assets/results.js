/* The strip of results: what the filtered matches gave, with interval and yardsticks. */

import * as f from "./format.js"
import {fill, h} from "./dom.js"

const SURE_BETS = 30 // below it an interval by normal approximation says little, so nothing is coloured

export class Results {
  constructor(onStake) {
    this.onStake = onStake
    this.el = h("section", {class: "results", "aria-label": "Results of the filtered matches", "aria-live": "polite"})
    this.wait()
    // where the strip scrolls sideways, keys must be able to scroll it
    const scrolls = matchMedia("(max-width: 63.9375em)"),
      follow = () => {
        scrolls.matches ? this.el.setAttribute("tabindex", "0") : this.el.removeAttribute("tabindex")
      }
    scrolls.addEventListener("change", follow)
    follow()
  }

  wait() {
    fill(this.el, ...[0, 1, 2, 3, 4].map(() => h("div", {class: "card skeleton"})))
  }

  fail(reason) {
    fill(this.el, h("div", {class: "card note"}, h("h2", {}, "Results"), h("p", {}, `Not available: ${reason}`)))
  }

  stake(stake) {
    this.staking = stake
  }

  redraw() {
    if (this.shown) this.show(...this.shown)
  }

  show({exact, settled, is_any_time: isAnyTime}, total) {
    this.shown = [{exact, settled, is_any_time: isAnyTime}, total]
    const shown = settled ?? exact
    const scope = settled ? `settled matches like these${isAnyTime ? ", any time" : ""}` : "these matches"
    fill(
      this.el,
      roiCard(shown, scope, this.onStake),
      profitCard(shown, scope),
      accuracyCard(shown, scope),
      openCard(exact),
      (this.matches = matchesCard(total ?? exact.n_matches, exact)),
    )
  }

  total(total) {
    const value = this.matches?.querySelector(".value")
    if (value) value.textContent = f.count(total)
  }
}

const card = (name, title, ...parts) =>
  h("div", {class: `card ${name}`}, h("h2", {title}, ...[].concat(parts.shift())), ...parts)
const value = (text, tone = "") => h("p", {class: `value ${tone}`}, text)
const under = text => h("p", {class: "under"}, text)

function roiCard(money, scope, onStake) {
  const isKelly = money.staking === "kelly"
  const title = `Yield: profit per unit staked on value bets, ${isKelly ? "stakes by a quarter of Kelly, capped" : "flat 1 unit each"}`
  const other = isKelly ? "flat" : "kelly"
  const name = [
    "ROI",
    h("small", {}, ` ${scope}`),
    h(
      "button",
      {
        type: "button",
        class: "stake",
        "data-stake": other,
        title: `Stakes: ${isKelly ? "¼ Kelly" : "flat 1 unit"}. Switch to ${isKelly ? "flat 1 unit" : "¼ Kelly"}`,
        onclick: () => onStake(other),
      },
      isKelly ? "¼ Kelly" : "flat 1 u",
    ),
  ]
  if (money.n_bets === 0) return card("roi", title, name, value(f.DASH), under("no settled value bets here"))
  if (money.too_few)
    return card(
      "roi",
      title,
      name,
      value("too few bets", "small"),
      under(`${f.count(money.n_bets)} settled, ${money.min_bets} needed`),
    )
  const isSure = money.n_bets >= SURE_BETS && (money.roi_ci_low > 0 || money.roi_ci_high < 0)
  const tone = isSure ? (money.roi_pct > 0 ? "good" : "bad") : ""
  return card(
    "roi",
    title,
    name,
    h("div", {class: "beside"}, value(f.percent(money.roi_pct), tone), interval(money)),
    under(
      `95 % CI ${f.percent(money.roi_ci_low)} … ${f.percent(money.roi_ci_high)} · expected ${f.percent(money.mean_edge_pct)}`,
    ),
  )
}

/* the interval as a bar, with a tick at zero */
function interval({roi_pct, roi_ci_low, roi_ci_high}) {
  const reach = Math.max(Math.abs(roi_ci_low), Math.abs(roi_ci_high), 10) * 1.1
  const at = percent => `${(50 + 50 * Math.min(Math.max(percent / reach, -1), 1)).toFixed(1)}%`
  return h(
    "div",
    {class: "interval", "aria-hidden": "true", "--low": at(roi_ci_low), "--high": at(roi_ci_high), "--at": at(roi_pct)},
    h("i", {class: "zero"}),
    h("i", {class: "range"}),
    h("i", {class: "dot"}),
  )
}

function profitCard(money, scope) {
  const title = `Units won or lost by the value bets of ${scope}`
  if (money.n_bets === 0) return card("", title, "Profit", value(f.DASH), under("0 bets"))
  const say = amount => (money.staking === "kelly" ? `${f.percent(100 * amount)} of bankroll` : f.units(amount))
  return card(
    "",
    title,
    "Profit",
    value(say(money.profit)),
    under(
      `${f.count(money.n_bets)} bets · avg odds ${f.odds(money.average_odds)} · drawdown ${say(-Math.abs(money.max_drawdown))}`,
    ),
  )
}

function accuracyCard(money, scope) {
  const priced = money.accuracy_market === null ? "" : " that have odds"
  const title = `Share of ${scope}${priced} whose most probable outcome came; beside it, on the same matches, picks that need no model: the market's favourite, and the home side always`
  if (!money.n_predicted) return card("", title, "Accuracy", value(f.DASH), under("no finished matches here"))
  const others = [
    ["favourite", money.accuracy_market],
    ["home", money.accuracy_home],
  ].filter(([, share]) => share !== null)
  return card(
    "",
    title,
    ["Accuracy", h("small", {}, ` n=${f.count(money.n_predicted)}`)],
    value(f.share(money.accuracy)),
    under(
      others
        .map(([name, share]) => `${name === "home" ? "always home" : "market favourite"} ${f.share(share)}`)
        .join(" · "),
    ),
  )
}

function openCard(exact) {
  return card(
    "",
    "Matches still to come whose best edge reaches the threshold",
    "Open value bets",
    value(f.count(exact.n_open_value_bets)),
    under(`edge ≥ ${f.probability(exact.value_edge)}`),
  )
}

function matchesCard(total, exact) {
  const n_excluded = exact.n_in_sample_excluded
  return card(
    "",
    "Matches that pass the filters",
    "Matches",
    value(total === null ? f.DASH : f.count(total)),
    under(n_excluded ? `${f.count(n_excluded)} in-sample left out of results` : "that pass the filters"),
  )
}
