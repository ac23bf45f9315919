"""Reads what is compared: features and predicted probabilities of a reference and a current window of matches."""

from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from app.store.database import Connection, open_connection

if TYPE_CHECKING:
    import pandas as pd

SAMPLE_ROWS = 2000  # a window; see README for what it costs and what it leaves to chance
FOREVER = datetime(9999, 1, 1, tzinfo=UTC)
LEAST_PREDICTED = 200  # by the same model, to be compared with itself
PROBABILITIES = ("proba_home", "proba_draw", "proba_away")
_MEMORY = "1GB"
Span = dict[str, str | int | None]

_IN_WINDOW = "kickoff_utc >= $since AND kickoff_utc < $until AND status NOT IN ('cancelled', 'abandoned', 'awarded')"
# a hash of the id picks the same matches for the same data, whatever their order; ids first, wide rows after
_FEATURES = f"""
SELECT * EXCLUDE (match_id) FROM read_parquet($features) WHERE match_id IN (
    SELECT match_id FROM read_parquet($matches) matches
    JOIN (SELECT match_id FROM read_parquet($features)) known USING (match_id)
    WHERE {_IN_WINDOW} ORDER BY hash(match_id), match_id LIMIT $rows
) ORDER BY hash(match_id), match_id
"""  # noqa: S608
_SPAN = f"SELECT count(*), min(kickoff_utc), max(kickoff_utc) FROM read_parquet($matches) WHERE {_IN_WINDOW}"  # noqa: S608
# a model knows the results of its own training: what it says of those matches is sharper than anything later
_OUT_OF_SAMPLE = f"FROM read_parquet($matches) WHERE {_IN_WINDOW} AND {{out_of_sample}}"
_PREDICTIONS = f"""
SELECT {", ".join(PROBABILITIES)} {_OUT_OF_SAMPLE} AND ($model IS NULL OR model_version = $model)
ORDER BY hash(match_id), match_id LIMIT $rows
"""
_MODEL = f"SELECT mode(model_version) {_OUT_OF_SAMPLE}"


@dataclass(frozen=True, slots=True)
class DriftJob:
    """What to compare: matches before `reference_until` with those from `current_since` on, upcoming ones included.

    `reference_since` leaves out the beginning of the history, where windows of form are empty for everyone.
    `trained_on` are the features that the champion was trained on, where somebody knows.
    """

    matches: Path
    features: Path
    reference_since: datetime
    reference_until: datetime
    current_since: datetime
    computed_at: datetime
    simulated: bool | None
    trained_on: tuple[str, ...] | None = None
    rows: int = SAMPLE_ROWS


@dataclass(frozen=True, slots=True)
class Samples:
    """Rows of the two windows, and which matches those are."""

    reference: "pd.DataFrame"
    current: "pd.DataFrame"
    reference_span: Span
    current_span: Span


def feature_samples(job: DriftJob) -> Samples:
    """Features of the matches of both windows, at most `rows` of each."""
    reference, reference_span = _features(job, job.reference_since, job.reference_until)
    current, current_span = _features(job, job.current_since, FOREVER)
    return Samples(reference, current, reference_span, current_span)


def probability_samples(job: DriftJob, predictions: Path) -> Samples:
    """Predicted probabilities of matches whose result the model had not seen, now and before.

    Before: of the same model, from the end of its training on, because another model is different without anything
    having changed; where it has predicted too little, whatever was predicted in the reference window.
    """
    with closing(open_connection(memory=_MEMORY)) as connection:
        table = _Predictions(connection, predictions, job.rows)
        now, before = (job.current_since, FOREVER), (job.reference_since, job.reference_until)
        model = table.model(*now)
        current = table.sample(*now)
        same = table.sample(job.reference_until, job.current_since, model)
        if len(same) >= LEAST_PREDICTED:
            return Samples(same, current, table.span(job.reference_until, job.current_since, same, model), {})
        reference = table.sample(*before)
        return Samples(reference, current, table.span(*before, reference, None), {})


class _Predictions:
    """The predictions' table, with those of the models' own training left out where it says which those are."""

    def __init__(self, connection: Connection, path: Path, rows: int) -> None:
        self._connection = connection
        self._where = {"matches": str(path)}
        self._rows = rows
        # the contract leaves in_sample open; without it nobody knows, and all count
        described = connection.execute("DESCRIBE SELECT * FROM read_parquet($matches)", self._where).fetchall()
        knows = any(name == "in_sample" for name, *_ in described)
        self._out_of_sample = "in_sample IS NOT TRUE" if knows else "true"

    def model(self, since: datetime, until: datetime) -> str | None:
        """The version that made most of them."""
        query = _MODEL.format(out_of_sample=self._out_of_sample)
        ((version,),) = self._connection.execute(query, self._where | {"since": since, "until": until}).fetchall()
        return None if version is None else str(version)

    def sample(self, since: datetime, until: datetime, model: str | None = None) -> "pd.DataFrame":
        """Probabilities of a window, of one model or of any."""
        query = _PREDICTIONS.format(out_of_sample=self._out_of_sample)
        window = {"since": since, "until": until, "model": model, "rows": self._rows}
        return comparable(self._connection.execute(query, self._where | window).df())

    def span(self, since: datetime, until: datetime, frame: "pd.DataFrame", model: str | None) -> Span:
        """What a sample is of."""
        window: Span = {"from": since.date().isoformat(), "to": until.date().isoformat()}
        return window | {"model_version": model, "rows": len(frame)}


def comparable(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Numbers as float32, with whatever is infinite or no number at all as missing."""
    import pandas as pd  # noqa: PLC0415 - heavy

    values = np.empty(frame.shape, dtype=np.float32, order="F")
    for place, name in enumerate(frame.columns):
        values[:, place] = pd.to_numeric(frame[name], errors="coerce")
    # in place: a copy of 508 columns and 50,000 rows is 100 MB
    values[~np.isfinite(values)] = np.nan
    return pd.DataFrame(values, columns=frame.columns, copy=False)


def _features(job: DriftJob, since: datetime, until: datetime) -> "tuple[pd.DataFrame, Span]":
    where = {"matches": str(job.matches), "since": since, "until": until}
    with closing(open_connection(memory=_MEMORY)) as connection:
        frame = connection.execute(_FEATURES, where | {"features": str(job.features), "rows": job.rows}).df()
        ((n_matches, first, last),) = connection.execute(_SPAN, where).fetchall()
    span: Span = {"from": first.date().isoformat() if first else None, "to": last.date().isoformat() if last else None}
    return comparable(frame), span | {"matches": n_matches, "rows": len(frame)}
