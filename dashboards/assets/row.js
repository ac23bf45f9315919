/* One match as a row: time, teams, three outcome cells, value signal, pick, link; and the heads above rows. */

import * as f from "./format.js"
import {h, icon} from "./dom.js"

export const SUSPECT = "An edge above 30 %: no record of settled bets supports edges this large"
export const SUSPECT_EDGE = 0.3 // of 160,272 real matches 5 had an edge of 20 % or more: no record supports them
const DAY_OVER = 12 * 3600e3 // where only the day is published, `t` is 15:00 UK: that day is over half a day later
const OUTCOMES = ["Home", "Draw", "Away"]
const WORDS = {
  finished: "FT",
  postponed: "postp.",
  cancelled: "canc.",
  live: "live",
  awaiting_result: "awaited",
  abandoned: "aband.",
  awarded: "awarded",
}

export const isAwaited = row =>
  row.status === "awaiting_result" || (row.status === "upcoming" && (row.timed ? row.t : row.t + DAY_OVER) < Date.now())

export function buildRow(row, {grouped, open, position, total, onToggle}) {
  const signal = valueOf(row)
  const el = h(
    "div",
    {
      class: `row${signal.isValue ? " is-value" : ""}${signal.isSuspect ? " is-suspect" : ""}${open ? " is-open" : ""}`,
      role: "listitem",
      "aria-setsize": total,
      "aria-posinset": position + 1,
      "data-id": row.id,
    },
    !grouped && h("div", {class: "where"}, `${f.shortDay(row.t, row.timed)} · ${row.region} · ${row.tour}`),
    h(
      "div",
      {
        class: isAwaited(row) ? "when awaited" : "when",
        title: row.timed ? f.moment(row.t) : "kick-off time not published",
      },
      h("b", {}, row.timed ? f.time(row.t) : f.DASH),
      h("small", {}, stateOf(row)),
    ),
    teams(row, open),
    ...[0, 1, 2].map(outcome => tile(row, outcome, signal)),
    h("div", {class: "signal"}, ...signalParts(row, signal)),
    h("div", {class: "pred"}, pick(row)),
    h("div", {class: "link"}, link(row)),
  )
  el.addEventListener("click", event => {
    if (!event.target.closest("a")) onToggle(row)
  })
  return el
}

function stateOf(row) {
  if (isAwaited(row)) return "result awaited"
  if (row.status !== "upcoming") return WORDS[row.status] ?? row.status
  const wait = row.t - Date.now()
  return row.timed && wait < 2 * 3600e3 ? `in ${f.duration(wait)}` : ""
}

function teams(row, open) {
  const team = (name, side) =>
    h(
      "span",
      {class: `team${row.out === side ? " won" : ""}`},
      h("span", {class: "name"}, name),
      row.score && h("span", {class: "goals"}, String(row.score[side === 0 ? 0 : 1])),
    )
  return h(
    "button",
    {class: "teams", type: "button", "aria-expanded": String(open)},
    team(row.home, 0),
    h("span", {class: "hidden"}, row.score ? "," : "against"),
    team(row.away, 2),
    h("span", {class: "hidden"}, ": details"),
  )
}

export function valueOf(row) {
  const money = row.money
  if (!money) return {isValue: false, isSuspect: false, outcome: null}
  const edge = money.edge[money.best]
  return {
    isValue: money.value,
    isSuspect: money.value && edge > SUSPECT_EDGE,
    outcome: money.best,
    edge,
    odds: money.odds[money.best],
  }
}

function tile(row, outcome, signal) {
  const is = {
    pick: row.pick === outcome,
    value: signal.isValue && signal.outcome === outcome,
    result: row.out === outcome,
  }
  const names = Object.keys(is).filter(name => is[name])
  return h(
    "div",
    {
      class: ["tile", `o${outcome}`, ...names].join(" "),
      role: "img",
      "aria-label": tileLabel(row, outcome, is),
      "--heat-a": f.heat(row.p[outcome]),
    },
    h("span", {class: "sign"}, f.SIGNS[outcome]),
    h("span", {class: "p"}, f.probability(row.p[outcome])),
    price(row, outcome),
    is.value && h("span", {class: "mark"}, signal.isSuspect ? "⚠" : "▲"),
  )
}

function tileLabel(row, outcome, is) {
  const now = row.money?.odds[outcome]
  return [
    `${OUTCOMES[outcome]} ${f.probability(row.p[outcome])}`,
    now ? `odds ${f.odds(now)}` : "no odds",
    priceStep(row, outcome) && `moved from ${f.odds(row.was[outcome])}`,
    is.pick && "predicted",
    is.value && "value bet",
    is.result && "result",
  ]
    .filter(Boolean)
    .join(", ")
}

/* 1: the price has risen, -1: it has fallen, 0: it is as before or there was none */
function priceStep(row, outcome) {
  const now = row.money?.odds[outcome],
    before = row.was?.[outcome]
  return now && before ? Math.sign(now - before) : 0
}

function price(row, outcome) {
  const now = row.money?.odds[outcome],
    step = priceStep(row, outcome)
  return h(
    "span",
    {class: step ? "odds moved" : "odds"},
    now ? f.odds(now) : f.DASH,
    step ? h("i", {"aria-hidden": "true"}, step > 0 ? " ↑" : " ↓") : null,
  )
}

function signalParts(row, signal) {
  if (!row.money) return [h("span", {class: "quiet", title: f.noOdds(row.why)}, "no odds")]
  if (!signal.isValue)
    return [
      h(
        "span",
        {class: "quiet", title: "Best edge of the three outcomes; below the value threshold"},
        f.edge(signal.edge),
      ),
      row.thin
        ? h(
            "span",
            {class: "age", title: "The model knows too few recent matches of a team, so no edge counts as value"},
            "too few matches",
          )
        : age(row),
    ]
  const title = signal.isSuspect ? SUSPECT : "Edge: probability × odds − 1"
  return [
    h(
      "span",
      {class: signal.isSuspect ? "chip check" : "chip value", title},
      `${signal.isSuspect ? "⚠" : "▲"} ${f.SIGNS[signal.outcome]} @ ${f.odds(signal.odds)} `,
      h("b", {}, f.edge(signal.edge)),
      signal.isSuspect && " check",
    ),
    row.money.profit === null
      ? age(row)
      : h(
          "span",
          {class: row.money.profit > 0 ? "won" : "lost", title: betTitle(row, signal)},
          `${betName(row, signal)}${row.money.profit > 0 ? "won" : "lost"} ${f.units2(row.money.profit)}`,
        ),
  ]
}

/* the bet and the pick may be of two outcomes: then the row says which of them won or lost */
const betName = (row, {outcome}) => (outcome === row.pick ? "" : `bet on ${f.SIGNS[outcome]} `)
const betTitle = (row, {outcome}) =>
  outcome === row.pick
    ? "Profit of the value bet, one unit staked"
    : `Profit of the value bet on ${f.SIGNS[outcome]}, one unit staked; the pick, ${f.SIGNS[row.pick]}, is the most probable outcome and is judged apart`

/* how old the price is, where it still matters and is worth a warning */
function age(row) {
  const old = Date.now() - row.money.at
  if (row.status !== "upcoming" || old < f.HOURS_4) return null
  return h(
    "span",
    {class: old > f.DAY ? "age old" : "age", title: `Odds taken about ${f.moment(row.money.at)}`},
    `odds ${f.duration(old)} old`,
  )
}

function pick(row) {
  if (row.hit === null) return h("span", {class: "chip"}, `Pick ${f.SIGNS[row.pick]}`)
  const seen = row.ins ? " seen" : ""
  const title = row.ins
    ? "In sample: the model was trained on this result, so it proves nothing"
    : `Picked ${f.SIGNS[row.pick]}`
  return h(
    "span",
    {class: `chip ${row.hit ? "hit" : "miss"}${seen}`, title},
    row.hit ? "✓ Hit" : "✗ Miss",
    row.ins && h("small", {}, " in-sample"),
  )
}

function link(row) {
  const url = row.money?.url
  if (!url || !url.startsWith("https://")) return null
  return h(
    "a",
    {
      href: url,
      target: "_blank",
      rel: "noopener noreferrer",
      "aria-label": `Odds of ${row.home} against ${row.away} at ${row.money.maker}`,
    },
    icon("out"),
  )
}

/* --- heads of a day, and of a tournament with the ROI of its region --- */

export function buildDayHead(item) {
  const [name, detail] = f.dayTitle(item.at, item.timed)
  return h("div", {class: "day", role: "listitem"}, h("h2", {}, name, h("small", {}, ` ${detail}`)))
}

export function buildAwaitedHead({n, isAll, isOpen}, onToggle) {
  return h(
    "div",
    {class: "day awaited-head", role: "listitem"},
    h(
      "h2",
      {},
      h(
        "button",
        {type: "button", "aria-expanded": String(isOpen), onclick: onToggle},
        icon("chevron"),
        "Results awaited",
        h("small", {}, ` ${f.count(n)}${isAll ? "" : "+"} ${n === 1 ? "match" : "matches"} past kick-off`),
      ),
    ),
  )
}

export function buildGroupHead(row) {
  return h("div", {class: "group", role: "listitem"}, h("h3", {}, row.region, h("span", {}, row.tour)), regionRoi(row))
}

function regionRoi(row) {
  const roi = row.roi
  if (!roi) return h("span", {class: "region-roi"}, "no settled bets before")
  const title = `Region ROI from value bets in ${row.region} settled before this match (walk-forward), shrunk towards the overall ROI: the fewer the bets, the more`
  const attributes = {class: "region-roi", role: "group", title, "aria-label": title}
  const name = h("span", {class: "wide"}, `${row.region} `),
    n = h("small", {}, ` n=${f.count(roi.n)}`)
  if (roi.pct === null) return h("span", attributes, name, "ROI: too few bets", n)
  const half = roi.low === null ? null : h("span", {class: "wide"}, ` ±${f.decimal((roi.high - roi.low) / 2)}`)
  return h("span", attributes, name, "ROI ", h("b", {}, f.percent(roi.pct)), half, n)
}
