"""Writes the Grafana dashboards of infra/grafana: `python -m infra.tools.boards`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "grafana"
COLUMNS = 24  # of Grafana's grid
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True, slots=True)
class Panel:
    """One graph or number: a title that says what it answers, and PromQL by legend."""

    title: str
    queries: dict[str, str]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 12

    def as_json(self, number: int, x: int, y: int) -> dict[str, Any]:
        """As Grafana has it."""
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "datasource": DATASOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": 4 if self.kind == "stat" else 8},
            "fieldConfig": {"defaults": {"unit": self.unit}, "overrides": []},
            "options": {},
            "targets": [
                {"refId": chr(ord("A") + place), "datasource": DATASOURCE, "expr": expr, "legendFormat": legend}
                for place, (legend, expr) in enumerate(self.queries.items())
            ],
        }


def stat(title: str, expr: str, unit: str = "short") -> Panel:
    """One number."""
    return Panel(title, {"": expr}, unit, "stat", 6)


def quantiles(title: str, metric: str, unit: str = "s") -> Panel:
    """Half, 95 and 99 of a hundred values of a histogram."""
    at = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    rate = f"sum by (le) (rate({metric}_bucket[$__rate_interval]))"
    return Panel(title, {name: f"histogram_quantile({q}, {rate})" for name, q in at.items()}, unit)


def rate(metric: str, by: str) -> str:
    """Events a second by one label."""
    return f"sum by ({by}) (rate({metric}[$__rate_interval]))"


BOARDS: dict[str, tuple[Panel, ...]] = {
    "service": (
        stat(
            "Answers that were no 5xx, 30 days",
            '1 - sum(increase(http_requests_total{status=~"5.."}[30d])) / sum(increase(http_requests_total[30d]))',
            "percentunit",
        ),
        stat("Error budget burnt, 1 h (1 = just sustainable)", "touchline:http_errors:ratio_rate1h / 0.001"),
        stat("Requests a second", "sum(rate(http_requests_total[5m]))", "reqps"),
        stat("Listeners of the change feed", "sum(event_listeners)"),
        Panel("Requests by status", {"{{status}}": rate("http_requests_total", "status")}, "reqps"),
        quantiles("Time to answer, without the change feed", "http_request_duration_seconds"),
        Panel("Requests by route", {"{{route}}": rate("http_requests_total", "route")}, "reqps"),
        Panel("Dependencies that answer", {"{{name}}": "min by (name) (dependency_up)"}),
        Panel("Memory", {"{{job}} {{instance}}": "process_resident_memory_bytes"}, "bytes"),
        Panel("CPU", {"{{job}} {{instance}}": "rate(process_cpu_seconds_total[$__rate_interval])"}, "percentunit"),
        Panel("Open files", {"{{job}} {{instance}}": "process_open_fds"}),
        Panel(
            "Match page: sessions and calls",
            {"sessions": "sum(page_sessions)", "{{result}}": rate("page_api_requests_total", "result")},
        ),
    ),
    "live-path": (
        stat("Within 50 ms (SLO 99 %)", "touchline:live_within_50ms:ratio_rate5m", "percentunit"),
        stat("Within 200 ms (the reference's aim)", "touchline:live_within_200ms:ratio_rate5m", "percentunit"),
        stat("Workers with a verified model", "max(workers_verified)"),
        stat("Dead letters", "max(queue_dead_letters)"),
        quantiles("A live prediction, from request to answer", "prediction_duration_seconds"),
        quantiles("Inference of its batch", "inference_duration_seconds"),
        Panel("Live predictions by result", {"{{result}}": rate("prediction_requests_total", "result")}, "reqps"),
        Panel("Jobs in the queue", {"{{state}}": "max by (state) (queue_jobs)"}),
        Panel("Oldest job", {"age": "max(queue_oldest_job_age_seconds)"}, "s"),
        quantiles("Wait in the queue", "worker_queue_wait_seconds"),
        quantiles("Jobs in a batch", "worker_batch_jobs", "short"),
        Panel("Jobs a second by result", {"{{result}}": rate("worker_jobs_total", "result")}, "ops"),
        Panel(
            "Lease recoveries, retries and dead letters",
            {
                "reclaims": "sum(increase(worker_reclaims_total[$__rate_interval]))",
                "retries": "sum(increase(worker_retries_total[$__rate_interval]))",
                "given up": "sum(increase(worker_dead_letters_total[$__rate_interval]))",
            },
        ),
        Panel("Worker processes", {"ready": "sum(worker_processes_ready)", "running": "sum(worker_processes)"}),
    ),
    "artifacts": (
        stat("Age of the artifacts", "max(snapshot_age_seconds)", "s"),
        stat("Age of the newest odds", "max(odds_age_seconds)", "s"),
        stat("Newer artifacts refused", "max(snapshot_fault)"),
        stat("Matches served", "max(snapshot_matches)"),
        Panel(
            "Ages",
            {
                "artifacts": "max(snapshot_age_seconds)",
                "odds": "max(odds_age_seconds)",
                "features": "max(features_age_seconds)",
            },
            "s",
        ),
        Panel("Snapshots opened", {"{{instance}}": "increase(snapshot_swaps_total[1h])"}),
        Panel(
            "DuckDB queries",
            {
                "{{result}}": rate("lake_queries_total", "result"),
                "run now": "sum(lake_queries_running)",
                "wait": "sum(lake_queries_waiting)",
            },
        ),
        Panel(
            "Mean time of a query",
            {
                "seconds": "sum(rate(lake_query_seconds_total[$__rate_interval]))"
                " / sum(rate(lake_queries_total[$__rate_interval]))"
            },
            "s",
        ),
        Panel(
            "Answers found rendered",
            {
                "share": 'sum(rate(rendered_lookups_total{result="hit"}[$__rate_interval]))'
                " / sum(rate(rendered_lookups_total[$__rate_interval]))"
            },
            "percentunit",
        ),
        Panel(
            "Ledger",
            {
                "rows waiting": "sum(ledger_rows_waiting)",
                "rows lost": "sum(ledger_rows_lost_total)",
                "rows refused": "sum(ledger_rows_refused_total)",
            },
        ),
        Panel("Ledger behind the answers", {"lag": "max(ledger_lag_seconds)"}, "s"),
    ),
    "model": (
        stat("Features that drifted", "max(model_feature_drift_score)", "percentunit"),
        stat("Age of the drift report", "max(drift_report_age_seconds)", "s"),
        stat("Versions of the champion at work", 'count(count by (version) (model_info{alias="champion"}))'),
        stat("Age of the champion", 'time() - max(model_registered_at_seconds{alias="champion"})', "s"),
        Panel("Log-loss on settled predictions", {"{{role}} {{version}}": 'model_quality{figure="log_loss"}'}),
        Panel("RPS on settled predictions", {"{{role}} {{version}}": 'model_quality{figure="rps"}'}),
        Panel("Calibration error (ECE)", {"{{role}} {{version}}": 'model_quality{figure="ece"}'}, "percentunit"),
        Panel("Predictions settled", {"{{role}} {{version}}": 'model_quality{figure="n"}'}),
        quantiles("Probability of the likeliest outcome", "prediction_confidence", "percentunit"),
        Panel(
            "Models held and refused",
            {
                "{{alias}} {{version}}": "sum by (alias, version) (worker_models_held)",
                "refused {{alias}}": "sum by (alias) (worker_models_refused)",
            },
        ),
        Panel("Registry out of reach", {"{{instance}}": "worker_registry_unreachable"}),
    ),
    "money": (
        stat("ROI of settled value bets", 'max(value_bets{figure="roi"})', "percentunit"),
        stat("Settled value bets", 'max(value_bets{figure="settled"})'),
        stat("Open value bets", 'max(value_bets{figure="open"})'),
        stat("Mean closing-line value", 'max(value_bets{figure="clv"})', "percentunit"),
        Panel(
            "ROI and its 95 % interval",
            {
                "low": 'max(value_bets{figure="roi_low"})',
                "ROI": 'max(value_bets{figure="roi"})',
                "high": 'max(value_bets{figure="roi_high"})',
            },
            "percentunit",
        ),
        Panel(
            "Edge promised beside ROI realised",
            {
                "mean edge promised": 'max(value_bets{figure="mean_edge"})',
                "ROI realised": 'max(value_bets{figure="roi"})',
            },
            "percentunit",
        ),
        Panel(
            "Model, market favourite, always home",
            {
                "model": 'max(value_bets{figure="accuracy"})',
                "market": 'max(value_bets{figure="accuracy_market"})',
                "home": 'max(value_bets{figure="accuracy_home"})',
            },
            "percentunit",
        ),
        Panel(
            "Profit, units",
            {"profit": 'max(value_bets{figure="profit"})', "worst drawdown": 'max(value_bets{figure="drawdown"})'},
        ),
    ),
}


# Grafana puts a mark where a value, in milliseconds, says; these members are of its Prometheus data source
PROMOTIONS = {
    "name": "Promotions",
    "datasource": DATASOURCE,
    "enable": True,
    "iconColor": "blue",
    "expr": "max by (action, alias, from_version, to_version) (model_promoted_at_seconds) * 1000",
    "step": "60s",
    "useValueForTime": "on",
    "titleFormat": "{{action}}",
    "textFormat": "{{alias}}: version {{from_version}} to {{to_version}}",
}


def board(name: str, panels: tuple[Panel, ...]) -> dict[str, Any]:
    """A dashboard as Grafana imports it; panels fill the rows from the left."""
    placed, x, y = [], 0, 0
    for number, panel in enumerate(panels, start=1):
        if x + panel.width > COLUMNS:
            x, y = 0, y + 8
        placed.append(panel.as_json(number, x, y))
        x += panel.width
    return {
        "uid": f"touchline-{name}",
        "title": f"Touchline: {name.replace('-', ' ')}",
        "tags": ["touchline"],
        "schemaVersion": 41,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "annotations": {"list": [PROMOTIONS]},
        "templating": {"list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}]},
        "panels": placed,
    }


def write_boards() -> dict[str, str]:
    """Every file's name and text."""
    return {f"{name}.json": json.dumps(board(name, panels), indent=1) + "\n" for name, panels in BOARDS.items()}


def main() -> None:
    """Write the files anew."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in write_boards().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
