"""What an artifacts folder must be: checked by the pipeline before it publishes and by the service before it opens.

`check` returns faults and never raises: a truncated file, a wrong type or a probability of 1.2 are all findings.
Only the columns that rules speak of are read, so 500 feature columns cost nothing.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from app.artifacts import row_rules
from app.artifacts.columns import (
    HISTORY_COLUMNS,
    ID,
    MONEY_COLUMNS,
    ODDS_COLUMNS,
    PREDICTIONS_COLUMNS,
    REGION_MONEY_COLUMNS,
    Column,
)
from app.artifacts.manifest import MANIFEST, FileStamp, Manifest, read_manifest
from app.domain.drift import FeatureState, ReportState, Verdict

__all__ = [
    "DRIFT",
    "FEATURES",
    "FILES",
    "MANIFEST",
    "ODDS",
    "OPTIONAL",
    "PREDICTIONS",
    "Fault",
    "check",
    "read_manifest",
]

PREDICTIONS = "predictions/predictions.parquet"
FEATURES = "predictions/match_features.parquet"
ODDS = "match_links/fonbet_odds.parquet"
ROI_BY_REGION = "analysis/live_betting/roi_by_region.csv"
OVERALL_ROI = "analysis/live_betting/overall_roi.csv"
ROI_BY_THRESHOLD = "analysis/live_betting/roi_by_threshold.csv"
ROI_BY_TOURNAMENT = "analysis/live_betting/roi_by_tournament.csv"
ROI_TIMESERIES = "analysis/live_betting/roi_timeseries.csv"
MONEY = (ROI_BY_REGION, OVERALL_ROI, ROI_BY_THRESHOLD, ROI_BY_TOURNAMENT, ROI_TIMESERIES)
MONEY_KELLY = tuple(name.replace(".csv", "_kelly.csv") for name in MONEY)
DRIFT = "reports/drift/latest.json"
DRIFT_HTML = "reports/drift/latest.html"
INGEST = "reports/ingest.json"
SCORES = "reports/scores.json"

# every folder has these; manifest.json vouches for them and is checked first
FILES = (PREDICTIONS, FEATURES, ODDS, *MONEY, DRIFT)
OPTIONAL = (*MONEY_KELLY, DRIFT_HTML, INGEST, SCORES)
_HISTORY_PART = re.compile(r"history/(\w+)/day=\d{4}-\d\d-\d\d/[\w.-]+\.parquet")


def history_kind(name: str) -> str | None:
    """Which history a file is a part of (predictions, odds, results); None when it is of none."""
    found = _HISTORY_PART.fullmatch(name)
    return found[1] if found and found[1] in HISTORY_COLUMNS else None


def history_pattern(kind: str) -> str:
    """The parts of one history, as a pattern of paths in an artifacts folder."""
    return f"history/{kind}/day=*/*.parquet"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: in which file, a stable code, and a sentence for people."""

    file: str
    code: str
    detail: str


class DriftFeature(BaseModel):
    """Drift of one column; `drifted` is null when it could not be computed, and `state` says why."""

    model_config = ConfigDict(frozen=True)

    feature: str
    method: str
    score: float | None
    threshold: float | None
    drifted: bool | None
    state: FeatureState | None = None
    missing_reference: float | None = None  # share of rows without a value
    missing_current: float | None = None


class DriftReport(BaseModel):
    """The drift report as a pipeline or a check writes it; foreign pipelines may leave out what has a default."""

    model_config = ConfigDict(frozen=True)

    score: float | None
    n_features: int
    n_drifted: int
    verdict: Verdict
    features: tuple[DriftFeature, ...]
    reference: dict[str, str | int | None]
    current: dict[str, str | int | None]
    computed_at: AwareDatetime
    simulated: bool | None = False
    state: ReportState | None = None
    summary: str = ""
    n_compared: int | None = None
    share_by_chance: float | None = None  # of drifted features, if nothing had changed
    probabilities: tuple[DriftFeature, ...] = ()  # the predicted ones, compared in the same way
    probabilities_reference: dict[str, str | int | None] = {}  # what with; pydantic copies the default


def check(folder: Path, *, checksums: bool = True) -> tuple[Fault, ...]:
    """All faults of a folder, in the order of its files; none means it may be published or opened.

    `checksums=False` compares sizes only, for a caller that has just computed the checksums itself.
    """
    return tuple(_faults(folder, checksums=checksums))


def _faults(folder: Path, *, checksums: bool) -> Iterator[Fault]:
    try:
        manifest = read_manifest(folder)
    except OSError as error:
        yield Fault(MANIFEST, "missing-file", f"cannot be read: {error.strerror}")
        return
    except ValueError as error:
        yield Fault(MANIFEST, "unreadable", _short(error))
        return
    broken = list(_stamp_faults(folder, manifest, checksums=checksums))
    yield from broken
    # a file that is not the published one needs no second finding
    whole = {name for name in manifest.files if (folder / name).is_file()} - {fault.file for fault in broken}
    yield from _content_faults(folder, whole)


def _stamp_faults(folder: Path, manifest: Manifest, *, checksums: bool) -> Iterator[Fault]:
    for name in FILES:
        if name not in manifest.files:
            detail = "is not there" if manifest.is_derived else "the manifest does not list this file"
            yield Fault(name, "unlisted", detail)
    for name, stamp in manifest.files.items():
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            yield Fault(name, "bad-path", "the manifest lists a path outside the folder")
            continue
        try:
            yield from _stamp_fault(folder, name, stamp, checksums=checksums)
        except OSError as error:
            yield Fault(name, "missing-file", f"cannot be read: {error.strerror}")


def _stamp_fault(folder: Path, name: str, stamp: FileStamp, *, checksums: bool) -> Iterator[Fault]:
    size_bytes = (folder / name).stat().st_size
    if size_bytes != stamp.size_bytes:
        yield Fault(name, "wrong-size", f"{size_bytes} bytes where the manifest says {stamp.size_bytes}")
    elif checksums and FileStamp.of(folder / name).sha256 != stamp.sha256:
        yield Fault(name, "wrong-checksum", "the contents are not those the manifest vouches for")


def _content_faults(folder: Path, names: set[str]) -> Iterator[Fault]:
    known = _prediction_ids(folder) if PREDICTIONS in names else None
    for name in (*FILES, *MONEY_KELLY):
        if name not in names:
            continue
        try:
            for code, detail in _CHECKS[name](folder / name, known):
                yield Fault(name, code, detail)
        except (OSError, ValueError, pa.ArrowException) as error:
            yield Fault(name, "unreadable", _short(error))
    for name in sorted(names):
        kind = history_kind(name)
        if kind is not None:
            yield from _history_faults(folder, name, kind)


def _history_faults(folder: Path, name: str, kind: str) -> Iterator[Fault]:
    """Of a part's types and nulls, which its footer tells: a history is long, and its rows were artifacts once."""
    try:
        file = pq.ParquetFile(folder / name)
    except (OSError, ValueError, pa.ArrowException) as error:
        yield Fault(name, "unreadable", _short(error))
        return
    needed = HISTORY_COLUMNS[kind]
    for code, detail in (*_schema_findings(file.schema_arrow, needed), *_null_findings(file.metadata, needed)):
        yield Fault(name, code, detail)


def _null_findings(metadata: pq.FileMetaData, columns: Mapping[str, Column]) -> Iterator["Finding"]:
    nulls = set()
    for group in range(metadata.num_row_groups):
        for place in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(place)
            column = columns.get(chunk.path_in_schema)
            if column and not column.may_be_null and chunk.statistics and chunk.statistics.null_count:
                nulls.add(chunk.path_in_schema)
    if nulls:
        yield "null", f"empty cells in {', '.join(sorted(nulls))}"


Finding = row_rules.Finding


def _prediction_ids(folder: Path) -> pa.Table | None:
    try:
        return pq.read_table(folder / PREDICTIONS, columns=["match_id"])
    except (OSError, ValueError, pa.ArrowException):
        return None  # the check of the predictions themselves says what is wrong


def _check_predictions(path: Path, _: pa.Table | None) -> Iterator[Finding]:
    table, findings = _read(path, PREDICTIONS_COLUMNS)
    yield from findings
    if not findings:
        yield from row_rules.prediction_findings(table)


def _check_odds(path: Path, known: pa.Table | None) -> Iterator[Finding]:
    table, findings = _read(path, ODDS_COLUMNS)
    yield from findings
    if not findings:
        yield from row_rules.odds_findings(table)
        yield from row_rules.stranger_findings(table, known)


def _check_features(path: Path, known: pa.Table | None) -> Iterator[Finding]:
    table, findings = _read(path, {"match_id": ID})
    yield from findings
    schema = pq.read_schema(path)
    features = [str(name) for name in schema.names if name != "match_id"]
    wrong = [name for name in features if not pa.types.is_float32(schema.field(name).type)]
    if wrong or not features:
        yield "wrong-type", f"feature columns must be float32: {', '.join(wrong[:5]) or 'there are none'}"
    if not findings:
        yield from row_rules.id_findings(table)
        yield from row_rules.stranger_findings(table, known)


def _read(path: Path, columns: Mapping[str, Column]) -> tuple[pa.Table, list[Finding]]:
    """The named columns, and what is wrong with them; an empty table when their types are."""
    schema = pq.read_schema(path)
    findings = list(_schema_findings(schema, columns))
    table = pq.read_table(path, columns=[] if findings else [name for name in columns if name in schema.names])
    nulls = [name for name in table.column_names if table[name].null_count and not columns[name].may_be_null]
    return table, findings + ([("null", f"empty cells in {', '.join(nulls)}")] if nulls else [])


def _schema_findings(schema: pa.Schema, columns: Mapping[str, Column]) -> Iterator[Finding]:
    missing = [name for name, column in columns.items() if name not in schema.names and not column.may_be_missing]
    if missing:
        yield "missing-column", f"without {', '.join(missing)}"
    for name, column in columns.items():
        if name in schema.names and not column.is_kind(schema.field(name).type):
            yield "wrong-type", f"{name} is {schema.field(name).type}, not {column.kind}"


def _check_money(path: Path, _: pa.Table | None) -> Iterator[Finding]:
    by_region = path.name.startswith(PurePosixPath(ROI_BY_REGION).stem)
    columns = REGION_MONEY_COLUMNS if by_region else MONEY_COLUMNS
    parsers: list[Any] = [pa_csv.ISO8601]  # the stubs know only format strings
    convert = pa_csv.ConvertOptions(column_types=dict(columns), timestamp_parsers=parsers)
    table = pa_csv.read_csv(path, convert_options=convert)
    missing = [column for column in columns if column not in table.column_names]
    if missing:
        yield "missing-column", f"without {', '.join(missing)}"
    else:
        yield from row_rules.money_findings(table)


def _check_drift(path: Path, _: pa.Table | None) -> Iterator[Finding]:
    DriftReport.model_validate_json(path.read_bytes())
    yield from ()


def _short(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors()[:5])
    return str(error).splitlines()[0][:300] if str(error) else type(error).__name__


_CHECKS: Mapping[str, Callable[[Path, pa.Table | None], Iterator[Finding]]] = {
    PREDICTIONS: _check_predictions,
    FEATURES: _check_features,
    ODDS: _check_odds,
    DRIFT: _check_drift,
    **dict.fromkeys((*MONEY, *MONEY_KELLY), _check_money),
}
