"""Check a loaded model before it answers: it takes what it will be given, and says what MLflow and its maker say."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from app.errors import ServiceError
from worker.class_order import GOLDEN_TOLERANCE, ClassOrder, ClassOrderError, OrderEvidence, find_class_order
from worker.inference import Probabilities, Rows
from worker.predictors import ModelRefused, Predictor, make_table

SAMPLE_ROWS = 33  # more than one batch of a worker
SCALES = (0.1, 1.0, 10.0, 100.0, 1000.0)
CLEAR_LEAD = 0.2  # how far the likeliest class leads in rows whose label is compared
LABEL_AGREEMENT = 0.8  # some classifiers calibrate their probabilities apart from their labels


@dataclass(frozen=True, slots=True)
class GoldenRows:
    """Rows (n, n_features) and the probabilities (n, 3) of home, draw, away that their maker found."""

    rows: Rows
    probabilities: Probabilities


@dataclass(frozen=True, slots=True)
class Candidate:
    """A loaded model that is yet to be verified; its predictor answers in the model's own order of classes."""

    predictor: Predictor
    dtypes: Mapping[str, str]  # the signature's columns, in order, with their numpy types
    reference: Callable[[Any], Any]  # MLflow's own pyfunc of the same version
    classifier: Any = None  # the object behind the pyfunc, when it has `predict_proba`
    classes: Sequence[Any] | None = None
    output_names: Sequence[str] | None = None
    tag: str | None = None
    missing: float = np.nan  # a value that the model takes for missing and MLflow's copy of it does not


@dataclass(slots=True)
class Verification:
    """What speaks against a model, and how its classes are ordered."""

    problems: list[str] = field(default_factory=list)
    order: ClassOrder | None = None
    n_golden_rows: int = 0


def read_golden_rows(raw: bytes, names: Sequence[str]) -> GoldenRows:
    """Read golden.json; ModelRefused when it cannot be used."""
    try:
        document = orjson.loads(raw)
        rows = np.array(document["features"], dtype=np.float32)
        probabilities = np.array(document["probabilities"], dtype=np.float64)
    except (ValueError, TypeError, KeyError) as error:
        raise ModelRefused(f"golden.json is malformed: {type(error).__name__}: {error}") from error
    if document.get("feature_names", list(names)) != list(names):
        raise ModelRefused("the golden rows have other columns than the signature, or another order")
    if rows.ndim != 2 or not len(rows) or rows.shape[1] != len(names):
        raise ModelRefused(f"golden rows have shape {rows.shape}, the signature {len(names)} columns")
    if not np.isfinite(probabilities).all():
        raise ModelRefused("golden.json is malformed: some of its probabilities are no numbers")
    if probabilities.shape != (len(rows), 3):
        shape = probabilities.shape
        raise ModelRefused(
            f"golden.json has {len(rows)} rows and probabilities of shape {shape}: want ({len(rows)}, 3)"
        )
    return GoldenRows(rows, probabilities)


def verify(candidate: Candidate, golden: GoldenRows | None, verification: Verification) -> None:
    """Run every check that can be run and note what they find; also warms the model up."""
    rows = sample_rows(len(candidate.dtypes), golden)
    answers = _answer_sample(candidate.predictor, rows, verification)
    if answers is None:
        return
    names = _compare_reference(candidate, rows, answers, verification)
    _find_order(candidate, golden, names, verification)


def sample_rows(width: int, golden: GoldenRows | None = None) -> Rows:
    """Return 33 rows of several scales, with nulls; the first has one null where it can, the last is null."""
    random = np.random.default_rng(width)
    rows = random.normal(size=(SAMPLE_ROWS, width)) * random.choice(SCALES, (SAMPLE_ROWS, 1))
    rows[1] = 0.5
    rows[2] = -999.0
    if golden is not None:
        known = golden.rows[: SAMPLE_ROWS // 4]
        rows[3 : 3 + len(known)] = known
    rows[SAMPLE_ROWS // 2 :][random.random((SAMPLE_ROWS - SAMPLE_ROWS // 2, width)) < 0.3] = np.nan
    rows[0, random.integers(width)] = np.nan
    rows[-1] = np.nan
    return np.asarray(rows, dtype=np.float32)


def _answer_sample(predictor: Predictor, rows: Rows, verification: Verification) -> Probabilities | None:
    """Return the answers for all rows; None, and why, when the model would fail at some question."""
    try:
        answers = predictor.probabilities(rows)
    except Exception as error:  # noqa: BLE001  # becomes the reason of the refusal
        verification.problems.append(_explain_failure(predictor, rows, error))
        return None
    try:
        single = predictor.probabilities(rows[:1])
    except Exception as error:  # noqa: BLE001  # becomes the reason of the refusal
        verification.problems.append(f"the model fails on a single row: {_reason(error)}")
        return None
    if not np.isfinite(answers).all():
        verification.problems.append("the model's answer is no probability distribution: some are not finite")
        return None
    difference = float(np.abs(single - answers[:1]).max())
    if not difference <= GOLDEN_TOLERANCE:
        verification.problems.append(
            f"the model answers a row alone otherwise than among others: they differ by {difference:.2g}"
        )
    return answers


def _explain_failure(predictor: Predictor, rows: Rows, error: Exception) -> str:
    try:
        predictor.probabilities(np.nan_to_num(rows))
    except Exception:  # noqa: BLE001  # nulls are not the cause
        return f"the model fails: {_reason(error)}"
    return f"the model fails on rows with nulls; put an imputer before it: {_reason(error)}"


def _reason(error: Exception) -> str:
    return error.detail if isinstance(error, ServiceError) else f"{type(error).__name__}: {error}"


def _compare_reference(
    candidate: Candidate, rows: Rows, answers: Probabilities, verification: Verification
) -> Sequence[Any] | None:
    """Compare with MLflow's pyfunc; return the column names of its answer."""
    whole = [name for name, dtype in candidate.dtypes.items() if dtype.startswith("int")]
    if whole:  # MLflow takes no null and no fraction in such a column
        places = [place for place, name in enumerate(candidate.dtypes) if name in whole]
        rows = rows.copy()
        rows[:, places] = np.nan_to_num(rows[:, places]).round()
        answers = candidate.predictor.probabilities(rows)
    table = make_table(np.where(rows == candidate.missing, np.float32(np.nan), rows), candidate.dtypes)
    try:
        reference = candidate.reference(table)
        own = candidate.classifier.predict_proba(table) if candidate.classifier is not None else None
    except Exception as error:  # noqa: BLE001  # becomes the reason of the refusal
        verification.problems.append(f"MLflow's own pyfunc of this version fails: {_reason(error)}")
        return None
    for other in (reference, own):
        if other is not None and (difference := _difference(candidate, answers, np.asarray(other))):
            verification.problems.append(f"answers differ from MLflow's own pyfunc of this version{difference}")
    names = getattr(reference, "columns", None)
    return None if names is None else list(names)


def _difference(candidate: Candidate, answers: Probabilities, reference: npt.NDArray[Any]) -> str:
    """Say how the answers differ from the reference, which may be probabilities or labels; empty when they do not."""
    if reference.shape == answers.shape:
        difference = float(np.abs(answers - reference.astype(np.float64)).max())
        return "" if difference <= GOLDEN_TOLERANCE else f" by {difference:.2g}"
    if reference.size != len(answers) or candidate.classes is None:
        return f": it gives an array of shape {reference.shape}, which says no probabilities"
    ordered = np.sort(answers, axis=1)
    is_clear = ordered[:, -1] - ordered[:, -2] > CLEAR_LEAD
    labels = np.asarray(candidate.classes)[answers.argmax(axis=1)]
    agreement = (labels == reference.reshape(-1))[is_clear]
    if is_clear.any() and agreement.mean() < LABEL_AGREEMENT:
        return f": of {is_clear.sum()} clear rows it gives {(~agreement).sum()} another label"
    return ""


def _find_order(
    candidate: Candidate, golden: GoldenRows | None, column_names: Sequence[Any] | None, verification: Verification
) -> None:
    try:
        output = None if golden is None else candidate.predictor.probabilities(golden.rows)
        order = find_class_order(
            OrderEvidence(
                tag=candidate.tag,
                column_names=column_names,
                output_names=candidate.output_names,
                classes=candidate.classes,
                golden=None if golden is None or output is None else (output, golden.probabilities),
            )
        )
    except ClassOrderError as error:
        verification.problems.append(str(error))
        return
    except Exception as error:  # noqa: BLE001  # becomes the reason of the refusal
        verification.problems.append(f"the model fails on the golden rows: {_reason(error)}")
        return
    if golden is not None and output is not None:
        difference = float(np.abs(order.apply(output) - golden.probabilities).max())
        if not difference <= GOLDEN_TOLERANCE:
            verification.problems.append(
                f"answers differ from the golden rows by {difference:.2g} (class order by {order.source})"
            )
    verification.order = order
