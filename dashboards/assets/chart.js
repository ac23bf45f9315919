/* Drawing of charts: scales, axes, and a frame that says in words what the picture shows. */

import {fill, h, s} from "./dom.js"

/**
 * @param {number[]} domain
 * @param {number[]} range
 */
export const linear =
  ([d0, d1], [r0, r1]) =>
  value =>
    r0 + (d1 === d0 ? 0 : (value - d0) / (d1 - d0)) * (r1 - r0)

/**
 * Return round numbers inside a range, about n of them.
 * @param {number[]} range
 * @param {number} n
 */
export function ticks([low, high], n) {
  const rough = (high - low) / n,
    power = 10 ** Math.floor(Math.log10(rough || 1))
  const step = [1, 2, 5, 10].map(factor => factor * power).find(size => size >= rough) ?? 1
  const values = []
  for (let at = Math.ceil(low / step - 1e-9) * step; at <= high + step * 1e-9; at += step)
    values.push(Number(at.toPrecision(12)))
  return values
}

/**
 * Return the positions moved apart: in the same order, at least `gap` from each other, within the bounds where the bounds have room.
 * @param {number[]} positions
 * @param {number} gap
 * @param {number[]} bounds
 */
export function spread(positions, gap, [low, high]) {
  const order = positions.map((_, i) => i).sort((a, b) => positions[a] - positions[b])
  const moved = [...positions]
  let least = low
  for (const i of order) {
    moved[i] = Math.max(moved[i], least)
    least = moved[i] + gap
  }
  let most = high
  for (const i of order.reverse()) {
    moved[i] = Math.min(moved[i], most)
    most = moved[i] - gap
  }
  return moved
}

const CHARACTER_PX = 7 // of a label, at the font size of charts

/**
 * Return the labels that overlap none before them: put the most important first. Each has its middle as `x`.
 * @param {{x: number, words: string}[]} labels
 * @returns {any[]} as they came
 */
export function keepApart(labels) {
  const kept = []
  for (const label of labels) {
    const needs = other => ((label.words.length + other.words.length) * CHARACTER_PX) / 2 + 6
    if (kept.every(other => Math.abs(other.x - label.x) >= needs(other))) kept.push(label)
  }
  return kept
}

/**
 * Return the words, cut to a width.
 * @param {string} words
 * @param {number} width px
 */
export function shorten(words, width) {
  const n = Math.floor(width / CHARACTER_PX)
  return words.length <= n ? words : `${words.slice(0, Math.max(1, n - 1)).trimEnd()}…`
}

export const labelWidth = words => words.length * CHARACTER_PX

/* a picture with its title, a sentence, and its numbers as a table; drawn anew when its width changes */
export function figure({title, summary, draw, table, wide = false}) {
  const canvas = h("div", {class: "plot"})
  const el = h(
    "figure",
    {class: `chart${wide ? " wide" : ""}`},
    h("figcaption", {}, h("h3", {}, title), h("p", {}, summary)),
    canvas,
    table && numbers(table),
  )
  let width = 0
  const redraw = () => {
    const now = canvas.clientWidth
    if (!now || now === width) return
    width = now
    const {height, parts} = draw(now)
    fill(
      canvas,
      s(
        "svg",
        {viewBox: `0 0 ${now} ${height}`, width: now, height, role: "img", "aria-label": `${title}. ${summary}`},
        parts,
      ),
    )
  }
  const watch = new ResizeObserver(redraw)
  watch.observe(canvas)
  el.remove = () => {
    watch.disconnect()
    Element.prototype.remove.call(el)
  }
  return el
}

const numbers = ({heads, rows}) =>
  h(
    "details",
    {class: "numbers"},
    h("summary", {}, "Numbers"),
    h(
      "div",
      {class: "scroll", tabindex: 0, role: "group", "aria-label": "Numbers of the chart"},
      h(
        "table",
        {},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            heads.map(text => h("th", {scope: "col"}, text)),
          ),
        ),
        h(
          "tbody",
          {},
          rows.map(row =>
            h(
              "tr",
              {},
              row.map((cell, i) => (i ? h("td", {}, cell) : h("th", {scope: "row"}, cell))),
            ),
          ),
        ),
      ),
    ),
  )

export const empty = (title, summary) =>
  h("figure", {class: "chart"}, h("figcaption", {}, h("h3", {}, title), h("p", {}, summary)))

export const text = (x, y, words, more = {}) => s("text", {x, y, ...more}, words)

/* grid lines and labels of a vertical axis */
export const yAxis = (at, values, say, {left, right}) =>
  values.map(value => [
    s("line", {class: value === 0 ? "zero" : "grid", x1: left, x2: right, y1: at(value), y2: at(value)}),
    text(left - 8, at(value) + 4, say(value), {class: "end"}),
  ])

export const xAxis = (at, values, say, {top, bottom}) =>
  values.map(value => [
    s("line", {class: value === 0 ? "zero" : "grid", x1: at(value), x2: at(value), y1: top, y2: bottom}),
    text(at(value), bottom + 18, say(value), {class: "middle"}),
  ])

export const line = points => points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("")
export const area = (upper, lower) => `${line(upper)}${line([...lower].reverse()).replace("M", "L")}Z`
