"""Makes the drift report: one engine for the build, the scheduled check and scripts/drift."""

import html
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from app.artifacts import contract
from app.artifacts.contract import DriftFeature, DriftReport
from app.domain.drift import SHARE_BY_CHANCE, FeatureState, ReportState, Verdict, verdict
from worker.pipeline.atomic_file import write_text
from worker.pipeline.drift.comparison import compare, evidently_report, share_by_chance
from worker.pipeline.drift.samples import DriftJob, Samples, feature_samples, probability_samples

if TYPE_CHECKING:
    import pandas as pd

NAMED = 3  # worst features in the sentence
PLOTS = 24  # on the page: all 508 would make it 22 MB


def write_drift_report(job: DriftJob, folder: Path, predictions: Callable[[], Path | None]) -> DriftReport:
    """Write `latest.json` and `latest.html` (plots of the most drifted) below `folder`.

    `predictions` is asked when the features are compared: a build has none before its models are trained.
    """
    samples = feature_samples(job)
    reference, current = samples.reference, samples.current
    features = compare(reference, current, job.trained_on)
    by_chance = share_by_chance(features, reference, current)
    path = predictions()
    predicted = None if path is None else probability_samples(job, path)
    probabilities = [] if predicted is None else compare(predicted.reference, predicted.current)
    report = _report(job, samples, features, by_chance, probabilities)
    if predicted is not None:
        report = report.model_copy(update={"probabilities_reference": predicted.reference_span})
    _write(report, _render_page(report, reference, current), folder)
    return report


def _write(report: DriftReport, page: str, folder: Path) -> None:
    for name, text in ((contract.DRIFT, report.model_dump_json(indent=1)), (contract.DRIFT_HTML, page)):
        write_text(folder / name, text)


def _report(
    job: DriftJob,
    samples: Samples,
    features: list[DriftFeature],
    by_chance: float,
    probabilities: list[DriftFeature],
) -> DriftReport:
    n_compared = sum(feature.drifted is not None for feature in features)
    n_drifted = sum(feature.drifted is True for feature in features)
    state = _state(samples.reference, samples.current, n_compared, by_chance)
    share = n_drifted / n_compared if n_compared else None
    found = verdict(share, by_chance) if state is ReportState.COMPARED else Verdict.NO_DATA
    return DriftReport(
        score=share,
        n_features=len(features),
        n_drifted=n_drifted,
        verdict=found,
        features=tuple(features),
        reference=samples.reference_span,
        current=samples.current_span,
        computed_at=job.computed_at,
        simulated=job.simulated,
        state=state,
        summary=_summary(state, found, features, by_chance, probabilities),
        n_compared=n_compared,
        share_by_chance=by_chance,
        probabilities=tuple(probabilities),
    )


def _state(reference: "pd.DataFrame", current: "pd.DataFrame", n_compared: int, by_chance: float) -> ReportState:
    if not len(reference):
        return ReportState.NO_REFERENCE
    if not len(current):
        return ReportState.NO_CURRENT
    if not n_compared:
        return ReportState.NOTHING_COMPARABLE
    return ReportState.TOO_FEW_ROWS if by_chance > SHARE_BY_CHANCE else ReportState.COMPARED


def _summary(
    state: ReportState,
    found: Verdict,
    features: Sequence[DriftFeature],
    by_chance: float,
    probabilities: Sequence[DriftFeature],
) -> str:
    """The report in a sentence or two."""
    if state in {ReportState.NO_REFERENCE, ReportState.NO_CURRENT, ReportState.NOTHING_COMPARABLE}:
        return f"Nothing was compared: {state.replace('_', ' ')}."
    drifted = [feature for feature in features if feature.drifted]
    n_compared = sum(feature.drifted is not None for feature in features)
    share = len(drifted) / n_compared
    parts = [
        f"{found.capitalize()}: {len(drifted)} of {n_compared} features ({share:.1%}) drifted; "
        f"chance alone would give {by_chance:.1%}."
    ]
    if state is ReportState.TOO_FEW_ROWS:
        parts = [f"Too few rows to tell: chance alone would call {by_chance:.0%} of the features drifted."]
    if drifted:
        parts.append(f"Worst: {_named(drifted)}.")
    if any(feature.state is FeatureState.VANISHED for feature in features):
        parts.append("Features of the training are missing now.")
    if probabilities:
        moved = [feature for feature in probabilities if feature.drifted]
        parts.append(f"Predicted probabilities: {_named(moved) + ' drifted' if moved else 'steady'}.")
    return " ".join(parts)


def _named(features: Sequence[DriftFeature]) -> str:
    return ", ".join(f"{feature.feature} ({feature.score:.2f})" for feature in features[:NAMED])


def _render_page(report: DriftReport, reference: "pd.DataFrame", current: "pd.DataFrame") -> str:
    """The page; without plots when nothing could be compared."""
    names = [feature.feature for feature in report.features if feature.score is not None][:PLOTS]
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
