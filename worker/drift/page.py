"""The drift report as a page for people: what it comes to, then Evidently's plots of the columns that drifted most."""

import html
import json
from typing import TYPE_CHECKING

from app.artifacts.contract import DriftReport
from worker.drift.compare import evidently_report

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 24  # plots: all 508 would make it 22 MB


def page(report: DriftReport, reference: "pd.DataFrame", current: "pd.DataFrame") -> str:
    """The page; without plots when nothing could be compared."""
    names = [feature.feature for feature in report.features if feature.score is not None][:SHOWN]
    simulated = " (simulated matches)" if report.simulated else ""
    head = f"<h1>Drift{simulated}</h1><p><b>{html.escape(report.summary)}</b></p><dl>{_facts(report)}</dl>"
    if not names:
        return f"<!doctype html><meta charset='utf-8'><title>Drift</title>{head}<p>No feature could be compared.</p>"
    plots = str(evidently_report(reference, current, names).get_html_str(as_iframe=False))
    note = f"<p>The {len(names)} features that drifted most; latest.json has all.</p>"
    return plots.replace("<body>", f"<body>{head}{note}", 1)


def _facts(report: DriftReport) -> str:
    facts = report.model_dump(mode="json", exclude={"features", "probabilities", "summary"})
    shown = {key: json.dumps(value).strip('"') for key, value in facts.items()}
    return "".join(f"<dt>{html.escape(key)}</dt><dd>{html.escape(value)}</dd>" for key, value in shown.items())
