/* What stands over the rows of a day, and of a tournament in it with the ROI of its region. */

import * as f from "./format.js"
import {h} from "./dom.js"

export function dayHead(item) {
  const [name, detail] = f.dayTitle(item.at)
  return h("div", {class: "day", role: "listitem"}, h("h2", {}, name, h("small", {}, ` ${detail}`)))
}

export function groupHead(row) {
  return h("div", {class: "group", role: "listitem"},
    h("h3", {}, row.region, h("span", {}, row.tour)), regionRoi(row))
}

function regionRoi(row) {
  const roi = row.roi
  if (!roi) return h("span", {class: "region-roi"}, "no settled bets before")
  const title = `Region ROI from value bets in ${row.region} settled before this match (walk-forward), drawn towards the overall ROI: the fewer the bets, the more`
  const said = {class: "region-roi", role: "group", title, "aria-label": title}
  const name = h("span", {class: "wide"}, `${row.region} `), n = h("small", {}, ` n=${f.count(roi.n)}`)
  if (roi.pct === null) return h("span", said, name, "ROI: too few bets", n)
  const half = roi.low === null ? null : h("span", {class: "wide"}, ` ±${f.decimal((roi.high - roi.low) / 2)}`)
  return h("span", said, name, "ROI ", h("b", {}, f.percent(roi.pct)), half, n)
}
