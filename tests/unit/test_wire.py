"""What travels between the API and the workers comes out as it went in."""

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import FeaturesMismatch, PredictionFailed
from app.queue.failures import failure_of, failure_payload, outcome_of
from app.queue.jobs import Contribution, PredictJob, PredictResult
from app.queue.serialization import (
    decode_job,
    decode_result,
    derive_task_id,
    dumps,
    job_payload,
    loads,
    name_feature_set,
    result_payload,
)

JOB = PredictJob(7, "champion", np.float32([1, 2]).tobytes(), "set", "snapshot", "2026-01-01", "request", 1e9)
ROW = Contribution("elo_home", None, 0.1, 0.2, -0.3)


@given(st.binary(max_size=64), st.integers(0, 2**63 - 1), st.booleans())
def test_job_survives_the_wire(features: bytes, match_id: int, explain: bool) -> None:
    job = PredictJob(match_id, "champion", features, "set", "snapshot", "2026-01-01", "request", 1e9, explain)
    assert decode_job(loads(dumps(job_payload(job)))) == job


@pytest.mark.parametrize("contributions", [None, [], [ROW]])
def test_result_survives_the_wire(contributions: list[Contribution] | None) -> None:
    now = datetime.now(UTC)
    result = PredictResult((0.5, 0.3, 0.2), "model", "3", "champion", "run", now, 0.7, 1.5, contributions)
    assert decode_result(loads(dumps(result_payload(result)))) == result


@pytest.mark.parametrize(
    ("queue", "job", "versions"),
    [
        ("other", JOB, {"1"}),
        ("queue", JOB, {"2"}),
        ("queue", JOB, {"1", "2"}),
        ("queue", PredictJob(7, "candidate", JOB.features, "set", "", "", "", 0.0), {"1"}),
        ("queue", PredictJob(7, "champion", b"", "set", "", "", "", 0.0), {"1"}),
        ("queue", PredictJob(7, "champion", JOB.features, "other", "", "", "", 0.0), {"1"}),
        ("queue", PredictJob(7, "champion", JOB.features, "set", "", "", "", 0.0, explain=True), {"1"}),
        ("queue", PredictJob(8, "champion", JOB.features, "set", "", "", "", 0.0), {"1"}),
    ],
)
def test_other_question_is_another_task(queue: str, job: PredictJob, versions: set[str]) -> None:
    assert derive_task_id(queue, job, frozenset(versions)) != derive_task_id("queue", JOB, frozenset({"1"}))


def test_same_question_is_the_same_task() -> None:
    """Whoever asks, and when."""
    again = PredictJob(7, "champion", JOB.features, "set", "later snapshot", "", "other request", 2e9)
    assert derive_task_id("queue", again, frozenset({"1"})) == derive_task_id("queue", JOB, frozenset({"1"}))


def test_order_of_columns_names_their_set() -> None:
    assert name_feature_set(("a", "b")) != name_feature_set(("b", "a"))


def test_failure_keeps_its_type_and_detail() -> None:
    failure = failure_of(failure_payload(FeaturesMismatch("elo_home is missing")), "task")
    assert isinstance(failure, FeaturesMismatch)
    assert (failure.detail, failure.extras["task_id"]) == ("elo_home is missing", "task")


def test_unknown_failure_is_a_failed_prediction() -> None:
    assert isinstance(failure_of({"error": "from-the-future"}, "task"), PredictionFailed)


@pytest.mark.parametrize(
    ("success", "returned", "error"),
    [(False, "boom", "prediction-failed"), (False, {"error": "x"}, "x"), (True, 42, "prediction-failed")],
)
def test_outcome_of_a_stock_workers_failure(success: bool, returned: object, error: str) -> None:
    assert outcome_of(success, returned)["error"] == error
