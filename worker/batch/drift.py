"""Compares the features that the champion was trained on with those it sees now: Evidently's report in two files.

Evidently takes about ten seconds to import and a few hundred megabytes, so it is imported inside the functions that
need it, and the build runs `write_drift_report` in a process of its own.
"""

import html
import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.domain.drift import PSI_MODERATE, verdict
from app.store import contract
from app.store.contract import DriftFeature, DriftReport
from app.store.lake import connect

if TYPE_CHECKING:
    import pandas as pd

METHOD = "psi"  # named, because Evidently picks another by itself for other sample sizes
SAMPLE_ROWS = 2000  # PSI's noise over 30 bins is then about 0.03, far below the threshold
LEAST_VALUES = 30  # with fewer known values a distribution is not worth comparing
SHOWN_FEATURES = 24  # plots in the page: all 508 would make it 22 MB

# a hash of the id picks the same matches for the same data, whatever their order
_SAMPLE = """
SELECT features.* EXCLUDE (match_id)
FROM read_parquet($features) features JOIN read_parquet($matches) matches USING (match_id)
WHERE kickoff_utc >= $since AND kickoff_utc < $until AND status <> 'cancelled'
ORDER BY hash(match_id) LIMIT $rows
"""
_SPAN = """
SELECT count(*), min(kickoff_utc), max(kickoff_utc) FROM read_parquet($matches)
WHERE kickoff_utc >= $since AND kickoff_utc < $until AND status <> 'cancelled'
"""
_FOREVER = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class DriftJob:
    """What to compare: matches before `reference_until` with those from `current_since` on, upcoming ones included.

    `reference_since` leaves out the beginning of the history, where windows of form are empty for everyone.
    """

    matches: Path
    features: Path
    reference_since: datetime
    reference_until: datetime
    current_since: datetime
    computed_at: datetime
    simulated: bool


def write_drift_report(job: DriftJob, folder: Path) -> DriftReport:
    """Write `latest.json` (every feature) and `latest.html` (plots of the most drifted) into an artifacts folder."""
    reference, reference_span = _sample(job, job.reference_since, job.reference_until)
    current, current_span = _sample(job, job.current_since, _FOREVER)
    known = [name for name in reference.columns if min(reference[name].count(), current[name].count()) >= LEAST_VALUES]
    compared = {feature.feature: feature for feature in _compare(reference, current, known)}
    features = [compared.get(name) or _unknown(name) for name in reference.columns]
    report = _report(job, features, reference_span, current_span)
    path = folder / contract.DRIFT
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(report.model_dump_json(indent=1), encoding="utf-8")
    shown = [feature.feature for feature in report.features if feature.score is not None][:SHOWN_FEATURES]
    (folder / contract.DRIFT_HTML).write_text(_page(report, reference, current, shown), encoding="utf-8")
    return report


def _sample(job: DriftJob, since: datetime, until: datetime) -> tuple["pd.DataFrame", dict[str, str | int | None]]:
    connection = connect()
    try:
        where = {"matches": str(job.matches), "since": since, "until": until}
        frame = connection.execute(_SAMPLE, where | {"features": str(job.features), "rows": SAMPLE_ROWS}).df()
        ((n_matches, first, last),) = connection.execute(_SPAN, where).fetchall()
    finally:
        connection.close()
    span = {"from": first.date().isoformat() if first else None, "to": last.date().isoformat() if last else None}
    return frame, span | {"matches": n_matches, "rows": len(frame)}


def _report(
    job: DriftJob,
    features: list[DriftFeature],
    reference: dict[str, str | int | None],
    current: dict[str, str | int | None],
) -> DriftReport:
    n_compared = sum(feature.drifted is not None for feature in features)
    n_drifted = sum(feature.drifted is True for feature in features)
    score = n_drifted / n_compared if n_compared else None
    return DriftReport(
        score=score,
        n_features=len(features),
        n_drifted=n_drifted,
        verdict=verdict(score),
        features=tuple(
            sorted(features, key=lambda feature: -1.0 if feature.score is None else feature.score, reverse=True)
        ),
        reference=reference,
        current=current,
        computed_at=job.computed_at,
        simulated=job.simulated,
    )


def _unknown(name: str) -> DriftFeature:
    return DriftFeature(feature=name, method=METHOD, score=None, threshold=PSI_MODERATE, drifted=None)


def _compare(reference: "pd.DataFrame", current: "pd.DataFrame", names: list[str]) -> Iterator[DriftFeature]:
    if not names:
        return
    found = _run(reference, current, names).dict()
    scores = {metric["config"]["column"]: float(metric["value"]) for metric in found["metrics"]}
    for test in found["tests"]:
        name = test["metric_config"]["params"]["column"]
        status = test["status"].value
        yield DriftFeature(
            feature=name,
            method=METHOD,
            score=scores[name],
            threshold=PSI_MODERATE,
            drifted=None if status == "ERROR" else status == "FAIL",
        )


def _run(reference: "pd.DataFrame", current: "pd.DataFrame", names: list[str]) -> Any:
    from evidently import DataDefinition, Dataset, Report  # noqa: PLC0415 - heavy
    from evidently.metrics import ValueDrift  # noqa: PLC0415 - heavy

    definition = DataDefinition(numerical_columns=names)
    report = Report(
        [ValueDrift(column=name, method=METHOD, threshold=PSI_MODERATE) for name in names], include_tests=True
    )
    with warnings.catch_warnings():
        # a constant feature has no correlation with itself; Evidently computes one and does not use it
        warnings.simplefilter("ignore")
        return report.run(
            Dataset.from_pandas(current[names], data_definition=definition),
            Dataset.from_pandas(reference[names], data_definition=definition),
        )


def _page(report: DriftReport, reference: "pd.DataFrame", current: "pd.DataFrame", names: list[str]) -> str:
    facts = _facts(report)
    summary = "".join(f"<dt>{html.escape(key)}</dt><dd>{html.escape(value)}</dd>" for key, value in facts.items())
    head = f"<h1>Feature drift{' (simulated matches)' if report.simulated else ''}</h1><dl>{summary}</dl>"
    if not names:
        return f"<!doctype html><meta charset='utf-8'><title>Drift</title>{head}<p>No feature could be compared.</p>"
    page = str(_run(reference, current, names).get_html_str(as_iframe=False))
    note = f"<p>The {len(names)} features that drifted most; latest.json has all.</p>"
    return page.replace("<body>", f"<body>{head}{note}", 1)


def _facts(report: DriftReport) -> dict[str, str]:
    """The report's facts as text."""
    facts = report.model_dump(mode="json", exclude={"features"})
    return {key: json.dumps(value).strip('"') for key, value in facts.items()}
