/* What is behind a row: model beside market, ages, a prediction made now, the call that gives it. */

import * as f from "./format.js"
import {linear, spread} from "./chart.js"
import {copyButton, fill, h, s} from "./dom.js"
import {describeFeature, describeValue} from "./features.js"
import {SUSPECT, valueOf} from "./row.js"

export function buildDetail(row, {apiUrl, predictions, histories, onPredict, onResize}) {
  const live = h("div", {class: "live", "aria-live": "polite"})
  const past = h("div", {class: "past"})
  const draw = () => {
    fill(
      live,
      ...livePart(
        row,
        predictions,
        alias => {
          onPredict(row, alias)
          draw()
        },
        (alias, outcome) => {
          predictions.get(`${row.id} ${alias}`).outcome = outcome
          draw()
          live.querySelector(`[data-explain="${outcome}"]`)?.focus({preventScroll: true})
        },
      ),
    )
    fill(past, ...historyPart(histories.get(row.id)))
    onResize()
  }
  const el = h(
    "div",
    {class: "detail", role: "region", "aria-label": `Details of ${row.home} against ${row.away}`},
    h(
      "div",
      {class: "detail-grid"},
      h("div", {class: "odds-table"}, table(row), past, facts(row)),
      h("div", {class: "live-box"}, h("h3", {}, "Predict now"), live, apiCall(row, apiUrl)),
    ),
  )
  el.redraw = draw
  draw()
  return el
}

const CONSENSUS = "Model and bookmakers together: edges are from it"

function moneyCells(money, i, consensus, isSuspect) {
  const stake = money.best === i && money.kelly > 0 ? f.share(money.kelly) : f.DASH
  return [
    h("td", {}, f.odds(money.odds[i])),
    h("td", {}, f.share(money.fair[i])),
    consensus && h("td", {title: CONSENSUS}, f.share(consensus[i])),
    h("td", {title: isSuspect ? SUSPECT : null}, isSuspect && "⚠ ", f.edge(money.edge[i])),
    h("td", {}, stake),
  ]
}

function table(row) {
  const money = row.money
  const ofMoney = ["Odds", "Market", ...(row.consensus ? ["Consensus"] : []), "Edge", "¼ Kelly"]
  const heads = ["", "Model", "Fair odds", ...(money ? ofMoney : [])]
  const names = [row.home, "Draw", row.away]
  const signal = valueOf(row)
  const line = i =>
    h(
      "tr",
      {class: signal.isValue && signal.outcome === i ? (signal.isSuspect ? "best suspect" : "best") : ""},
      h("th", {scope: "row"}, h("i", {}, f.SIGNS[i]), " ", names[i]),
      h("td", {}, h("b", {}, f.share(row.p[i]))),
      h("td", {}, row.p[i] > 0 ? f.odds(1 / row.p[i]) : f.DASH),
      ...(money ? moneyCells(money, i, row.consensus, signal.isSuspect && signal.outcome === i) : []),
    )
  return h(
    "div",
    {class: "scroll", tabindex: 0, role: "group", "aria-label": "Model and market by outcome"},
    h(
      "table",
      {},
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          heads.map(text => (text ? h("th", {scope: "col", title: HELP[text]}, text) : h("td", {}))),
        ),
      ),
      h("tbody", {}, [0, 1, 2].map(line)),
    ),
  )
}

const HELP = {
  Model: "Probability by the model",
  "Fair odds": "1 / probability: odds above it would be value if the model is right",
  Market: "Probability the odds say, without the bookmaker's margin",
  Edge: "probability × odds − 1",
  "¼ Kelly": "Stake as a share of the bankroll: a quarter of Kelly's, capped",
}

function facts(row) {
  const [name, version, alias] = row.model
  const money = row.money
  const odds = money ? [`${money.maker}, margin ${f.share(money.margin)}`, oddsAge(row)] : [f.noOdds(row.why)]
  return h(
    "dl",
    {class: "facts"},
    fact("Kick-off", row.timed ? f.moment(row.t) : `${f.shortDay(row.t, false)} · time not published`),
    fact("Odds", odds.join(" · ")),
    fact(
      "Model",
      `${name} v${version} · ${alias === "champion" ? "champion" : alias}${row.ins ? " · in sample: it was trained on this result" : ""}`,
    ),
    fact("Computed", f.ago(row.at)),
    fact("Match", row.id),
  )
}

/* prices of the results' publisher have the time of its collections (Friday, Tuesday afternoon), not their own */
function oddsAge(row) {
  if (row.status !== "finished") return `taken about ${f.ago(row.money.at)}`
  return row.timed
    ? `taken about ${f.duration(row.t - row.money.at)} before kick-off`
    : `taken about ${f.shortDay(row.money.at)}`
}

/* --- the prices over time ------------------------------------------------------------------------------------ */

const LABEL_PX = 15 // height of a label
const DASHES = [null, "5 3", "1.5 3"]

function historyPart(history) {
  if (!history || history.reason) return []
  const quotes = history.quotes,
    first = quotes[0],
    last = quotes.at(-1)
  if (quotes.length < 2) return []
  const moves = [0, 1, 2].map(i => `${f.SIGNS[i]} ${f.odds(first[i + 1])} → ${f.odds(last[i + 1])}`).join(", ")
  const summary = `Odds from ${f.moment(first[0])}${last[4] ? " to the last before kick-off" : ` to ${f.moment(last[0])}`}: ${moves}.`
  return [h("h3", {}, "Odds over time"), h("p", {class: "quiet"}, summary), prices(quotes, summary)]
}

function prices(quotes, summary) {
  const width = 520,
    height = 96,
    left = 4,
    right = 64
  const all = quotes.flatMap(quote => quote.slice(1, 4)).map(Math.log),
    x = linear([quotes[0][0], quotes.at(-1)[0]], [left, width - right]),
    y = linear([Math.min(...all), Math.max(...all) + 1e-9], [height - 12, 12])
  const ends = quotes.at(-1).slice(1, 4)
  const labels = spread(
    ends.map(price => y(Math.log(price))),
    LABEL_PX,
    [LABEL_PX / 2, height - LABEL_PX / 2],
  )
  return s(
    "svg",
    {class: "prices", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": summary},
    [1, 2, 3].map(i => {
      const steps = quotes
        .map((quote, n) => `${n ? "L" : "M"}${x(quote[0]).toFixed(1)} ${y(Math.log(quote[i])).toFixed(1)}`)
        .join("")
      return [
        s("path", {d: steps, "stroke-dasharray": DASHES[i - 1]}),
        s("text", {x: width - right + 6, y: labels[i - 1] + 4}, `${f.SIGNS[i - 1]} ${f.odds(ends[i - 1])}`),
      ]
    }),
  )
}

/* --- facts ------------------------------------------------------------------------------------------------- */

const fact = (name, text) => h("div", {}, h("dt", {}, name), h("dd", {}, text))

function livePart(row, predictions, ask, explain) {
  const aliases = ["champion", "candidate"]
  const buttons = aliases.map(alias => {
    const isPending = predictions.get(`${row.id} ${alias}`)?.state === "pending"
    return h(
      "button",
      {type: "button", class: "button", disabled: isPending, "data-alias": alias, onclick: () => ask(alias)},
      isPending ? "Predicting…" : `Ask the ${alias}`,
    )
  })
  return [
    h("div", {class: "buttons"}, buttons),
    ...aliases.map(alias => answer(row, predictions.get(`${row.id} ${alias}`), alias, i => explain(alias, i))),
  ]
}

function answer(row, prediction, alias, onExplain) {
  if (!prediction || prediction.state === "pending") return null
  if (prediction.reason)
    return h("p", {class: "failed", role: "alert"}, `The ${alias} did not answer: ${prediction.reason}`)
  const {probabilities: p, model, feature_age_s, data_until, odds_age_s, timings, computed_at} = prediction.answer
  const values = [p.home, p.draw, p.away]
  const change = i => {
    const points = 100 * (values[i] - row.p[i])
    return Math.abs(points) < 0.05 ? "as stored" : `${f.percent(points)} pts`.replace("%", "").replace(/\s+pts/, " pts")
  }
  return h(
    "div",
    {class: "given"},
    h(
      "div",
      {class: "given-head"},
      h("b", {}, model.alias),
      ` v${model.version} · run ${model.run_id.slice(0, 8)} · ${f.ago(Date.parse(computed_at))}`,
    ),
    h(
      "div",
      {class: "bars"},
      values.map((value, i) =>
        h(
          "div",
          {class: "bar-line"},
          h("span", {}, f.SIGNS[i]),
          h("span", {class: "track"}, h("i", {"--w": `${100 * value}%`})),
          h("b", {}, f.share(value)),
          h("small", {}, change(i)),
        ),
      ),
    ),
    explanationPart(row, prediction, onExplain),
    h(
      "p",
      {class: "quiet"},
      `features ${f.duration(1000 * feature_age_s)} old · ${resultsKnown(row, data_until)} · ${odds_age_s === null ? "no odds" : `odds about ${f.duration(1000 * odds_age_s)} old`} · answered in ${f.decimal(timings.total_ms)} ms`,
    ),
  )
}

/* the features that moved an outcome most, on the log scale: of the flagged bet at first, else of the pick */
function explanationPart(row, prediction, onExplain) {
  const {explanation} = prediction.answer
  if (!explanation?.length) return null
  const signal = valueOf(row)
  const outcome =
    prediction.outcome ?? (signal.isValue ? signal.outcome : OUTCOMES.indexOf(prediction.answer.predicted))
  const name = OUTCOMES[outcome]
  const top = explanation.toSorted((a, b) => Math.abs(b[name]) - Math.abs(a[name])).slice(0, 6)
  const most = Math.abs(top[0][name]) || 1
  return h(
    "div",
    {class: "why"},
    h("h4", {id: `why-${row.id}`}, `What spoke for and against ${TITLES[outcome](row)}`),
    h(
      "div",
      {class: "segments small", role: "group", "aria-label": "Outcome to explain"},
      f.SIGNS.map((sign, i) =>
        h(
          "button",
          {
            type: "button",
            "aria-pressed": String(i === outcome),
            "aria-label": `${TITLES[i](row)}${signal.isValue && signal.outcome === i ? ", the flagged bet" : ""}`,
            "data-explain": i,
            onclick: () => onExplain(i),
          },
          sign,
          signal.isValue && signal.outcome === i && " ▲",
        ),
      ),
    ),
    top.map(item => explanationLine(item, item[name], most)),
  )
}

const OUTCOMES = ["home", "draw", "away"]
const TITLES = [row => `a win of ${row.home}`, () => "a draw", row => `a win of ${row.away}`]

function explanationLine({feature, value}, part, most) {
  return h(
    "div",
    {class: `why-line ${part >= 0 ? "for" : "against"}`},
    h(
      "span",
      {class: "name", title: feature},
      describeFeature(feature),
      h("small", {}, ` ${describeValue(feature, value)}`),
    ),
    h("span", {class: "track"}, h("i", {"--w": `${(50 * Math.abs(part)) / most}%`})),
    h("small", {}, f.signed(part)),
  )
}

/* the age of the features is that of the build; what they know can be older */
function resultsKnown(row, until) {
  if (until === null) return "newest result unknown"
  return row.t <= Date.parse(until)
    ? "knows results before this match"
    : `knows results to ${f.date(Date.parse(until))}`
}

/* without a public address the reader puts in the own one: an address inside a cluster would help nobody */
function apiCall(row, apiUrl) {
  const text = `curl ${apiUrl ? "'" : '"'}${apiUrl || "$API_URL"}/predict/${row.id}?stage=champion${apiUrl ? "'" : '"'}`
  return h("div", {class: "call"}, h("code", {tabindex: 0}, text), copyButton("Copy the API call", text))
}
