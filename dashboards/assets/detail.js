/* What is behind a row: model beside market, ages, a prediction made now, the call that gives it. */

import * as f from "./format.js"
import {fill, h, icon} from "./dom.js"

export function buildDetail(row, {apiUrl, predictions, onPredict, onResize}) {
  const live = h("div", {class: "live", "aria-live": "polite"})
  const draw = () => { fill(live, ...livePart(row, predictions, stage => { onPredict(row, stage); draw() })); onResize() }
  const el = h("div", {class: "detail", role: "region", "aria-label": `Details of ${row.home} against ${row.away}`},
    h("div", {class: "detail-grid"},
      h("div", {class: "odds-table"}, table(row), facts(row)),
      h("div", {class: "live-box"}, h("h4", {}, "Predict now"), live, call(row, apiUrl))))
  el.redraw = draw
  draw()
  return el
}

function table(row) {
  const money = row.money
  const heads = ["", "Model", "Fair odds", ...(money ? ["Odds", "Market", "Edge", "¼ Kelly"] : [])]
  const names = [row.home, "Draw", row.away]
  const line = i => h("tr", {class: money?.value && money.best === i ? "best" : ""},
    h("th", {scope: "row"}, h("i", {}, f.SIGNS[i]), " ", names[i]),
    h("td", {}, h("b", {}, f.share(row.p[i]))),
    h("td", {}, row.p[i] > 0 ? f.odds(1 / row.p[i]) : f.DASH),
    ...(money ? [
      h("td", {}, f.odds(money.odds[i])),
      h("td", {}, f.share(money.fair[i])),
      h("td", {}, f.edge(money.edge[i])),
      h("td", {}, money.best === i && money.kelly > 0 ? f.share(money.kelly) : f.DASH)] : []))
  return h("div", {class: "scroll"}, h("table", {},
    h("thead", {}, h("tr", {}, heads.map(text => (text ? h("th", {scope: "col", title: HELP[text]}, text) : h("td", {}))))),
    h("tbody", {}, [0, 1, 2].map(line))))
}

const HELP = {
  Model: "Probability by the model",
  "Fair odds": "1 / probability: odds above it would be value if the model is right",
  Market: "Probability the odds say, without the bookmaker's margin",
  Edge: "probability × odds − 1",
  "¼ Kelly": "Stake as a share of the bankroll: a quarter of Kelly's, capped",
}

function facts(row) {
  const [name, version, stage] = row.model
  const money = row.money
  const odds = money
    ? [`${money.maker}, margin ${f.share(money.margin)}`, taken(row)]
    : ["no odds for this match"]
  return h("dl", {class: "facts"},
    fact("Kick-off", row.timed ? f.moment(row.t) : `${f.shortDay(row.t)} · time not published`),
    fact("Odds", odds.join(" · ")),
    fact("Model", `${name} v${version} · ${stage === "champion" ? "champion" : stage}${row.ins ? " · in sample: it was trained on this result" : ""}`),
    fact("Computed", f.ago(row.at)),
    fact("Match", row.id))
}

/* prices of the results' publisher have the time of its collections (Friday, Tuesday afternoon), not their own */
function taken(row) {
  if (row.status !== "finished") return `taken about ${f.ago(row.money.at)}`
  return row.timed ? `taken about ${f.duration(row.t - row.money.at)} before kick-off` : `taken about ${f.shortDay(row.money.at)}`
}

const fact = (name, text) => h("div", {}, h("dt", {}, name), h("dd", {}, text))

function livePart(row, predictions, ask) {
  const stages = ["champion", "candidate"]
  const buttons = stages.map(stage => {
    const isAsked = predictions.get(`${row.id} ${stage}`)?.state === "asked"
    return h("button", {type: "button", class: "button", disabled: isAsked, "data-stage": stage, onclick: () => ask(stage)},
      isAsked ? "Predicting…" : `Ask the ${stage}`)
  })
  return [h("div", {class: "buttons"}, buttons), ...stages.map(stage => answer(row, predictions.get(`${row.id} ${stage}`), stage))]
}

function answer(row, given, stage) {
  if (!given || given.state === "asked") return null
  if (given.reason) return h("p", {class: "failed", role: "alert"}, `The ${stage} did not answer: ${given.reason}`)
  const {probabilities: p, model, feature_age_s, data_until, odds_age_s, timings, computed_at} = given.answer
  const values = [p.home, p.draw, p.away]
  const change = i => { const points = 100 * (values[i] - row.p[i]); return Math.abs(points) < 0.05 ? "as stored" : `${f.percent(points)} pts`.replace("%", "").replace(/\s+pts/, " pts") }
  return h("div", {class: "given"},
    h("div", {class: "given-head"}, h("b", {}, model.alias), ` v${model.version} · run ${model.run_id.slice(0, 8)} · ${f.ago(Date.parse(computed_at))}`),
    h("div", {class: "bars"}, values.map((value, i) => h("div", {class: "bar-line"},
      h("span", {}, f.SIGNS[i]), h("span", {class: "track"}, h("i", {"--w": `${100 * value}%`})),
      h("b", {}, f.share(value)), h("small", {}, change(i))))),
    h("p", {class: "quiet"}, `features ${f.duration(1000 * feature_age_s)} old · ${knows(row, data_until)} · ${odds_age_s === null ? "no odds" : `odds about ${f.duration(1000 * odds_age_s)} old`} · answered in ${f.decimal(timings.total_ms)} ms`))
}

/* the age of the features is that of the build; what they know can be older */
function knows(row, until) {
  if (until === null) return "newest result unknown"
  return row.t <= Date.parse(until) ? "knows results before this match" : `knows results to ${f.date(Date.parse(until))}`
}

function call(row, apiUrl) {
  const text = `curl '${apiUrl}/predict/${row.id}?stage=champion'`
  const button = h("button", {type: "button", class: "button ghost", "aria-label": "Copy the API call"}, icon("copy"), h("span", {}, "Copy"))
  button.addEventListener("click", async () => {
    try { await navigator.clipboard.writeText(text); button.lastChild.textContent = "Copied" }
    catch { button.lastChild.textContent = "Select and copy by hand" }
    setTimeout(() => { button.lastChild.textContent = "Copy" }, 2000)
  })
  return h("div", {class: "call"}, h("code", {tabindex: 0}, text), button)
}
