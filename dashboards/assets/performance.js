/* The performance view: what the settled matches of the filter say of model and bets, drawn and in words. */

import * as f from "./format.js"
import {
  area,
  empty,
  figure,
  keepApart,
  labelWidth,
  line,
  linear,
  shorten,
  spread,
  text,
  ticks,
  xAxis,
  yAxis,
} from "./chart.js"
import {fill, h, s} from "./dom.js"
import {SUSPECT_EDGE} from "./row.js"

export class Performance {
  constructor() {
    this.el = h("section", {class: "performance", "aria-label": "Performance"})
  }

  show(series, isLike) {
    for (const el of [...this.el.children]) el.remove()
    const scope = isLike
      ? "Upcoming matches have no result: these are the finished matches of the other filters"
      : "Finished matches of the filter"
    fill(
      this.el,
      h(
        "p",
        {class: "scope"},
        `${scope}, ${series.staking === "kelly" ? "quarter-Kelly stakes, shares of the bankroll" : "one unit a bet"}. Matches that the model was trained on are left out everywhere.`,
      ),
      profitChart(series),
      calibrationChart(series),
      roiChart(series, "regions"),
      roiChart(series, "edges"),
      edgesChart(series),
      marketChart(series),
      closingChart(series),
    )
  }

  remove() {
    for (const el of [...this.el.children]) el.remove()
  }
}

const MARGIN = {left: 58, right: 16}
const money = (value, staking) => (staking === "kelly" ? f.percent(100 * value) : f.units(value))

/* --- cumulative profit -------------------------------------------------------------------------------------- */

function profitChart({curve, staking, n_bets: n}) {
  const title = "Profit over time"
  if (curve.length < 2) return empty(title, "Fewer than two days with settled value bets: there is no curve yet.")
  const last = curve.at(-1),
    say = value => money(value, staking)
  const low = last.expected - last.spread,
    high = last.expected + last.spread
  const verdict =
    last.profit < low
      ? "less than luck explains: the model overrates the bets it picks"
      : last.profit > high
        ? "more than luck explains"
        : "within what luck explains"
  const deepest = Math.max(...curve.map(point => point.drawdown))
  const summary = `${f.count(n)} bets made ${say(last.profit)}; the model expected ${say(last.expected)} (95 % range ${say(low)} to ${say(high)}). That is ${verdict}. Largest drawdown: ${say(-deepest)}.`
  return figure({
    title,
    summary,
    wide: true,
    draw: width => drawProfit(curve, staking, width),
    table: {
      heads: ["Day", "Bets", "Profit", "Expected", "Drawdown"],
      rows: sampled(curve, 24).map(point => [
        f.date(Date.parse(point.day)),
        f.count(point.n_bets),
        say(point.profit),
        say(point.expected),
        say(-point.drawdown),
      ]),
    },
  })
}

function drawProfit(curve, staking, width) {
  const say = value => money(value, staking),
    tick = value => (staking === "kelly" ? f.percentShort(100 * value) : f.units0(value))
  const {left, right} = MARGIN,
    top = 12,
    bottom = 236,
    under = 262,
    floor = 318
  const days = curve.map(point => Date.parse(point.day))
  const x = linear([days[0], days.at(-1)], [left, width - right])
  const values = curve.flatMap(point => [point.profit, point.expected + point.spread, point.expected - point.spread])
  const domain = [Math.min(0, ...values), Math.max(0, ...values)],
    y = linear(domain, [bottom, top])
  const at = pick => curve.map((point, i) => [x(days[i]), y(pick(point))])
  const deepest = Math.max(...curve.map(point => point.drawdown), 1e-9),
    drop = linear([0, deepest], [under, floor])
  const end = curve.at(-1),
    isBelow = end.profit < end.expected
  const [expectedY, actualY] = spread(
    [y(end.expected) + (isBelow ? -8 : 16), y(end.profit) + (isBelow ? 16 : -8)],
    16,
    [top, bottom],
  )
  return {
    height: 346,
    parts: [
      yAxis(y, ticks(domain, 5), tick, {left, right: width - right}),
      dates(days, x, floor),
      s("path", {
        class: "band",
        d: area(
          at(p => p.expected + p.spread),
          at(p => p.expected - p.spread),
        ),
      }),
      s("path", {class: "expected", d: line(at(p => p.expected))}),
      s("path", {class: "actual", d: line(at(p => p.profit))}),
      text(width - right, expectedY, "expected", {class: "end name"}),
      text(width - right, actualY, "actual", {class: "end name strong"}),
      s("path", {
        class: "drawdown",
        d: area(
          curve.map((p, i) => [x(days[i]), under]),
          curve.map((p, i) => [x(days[i]), drop(p.drawdown)]),
        ),
      }),
      s("line", {class: "grid", x1: left, x2: width - right, y1: under, y2: under}),
      text(left - 8, floor, say(-deepest), {class: "end"}),
      text(left + 4, under - 5, "drawdown", {class: "name"}),
    ],
  }
}

function dates(days, x, y) {
  const n = Math.max(2, Math.floor((x.range ?? x(days.at(-1)) - x(days[0])) / 150)),
    step = (days.at(-1) - days[0]) / n
  return Array.from({length: n + 1}, (_, i) =>
    text(x(days[0] + i * step), y + 20, f.date(days[0] + i * step), {
      class: i === 0 ? "start" : i === n ? "end" : "middle",
    }),
  )
}

const sampled = (points, n) =>
  points.filter((_, i) => i === points.length - 1 || i % Math.ceil(points.length / n) === 0)

/* --- reliability -------------------------------------------------------------------------------------------- */

function calibrationChart({reliability: bins, n_judged: n}) {
  const title = "Calibration"
  if (!bins.length)
    return empty(title, "There are too few finished matches here to compare probabilities with results.")
  const off = bins.filter(bin => bin.forecast < bin.frequency_low || bin.forecast > bin.frequency_high)
  const worst = off.toSorted((a, b) => Math.abs(b.frequency - b.forecast) - Math.abs(a.frequency - a.forecast))[0]
  const summary = `${f.count(n)} matches. ${off.length ? `In ${off.length} of ${bins.length} ranges the observed share differs from the forecast by more than luck; most at a forecast of ${f.share(worst.forecast)}, where ${f.share(worst.frequency)} were observed.` : `In all ${bins.length} ranges the observed share agrees with the forecast.`}`
  return figure({
    title,
    summary,
    draw: width => drawCalibration(bins, width),
    table: {
      heads: ["Forecast", "Observed", "95 % interval", "n"],
      rows: bins.map(bin => [
        f.share(bin.forecast),
        f.share(bin.frequency),
        `${f.share(bin.frequency_low)} … ${f.share(bin.frequency_high)}`,
        f.count(bin.n),
      ]),
    },
  })
}

function drawCalibration(bins, width) {
  const {left, right} = MARGIN,
    top = 12,
    bottom = 270
  const high = Math.min(
    1,
    Math.ceil(10 * Math.max(...bins.map(bin => Math.max(bin.frequency_high, bin.forecast)))) / 10,
  )
  const x = linear([0, high], [left, width - right]),
    y = linear([0, high], [bottom, top])
  const most = Math.max(...bins.map(bin => bin.n))
  return {
    height: 326,
    parts: [
      yAxis(y, ticks([0, high], 5), f.probability, {left, right: width - right}),
      xAxis(x, ticks([0, high], 5), f.probability, {top, bottom}),
      s("line", {class: "expected", x1: x(0), y1: y(0), x2: x(high), y2: y(high)}),
      bins.map(bin => [
        s("line", {
          class: "whisker",
          x1: x(bin.forecast),
          x2: x(bin.forecast),
          y1: y(bin.frequency_low),
          y2: y(bin.frequency_high),
        }),
        s(
          "circle",
          {class: "dot", cx: x(bin.forecast), cy: y(bin.frequency), r: 3 + 6 * Math.sqrt(bin.n / most)},
          s("title", {}, `forecast ${f.share(bin.forecast)}, observed ${f.share(bin.frequency)}, n=${f.count(bin.n)}`),
        ),
      ]),
      keepApart(bins.map(bin => ({x: x(bin.forecast), words: short(bin.n), y: y(bin.frequency_low)}))).map(label =>
        text(label.x, Math.min(label.y + 15, bottom - 4), label.words, {class: "middle name"}),
      ),
      text(width - right, bottom + 40, "forecast probability", {class: "end name"}),
      text(left + 4, top + 10, "observed share", {class: "name"}),
    ],
  }
}

const short = n => (n < 1000 ? String(n) : `${f.decimal(n / 1000)}k`)

/* --- ROI by group ------------------------------------------------------------------------------------------- */

const GROUPS = {
  regions: {title: "ROI by region", none: "No region has 30 settled value bets yet."},
  edges: {title: "ROI by expected edge", none: "There are no settled value bets here."},
}

function roiChart(series, name) {
  const {title, none} = GROUPS[name],
    all = series[name],
    groups = all.filter(group => group.roi_pct !== null)
  if (!groups.length) return empty(title, none)
  return figure({
    title,
    summary: summarize(groups, name),
    draw: width => drawRoi(groups, width),
    table: {
      heads: ["Group", "ROI", "95 % interval", "Bets", "Profit"],
      rows: all.map(group => [
        group.name,
        group.roi_pct === null ? "too few" : f.percent(group.roi_pct),
        group.roi_pct === null ? f.DASH : `${f.percent(group.roi_ci_low)} … ${f.percent(group.roi_ci_high)}`,
        f.count(group.n_bets),
        money(group.profit, series.staking),
      ]),
    },
  })
}

function summarize(groups, name) {
  const real = groups.filter(group => group.is_significant),
    what = name === "regions" ? "regions" : "groups"
  const first = real.length
    ? `${real.length} of ${groups.length} ${what} differ from 0 by more than luck: ${real.map(group => `${group.name} ${f.percent(group.roi_pct)}`).join(", ")}.`
    : `None of ${groups.length} ${what} differs from 0 by more than luck.`
  const second =
    name === "edges"
      ? "If larger edges were truer, ROI would rise downwards."
      : "In sample: a region's past ROI says little of its next bets."
  return `${first} Judged together (Benjamini-Hochberg, 5 %). ${second}`
}

function drawRoi(groups, width) {
  const left = Math.min(128, width * 0.34),
    right = 60,
    top = 8,
    row = 22,
    bottom = top + row * groups.length
  const reach = Math.min(
    200,
    Math.max(10, ...groups.flatMap(group => [Math.abs(group.roi_ci_low), Math.abs(group.roi_ci_high)])),
  )
  const x = linear([-reach, reach], [left, width - right]),
    inside = value => x(Math.min(reach, Math.max(-reach, value)))
  return {
    height: bottom + 30,
    parts: [
      xAxis(x, ticks([-reach, reach], width < 420 ? 4 : 6), f.percentShort, {top, bottom}),
      groups.map((group, i) => {
        const y = top + row * (i + 0.5),
          tone = group.is_significant ? (group.roi_pct > 0 ? "good" : "bad") : "plain"
        return s(
          "g",
          {class: tone},
          s("title", {}, group.name),
          text(left - 10, y + 4, shorten(group.name, left - 10), {class: "end label"}),
          beyond(group, reach, [left, width - right], y),
          s("line", {class: "whisker", x1: inside(group.roi_ci_low), x2: inside(group.roi_ci_high), y1: y, y2: y}),
          group.is_significant
            ? s("path", {class: "mark", d: `M${inside(group.roi_pct)} ${y - 7}l7 7l-7 7l-7 -7Z`})
            : s("circle", {class: "mark", cx: inside(group.roi_pct), cy: y, r: 4.5}),
          text(width - right + 12, y + 4, `n=${short(group.n_bets)}`, {class: "name"}),
        )
      }),
    ],
  }
}

/* an interval that ends beyond the axis has an arrow where it leaves it */
const beyond = ({roi_ci_low: low, roi_ci_high: high}, reach, [left, right], y) => [
  low < -reach && s("path", {class: "mark", d: `M${left} ${y - 4}l-6 4l6 4Z`}),
  high > reach && s("path", {class: "mark", d: `M${right} ${y - 4}l6 4l-6 4Z`}),
]

/* --- edges -------------------------------------------------------------------------------------------------- */

function edgesChart({edge_bars: bars, value_edge: threshold}) {
  const title = "Edges",
    n = sum(bars)
  if (!n) return empty(title, "No match here has odds.")
  const value = sum(bars.filter(bar => bar.low !== null && bar.low >= threshold - 1e-9)),
    suspect = sum(bars.filter(bar => bar.low !== null && bar.low >= SUSPECT_EDGE - 1e-9))
  const summary = `${f.count(value)} of ${f.count(n)} matches with odds (${f.probability(value / n)}) reach the threshold of ${f.probability(threshold)}. ${f.count(suspect)} have an edge above ${f.probability(SUSPECT_EDGE)}: no record of settled bets supports edges this large.`
  return histogramOf({
    title,
    summary,
    bars,
    say: f.edge,
    tone: bar =>
      bar.low === null || bar.low < threshold - 1e-9 ? "plain" : bar.low >= SUSPECT_EDGE - 1e-9 ? "check" : "value",
    mark: {at: threshold, name: "threshold"},
  })
}

const sum = bars => bars.reduce((total, bar) => total + bar.n, 0)

function histogramOf({title, summary, bars, say, tone, mark}) {
  const span = bar =>
    bar.low === null
      ? `below ${say(bar.high)}`
      : bar.high === null
        ? `${say(bar.low)} and above`
        : `${say(bar.low)} to ${say(bar.high)}`
  return figure({
    title,
    summary,
    draw: width => drawBars(bars, say, tone, mark, width),
    table: {heads: ["Range", "Matches"], rows: bars.map(bar => [span(bar), f.count(bar.n)])},
  })
}

function drawBars(bars, say, tone, mark, width) {
  const {left, right} = MARGIN,
    top = 22,
    bottom = 230,
    step = (width - left - right) / bars.length
  const most = Math.max(1, ...bars.map(bar => bar.n)),
    y = linear([0, most], [bottom, top])
  const at = i => left + i * step
  const marked = bars.findIndex(bar => bar.low !== null && Math.abs(bar.low - mark.at) < 1e-9)
  return {
    height: 262,
    parts: [
      stripes(),
      yAxis(y, ticks([0, most], 4), f.count, {left, right: width - right}),
      bars.map((bar, i) =>
        s("rect", {
          class: `column ${tone(bar)}`,
          x: at(i) + 1,
          width: Math.max(1, step - 2),
          y: y(bar.n),
          height: bottom - y(bar.n),
        }),
      ),
      barLabels(bars, at, width).map(label => text(label.x, bottom + 18, label.words, {class: "middle"})),
      marked >= 0 && [
        s("line", {class: "threshold", x1: at(marked), x2: at(marked), y1: 14, y2: bottom}),
        text(at(marked) + 5, 20, mark.name, {class: "name"}),
      ],
    ],
  }
}

/* the ends first: a bar that holds all that lies beyond the axis says so */
function barLabels(bars, at, width) {
  const every = Math.ceil(bars.length / (width < 420 ? 4 : 7))
  const [first, last] = [bars[0], bars.at(-1)]
  const low = first.low === null && `< ${f.percentShort(100 * first.high)}`,
    high = last.high === null && `≥ ${f.percentShort(100 * last.low)}`
  const ends = [
    high && {x: at(bars.length) - labelWidth(high) / 2, words: high},
    low && {x: at(0) + labelWidth(low) / 2, words: low},
  ].filter(Boolean)
  const bounds = bars.flatMap((bar, i) =>
    bar.low !== null && (i - 1) % every === 0 ? [{x: at(i), words: f.percentShort(100 * bar.low)}] : [],
  )
  return keepApart([...ends, ...bounds])
}

const stripes = () =>
  s(
    "defs",
    {},
    s(
      "pattern",
      {id: "stripes", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)"},
      s("rect", {class: "stripe-ground", width: 6, height: 6}),
      s("rect", {class: "stripe", width: 3, height: 6}),
    ),
  )

/* --- market ------------------------------------------------------------------------------------------------- */

function marketChart({market: {n, model, market: other, n_cells: side, cells}}) {
  const title = "Model and market"
  if (!n) return empty(title, "No finished match here has odds.")
  const better = model.log_loss < other.log_loss ? "the model forecast better" : "the market forecast better"
  const summary = `On the same ${f.count(n)} matches ${better}: log-loss ${f.loss(model.log_loss)} against ${f.loss(other.log_loss)} of the market without its margin (smaller is better). Dark squares are many outcomes; on the dashed line both agree.`
  return figure({
    title,
    summary,
    draw: width => drawGrid(side, cells, width),
    table: {
      heads: ["", "Model", "Market"],
      rows: [
        ["Log-loss", "log_loss"],
        ["Brier", "brier"],
        ["RPS", "rps"],
        ["ECE", "ece"],
      ].map(([name, key]) => [name, f.loss(model[key]), f.loss(other[key])]),
    },
  })
}

function drawGrid(side, cells, width) {
  const {left, right} = MARGIN,
    top = 12,
    bottom = 270
  const x = linear([0, 1], [left, width - right]),
    y = linear([0, 1], [bottom, top]),
    most = Math.log1p(Math.max(...cells.map(cell => cell[2])))
  return {
    height: 326,
    parts: [
      yAxis(y, ticks([0, 1], 5), f.probability, {left, right: width - right}),
      xAxis(x, ticks([0, 1], 5), f.probability, {top, bottom}),
      cells.map(([market, model, n]) =>
        s("rect", {
          class: "cell",
          x: x(market / side),
          y: y((model + 1) / side),
          width: x(1 / side) - x(0),
          height: y(0) - y(1 / side),
          "fill-opacity": (0.08 + (0.82 * Math.log1p(n)) / most).toFixed(2),
        }),
      ),
      s("line", {class: "expected", x1: x(0), y1: y(0), x2: x(1), y2: y(1)}),
      text(width - right, bottom + 40, "market", {class: "end name"}),
      text(left + 4, top + 10, "model", {class: "name"}),
    ],
  }
}

/* --- closing line ------------------------------------------------------------------------------------------- */

function closingChart({closing: {n, mean_pct: mean, ci_low: low, ci_high: high, share_positive: positive, bars}}) {
  const title = "Closing-line value"
  if (!n || mean === null)
    return empty(title, n ? "Too few bets with closing odds." : "The closing odds of these bets are not known.")
  const verdict =
    low > 0
      ? "the bets were better than the last price knew"
      : high < 0
        ? "the last, best informed price was better than ours"
        : "neither price was better beyond luck"
  const summary = `${f.count(n)} bets were taken at ${f.percent(mean)} against the fair closing price (95 % interval ${f.percent(low)} … ${f.percent(high)}): ${verdict}. ${f.share(positive)} of them beat it.`
  return histogramOf({
    title,
    summary,
    bars,
    say: f.edge,
    tone: bar => (bar.low !== null && bar.low >= 0 ? "value" : "plain"),
    mark: {at: 0, name: "fair closing price"},
  })
}
