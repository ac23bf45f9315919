"""What travels between the API and the workers comes out as it went in."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import FeaturesMismatch, PredictionFailed
from app.queue.jobs import Contribution, PredictionRequest, PredictionResult
from app.queue.serialization import (
    decode_request,
    decode_result,
    derive_task_id,
    dumps,
    loads,
    name_feature_set,
    request_payload,
    result_payload,
)

REQUEST = PredictionRequest(
    7, "champion", np.float32([1, 2]).tobytes(), "set", "snapshot", "2026-01-01", "request", 1e9
)
ROW = Contribution("elo_home", None, 0.1, 0.2, -0.3)


@given(st.binary(max_size=64), st.integers(0, 2**63 - 1), st.booleans())
def test_request_survives_the_wire(features: bytes, match_id: int, explain: bool) -> None:
    request = replace(REQUEST, features=features, match_id=match_id, explain=explain)
    assert decode_request(loads(dumps(request_payload(request)))) == request


def test_worker_adds_the_envelope_to_a_request() -> None:
    request = decode_request(request_payload(REQUEST), task_id="task", enqueued_at=5.0, deadline_at=2e9)
    assert request == replace(REQUEST, task_id="task", enqueued_at=5.0, deadline_at=2e9)


@pytest.mark.parametrize(
    "payload",
    [
        {},
        [],
        "text",
        7,
        request_payload(REQUEST) | {"match_id": "seven"},
        request_payload(REQUEST) | {"match_id": None},
        request_payload(REQUEST) | {"features": "no base64!"},
        request_payload(REQUEST) | {"features": 7},
        request_payload(REQUEST) | {"deadline_at": "soon"},
    ],
)
def test_payload_that_is_no_request(payload: Any) -> None:
    with pytest.raises(PredictionFailed, match="malformed"):
        decode_request(payload)


@pytest.mark.parametrize("contributions", [None, [], [ROW]])
def test_result_survives_the_wire(contributions: list[Contribution] | None) -> None:
    now = datetime.now(UTC)
    result = PredictionResult((0.5, 0.3, 0.2), "model", "3", "champion", "run", now, 0.7, 1.5, contributions)
    returned = loads(dumps(result_payload(result)))
    assert decode_result("task", True, returned) == replace(result, task_id="task")
    assert decode_result("task", True, returned, is_known=True) == replace(result, task_id="task", is_known=True)


@pytest.mark.parametrize("broken", [{"proba": [0.5, 0.5]}, {"computed_at": "soon"}, {"contributions": [{}]}])
def test_result_that_cannot_be_read_is_a_failure(broken: dict[str, Any]) -> None:
    """It comes through a subscription that other requests need, so nothing is raised."""
    now = datetime.now(UTC)
    result = PredictionResult((0.5, 0.3, 0.2), "model", "3", "champion", "run", now, 0.7, 1.5)
    failure = decode_result("task", True, loads(dumps(result_payload(result))) | broken)
    assert isinstance(failure, PredictionFailed)
    assert "malformed" in failure.detail


@pytest.mark.parametrize(
    ("queue", "request_", "versions"),
    [
        ("other", REQUEST, {"1"}),
        ("queue", REQUEST, {"2"}),
        ("queue", REQUEST, {"1", "2"}),
        ("queue", PredictionRequest(7, "candidate", REQUEST.features, "set", "", "", "", 0.0), {"1"}),
        ("queue", PredictionRequest(7, "champion", b"", "set", "", "", "", 0.0), {"1"}),
        ("queue", PredictionRequest(7, "champion", REQUEST.features, "other", "", "", "", 0.0), {"1"}),
        ("queue", PredictionRequest(7, "champion", REQUEST.features, "set", "", "", "", 0.0, explain=True), {"1"}),
        ("queue", PredictionRequest(8, "champion", REQUEST.features, "set", "", "", "", 0.0), {"1"}),
    ],
)
def test_other_question_is_another_task(queue: str, request_: PredictionRequest, versions: set[str]) -> None:
    assert derive_task_id(queue, request_, frozenset(versions)) != derive_task_id("queue", REQUEST, frozenset({"1"}))


def test_same_question_is_the_same_task() -> None:
    """Whoever asks, and when."""
    again = PredictionRequest(7, "champion", REQUEST.features, "set", "later snapshot", "", "other request", 2e9)
    assert derive_task_id("queue", again, frozenset({"1"})) == derive_task_id("queue", REQUEST, frozenset({"1"}))


def test_order_of_columns_names_their_set() -> None:
    assert name_feature_set(("a", "b")) != name_feature_set(("b", "a"))


def test_failure_keeps_its_type_and_detail() -> None:
    failure = decode_result("task", True, result_payload(FeaturesMismatch("elo_home is missing")))
    assert isinstance(failure, FeaturesMismatch)
    assert (failure.detail, failure.extras["task_id"]) == ("elo_home is missing", "task")


@pytest.mark.parametrize(
    ("success", "returned", "detail"),
    [
        (False, "boom", "boom"),
        (False, {"error": "from-the-future", "detail": "new"}, "new"),
        (False, {"proba": [1, 0, 0]}, "{'proba': [1, 0, 0]}"),
        (True, 42, "42"),
    ],
)
def test_unknown_failure_is_a_failed_prediction(success: bool, returned: object, detail: str) -> None:
    """Also that of a stock worker, whose job raised."""
    failure = decode_result("task", success, returned)
    assert isinstance(failure, PredictionFailed)
    assert failure.detail == detail
