"""What an artifacts folder must be: checked by the pipeline before it publishes and by the service before it opens.

`check` returns faults and never raises: a truncated file, a wrong type or a probability of 1.2 are all findings.
Only the columns that rules speak of are read, so 500 feature columns cost nothing.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from app.artifacts import row_rules
from app.artifacts.columns import (
    HISTORY_COLUMNS,
    ID,
    INSTANT,
    MONEY_COLUMNS,
    ODDS_COLUMNS,
    OPTIONAL_MONEY_COLUMNS,
    PREDICTIONS_COLUMNS,
    PRICES_COLUMNS,
    REGION_MONEY_COLUMNS,
    Column,
)
from app.artifacts.manifest import MANIFEST, FileStamp, Manifest, read_manifest
from app.domain.consensus import PoolWeights
from app.domain.drift import FeatureState, ReportState, Verdict

__all__ = [
    "CONSENSUS",
    "DRIFT",
    "FEATURES",
    "FILES",
    "MANIFEST",
    "ODDS",
    "OPTIONAL",
    "PREDICTIONS",
    "PRICES",
    "ContractFault",
    "check",
    "read_manifest",
]

PREDICTIONS = "predictions/predictions.parquet"
FEATURES = "predictions/match_features.parquet"
ODDS = "match_links/fonbet_odds.parquet"
CONSENSUS = "predictions/consensus.json"
PRICES = "match_links/prices.parquet"
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
OPTIONAL = (PRICES, CONSENSUS, *MONEY_KELLY, DRIFT_HTML, INGEST, SCORES)
_CLOCK_SLACK = timedelta(days=1)
# what Spark and Dask write in the place of a file
FOLDER_OF_PARTS = "is a folder of parts; write it as one file"
_HISTORY_PART = re.compile(r"history/(\w+)/day=\d{4}-\d\d-\d\d/[\w.-]+\.parquet")


def history_kind(name: str) -> str | None:
    """Which history a file is a part of (predictions, odds, results); None when it is of none."""
    found = _HISTORY_PART.fullmatch(name)
    return found[1] if found and found[1] in HISTORY_COLUMNS else None


def history_pattern(kind: str) -> str:
    """The parts of one history, as a pattern of paths in an artifacts folder."""
    return f"history/{kind}/day=*/*.parquet"


@dataclass(frozen=True, slots=True)
class ContractFault:
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


class ConsensusWeights(BaseModel):
    """The weights of the consensus for matches from `since` on, until the next ones: `app.domain.consensus`."""

    model_config = ConfigDict(frozen=True)

    since: AwareDatetime
    known_at: AwareDatetime
    n: int = Field(ge=0)
    model: float = Field(ge=0, allow_inf_nan=False)
    market: float = Field(ge=0, allow_inf_nan=False)
    books: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]]


class ConsensusScore(BaseModel):
    """Log-loss of the three forecasts on the n matches of one season that have them all, out of sample."""

    model_config = ConfigDict(frozen=True)

    since: AwareDatetime
    until: AwareDatetime
    n: int
    log_loss_model: float
    log_loss_market: float
    log_loss_consensus: float


class ConsensusFile(BaseModel):
    """The weights of the consensus, season by season, and how it did."""

    model_config = ConfigDict(frozen=True)

    windows: tuple[ConsensusWeights, ...]
    scores: tuple[ConsensusScore, ...] = ()


def read_consensus(folder: Path) -> tuple[PoolWeights, ...]:
    """Read the weights of a folder's consensus; none where it has no such file. ValueError when it is not one."""
    try:
        raw = (folder / CONSENSUS).read_bytes()
    except FileNotFoundError:
        return ()
    return tuple(PoolWeights(**dict(window)) for window in ConsensusFile.model_validate_json(raw).windows)


def check(folder: Path, *, checksums: bool = True) -> tuple[ContractFault, ...]:
    """All faults of a folder, in the order of its files; none means it may be published or opened.

    `checksums=False` compares sizes only, for a caller that has just computed the checksums itself.
    """
    return tuple(_faults(folder, checksums=checksums))


def _faults(folder: Path, *, checksums: bool) -> Iterator[ContractFault]:
    try:
        manifest = read_manifest(folder)
    except OSError as error:
        yield ContractFault(MANIFEST, "missing-file", f"cannot be read: {error.strerror}")
        return
    except ValueError as error:
        yield ContractFault(MANIFEST, "unreadable", _short(error))
        return
    broken = list(_stamp_faults(folder, manifest, checksums=checksums))
    yield from broken
    # a file that is not the published one needs no second finding
    whole = {name for name in manifest.files if (folder / name).is_file()} - {fault.file for fault in broken}
    # a clock may be a day ahead; what was captured or computed later than that is a mistake
    latest = max(manifest.built_at, datetime.now(UTC)) + _CLOCK_SLACK
    yield from _content_faults(folder, whole, latest)


def _stamp_faults(folder: Path, manifest: Manifest, *, checksums: bool) -> Iterator[ContractFault]:
    for name in FILES:
        if name not in manifest.files:
            detail = "is not there" if manifest.is_derived else "the manifest does not list this file"
            yield ContractFault(name, "unlisted", detail)
    for name, stamp in manifest.files.items():
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            yield ContractFault(name, "bad-path", "the manifest lists a path outside the folder")
            continue
        try:
            yield from _stamp_fault(folder, name, stamp, checksums=checksums)
        except OSError as error:
            yield ContractFault(name, "missing-file", f"cannot be read: {error.strerror}")


def _stamp_fault(folder: Path, name: str, stamp: FileStamp, *, checksums: bool) -> Iterator[ContractFault]:
    if (folder / name).is_dir():
        yield ContractFault(name, "folder-of-parts", FOLDER_OF_PARTS)
        return
    size_bytes = (folder / name).stat().st_size
    if size_bytes != stamp.size_bytes:
        yield ContractFault(name, "wrong-size", f"{size_bytes} bytes where the manifest says {stamp.size_bytes}")
    elif checksums and FileStamp.from_file(folder / name).sha256 != stamp.sha256:
        yield ContractFault(name, "wrong-checksum", "the contents are not those the manifest vouches for")


@dataclass(frozen=True, slots=True)
class _Context:
    """What a file is compared with: the ids of the predictions, if they can be read, and the latest time known."""

    known_ids: pa.Table | None
    latest: datetime


def _content_faults(folder: Path, names: set[str], latest: datetime) -> Iterator[ContractFault]:
    context = _Context(_prediction_ids(folder) if PREDICTIONS in names else None, latest)
    for name in (*FILES, *OPTIONAL):
        if name not in names or name not in _CHECKS:
            continue
        try:
            for code, detail in _CHECKS[name](folder / name, context):
                yield ContractFault(name, code, detail)
        except (OSError, ValueError, pa.ArrowException) as error:
            yield ContractFault(name, "unreadable", _short(error))
    for name in sorted(names):
        kind = history_kind(name)
        if kind is not None:
            yield from _history_faults(folder, name, kind, latest)


def _history_faults(folder: Path, name: str, kind: str, latest: datetime) -> Iterator[ContractFault]:
    """Check types, nulls and bounds, which a footer tells: a history is long, and its rows were artifacts once."""
    try:
        file = pq.ParquetFile(folder / name)
    except (OSError, ValueError, pa.ArrowException) as error:
        yield ContractFault(name, "unreadable", _short(error))
        return
    needed = HISTORY_COLUMNS[kind]
    with file:
        findings = list(_schema_findings(file.schema_arrow, needed))
        if not findings:
            findings += _null_findings(file.metadata, needed)
            findings += _history_range_findings(file, needed, latest)
    for code, detail in findings:
        yield ContractFault(name, code, detail)


def _chunks(metadata: pq.FileMetaData) -> Iterator[pq.ColumnChunkMetaData]:
    for group in range(metadata.num_row_groups):
        for place in range(metadata.num_columns):
            yield metadata.row_group(group).column(place)


def _null_findings(metadata: pq.FileMetaData, columns: Mapping[str, Column]) -> Iterator["Finding"]:
    nulls = set()
    for chunk in _chunks(metadata):
        column = columns.get(chunk.path_in_schema)
        if column and not column.may_be_null and chunk.statistics and chunk.statistics.null_count:
            nulls.add(chunk.path_in_schema)
    if nulls:
        yield "null", f"empty cells in {', '.join(sorted(nulls))}"


def _history_range_findings(
    file: pq.ParquetFile, columns: Mapping[str, Column], latest: datetime
) -> Iterator["Finding"]:
    names = [name for name, column in columns.items() if column in {ID, INSTANT}]
    extremes = _extremes(file, names)
    if extremes is None or list(row_rules.range_findings(extremes, columns, latest)):
        # only its rows tell which they are, and how many
        yield from row_rules.range_findings(file.read(columns=names), columns, latest)


def _extremes(file: pq.ParquetFile, names: Sequence[str]) -> pa.Table | None:
    """The least and the greatest value of each column and row group; None when the footer does not tell them."""
    chunks = [chunk for chunk in _chunks(file.metadata) if chunk.path_in_schema in names]
    if not all(chunk.statistics and chunk.statistics.has_min_max for chunk in chunks):
        return None
    values: dict[str, list[int]] = {name: [] for name in names}
    for chunk in chunks:
        values[chunk.path_in_schema] += [chunk.statistics.min_raw, chunk.statistics.max_raw]
    schema = file.schema_arrow
    return pa.table({name: pa.array(raw, pa.int64()).cast(schema.field(name).type) for name, raw in values.items()})


Finding = row_rules.Finding


def _prediction_ids(folder: Path) -> pa.Table | None:
    try:
        return pq.read_table(folder / PREDICTIONS, columns=["match_id"])
    except (OSError, ValueError, pa.ArrowException):
        return None  # the check of the predictions themselves says what is wrong


def _check_predictions(path: Path, context: _Context) -> Iterator[Finding]:
    table, findings = _read(path, PREDICTIONS_COLUMNS)
    yield from findings
    if not findings:
        yield from row_rules.prediction_findings(table)
        yield from row_rules.range_findings(table, PREDICTIONS_COLUMNS, context.latest)


def _check_offers(
    columns: Mapping[str, Column], findings_of: Callable[[pa.Table], Iterator[Finding]], path: Path, context: _Context
) -> Iterator[Finding]:
    table, findings = _read(path, columns)
    yield from findings
    if not findings:
        yield from findings_of(table)
        yield from row_rules.range_findings(table, columns, context.latest)
        yield from row_rules.stranger_findings(table, context.known_ids)


def _check_features(path: Path, context: _Context) -> Iterator[Finding]:
    table, findings = _read(path, {"match_id": ID})
    yield from findings
    schema = pq.read_schema(path)
    features = [str(name) for name in schema.names if name != "match_id"]
    doubled = sorted({name for name in features if features.count(name) > 1})
    if doubled:
        yield "duplicate-column", f"two columns are named {', '.join(doubled[:5])}"
        return
    wrong = [name for name in features if not pa.types.is_float32(schema.field(name).type)]
    if wrong or not features:
        yield "wrong-type", f"feature columns must be float32: {', '.join(wrong[:5]) or 'there are none'}"
    if not findings:
        yield from row_rules.id_findings(table)
        yield from row_rules.stranger_findings(table, context.known_ids)


def _read(path: Path, columns: Mapping[str, Column]) -> tuple[pa.Table, list[Finding]]:
    """The named columns, and what is wrong with them; an empty table when their types are."""
    schema = pq.read_schema(path)
    findings = list(_schema_findings(schema, columns))
    names = [] if findings else [name for name in columns if name in schema.names]
    with pq.ParquetFile(path) as file:
        table = file.read(columns=names)
    return table, findings + list(row_rules.null_findings(table, columns))


def _schema_findings(schema: pa.Schema, columns: Mapping[str, Column]) -> Iterator[Finding]:
    names = [str(name) for name in schema.names]
    missing = [name for name, column in columns.items() if name not in names and not column.may_be_missing]
    if missing:
        yield "missing-column", f"without {', '.join(missing)}"
    spellings = Counter(name.lower() for name in names)
    for name, column in columns.items():
        if spellings[name] > 1:
            yield "duplicate-column", f"two columns are named {name}, in whatever letters"
        elif name in names and not column.accepts(schema.field(name).type):
            yield "wrong-type", f"{name} is {schema.field(name).type}, not {column.kind}"


def read_money_table(path: Path) -> pa.Table:
    """Read a money table; columns that the contract names have its types, however many of their cells are empty."""
    types = {**REGION_MONEY_COLUMNS, **OPTIONAL_MONEY_COLUMNS}
    parsers: list[Any] = [pa_csv.ISO8601]  # the stubs know only format strings
    convert = pa_csv.ConvertOptions(column_types=types, timestamp_parsers=parsers)
    return pa_csv.read_csv(path, convert_options=convert)


def _check_money(path: Path, _: _Context) -> Iterator[Finding]:
    by_region = path.name.startswith(PurePosixPath(ROI_BY_REGION).stem)
    columns = REGION_MONEY_COLUMNS if by_region else MONEY_COLUMNS
    table = read_money_table(path)
    missing = [column for column in columns if column not in table.column_names]
    if missing:
        yield "missing-column", f"without {', '.join(missing)}"
    else:
        yield from row_rules.money_findings(table, columns)


def _check_consensus(path: Path, _: _Context) -> Iterator[Finding]:
    ConsensusFile.model_validate_json(path.read_bytes())
    yield from ()


def _check_drift(path: Path, _: _Context) -> Iterator[Finding]:
    DriftReport.model_validate_json(path.read_bytes())
    yield from ()


def _short(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors()[:5])
    return str(error).splitlines()[0][:300] if str(error) else type(error).__name__


_CHECKS: Mapping[str, Callable[[Path, _Context], Iterator[Finding]]] = {
    PREDICTIONS: _check_predictions,
    FEATURES: _check_features,
    ODDS: partial(_check_offers, ODDS_COLUMNS, row_rules.odds_findings),
    PRICES: partial(_check_offers, PRICES_COLUMNS, row_rules.prices_findings),
    CONSENSUS: _check_consensus,
    DRIFT: _check_drift,
    **dict.fromkeys((*MONEY, *MONEY_KELLY), _check_money),
}
