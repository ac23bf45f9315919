/* The operations view: artifacts, models, workers, queue and drift, each with its age, or what keeps it away. */

import * as f from "./format.js"
import {fill, h} from "./dom.js"

const DEEP_QUEUE = 100,
  SILENT_MS = 15e3

export class Operations {
  constructor() {
    this.el = h("section", {class: "operations", "aria-label": "Operations"})
  }

  show(parts) {
    fill(
      this.el,
      part("Artifacts and parts", parts.ready, ready, true),
      part("Models", parts.models, models, true),
      part("Workers", parts.workers, workers, true),
      part("Queue", parts.queues, queues),
      part("Drift of the features", parts.drift, drift),
      parts.quality && part("Quality by model version", parts.quality, quality, true),
    )
  }
}

function part(title, {answer, reason, code, failure, seen_at: seenAt}, draw, wide = false) {
  return h(
    "section",
    {class: `panel${wide ? " wide" : ""}`, "aria-label": title},
    h("h2", {}, title),
    reason ? h("p", {class: "missing", role: "status"}, explainMissing(reason, code)) : draw(answer),
    failure &&
      h(
        "p",
        {class: "old", role: "status"},
        `As of ${f.time(Date.parse(seenAt))} (${f.ago(Date.parse(seenAt))}): ${failure.reason}`,
      ),
  )
}

const explainMissing = (reason, code) =>
  ["key-missing", "key-invalid", "scope-missing"].includes(code)
    ? `Not shown: ${reason} This page needs an API key with the scope “monitor” (setting API_KEY).`
    : `Not available: ${reason}`

const state = (isGood, good, bad) =>
  h("span", {class: isGood ? "chip hit" : "chip check"}, `${isGood ? "✓" : "⚠"} ${isGood ? good : bad}`)

function table(heads, rows) {
  if (!rows.length) return h("p", {class: "quiet"}, "none")
  return h(
    "div",
    {class: "scroll", tabindex: 0, role: "group", "aria-label": heads.join(", ")},
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
            row.map((cell, i) => h(i ? "td" : "th", i ? {} : {scope: "row"}, cell)),
          ),
        ),
      ),
    ),
  )
}

function ready({ready: isReady, degraded, parts}) {
  return h(
    "div",
    {},
    h("p", {class: "lead"}, state(isReady && !degraded, "all is well", isReady ? "degraded" : "not ready")),
    table(
      ["Part", "State", "Detail"],
      parts.map(one => [one.name, state(one.ok ?? one.status === "ok", "ok", "fails"), one.detail ?? ""]),
    ),
  )
}

const models = ({items}) =>
  table(
    ["Alias", "Version", "Run", "Trained on results to", "Loaded", "Log-loss"],
    items.map(model => [
      model.alias,
      `v${model.version}`,
      model.run_id.slice(0, 8),
      model.trained_until ? f.date(Date.parse(model.trained_until)) : f.DASH,
      f.ago(Date.parse(model.loaded_at)),
      lossOf(model.metrics),
    ]),
  )

function lossOf(metrics) {
  const name = Object.keys(metrics).find(key => key.includes("log_loss"))
  return name ? f.loss(metrics[name]) : f.DASH
}

const workers = ({items}) =>
  table(
    ["Worker", "Up since", "Last heartbeat", "Done", "Failed", "Memory", "Models"],
    items.map(worker => {
      const heartbeat = Date.parse(worker.last_beat_at)
      return [
        `${worker.host} · ${worker.pid}`,
        f.ago(Date.parse(worker.started_at)),
        state(Date.now() - heartbeat < SILENT_MS, f.ago(heartbeat), f.ago(heartbeat)),
        f.count(worker.jobs_done),
        f.count(worker.jobs_failed),
        `${f.count(worker.memory_mb)} MB`,
        Object.entries(worker.models)
          .map(([alias, version]) => `${alias} v${version}`)
          .join(", "),
      ]
    }),
  )

const queues = ({items}) =>
  table(
    ["Queue", "Waiting", "Running", "Oldest", "Dead letters"],
    items.map(queue => [
      queue.name,
      state(queue.queued < DEEP_QUEUE, f.count(queue.queued), f.count(queue.queued)),
      f.count(queue.in_progress),
      queue.oldest_age_s === null ? f.DASH : f.duration(1000 * queue.oldest_age_s),
      f.count(queue.dead_letters),
    ]),
  )

function drift({verdict, n_drifted: n, n_features: total, computed_at, features}) {
  const worst = features
    .filter(feature => feature.drifted)
    .slice(0, 5)
    .map(feature => feature.feature)
  return h(
    "div",
    {},
    h(
      "p",
      {class: "lead"},
      state(verdict === "stable", verdict, verdict),
      ` ${f.count(n)} of ${f.count(total)} features drifted · ${f.ago(Date.parse(computed_at))}`,
    ),
    worst.length > 0 && h("p", {class: "quiet"}, `Among them ${worst.join(", ")}.`),
    h("p", {}, h("a", {href: "drift-report", target: "_blank", rel: "noopener"}, "Open the report")),
  )
}

/* live predictions that were settled, from the ledger */
function quality({state: status, items, days, n_waiting: waiting}) {
  if (status !== "ok")
    return h(
      "p",
      {class: "quiet"},
      status === "no_data"
        ? `No live prediction has a result from the last ${days} days; ${f.count(waiting)} wait for a result.`
        : "There is no ledger, so nothing is scored.",
    )
  const score = estimate =>
    estimate ? `${f.loss(estimate.value)} (${f.loss(estimate.low)} … ${f.loss(estimate.high)})` : "too few"
  return h(
    "div",
    {},
    table(
      ["Version", "Role", "Matches", "Log-loss, 95 %", "Brier", "ECE", "ROI"],
      items.map(item => [
        `v${item.model_version}`,
        item.role,
        f.count(item.n),
        score(item.log_loss),
        score(item.brier),
        item.ece === null ? f.DASH : f.share(item.ece),
        item.money.roi_pct === null ? "too few bets" : f.percent(item.money.roi_pct),
      ]),
    ),
    h("p", {class: "quiet"}, `${f.count(waiting)} predictions wait for their result.`),
  )
}
