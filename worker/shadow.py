"""Computes every live prediction with a second model too, after its answer and in a thread of its own."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from app.queue.jobs import PredictionRequest, PredictionResult
from app.queue.redis import REDIS_ERRORS
from app.queue.shadow_stream import ShadowPrediction, ShadowStream
from worker.leases import Outcome
from worker.tasks import CONTEXT, PredictionContext, predict_batch

log = logging.getLogger(__name__)

BATCHES_WAITING = 64  # a shadow slower than the champion falls behind by so much; then batches are left out
NOBODY_WAITS = float("inf")


@dataclass(frozen=True, slots=True)
class _Answered:
    request: PredictionRequest
    result: PredictionResult


class ShadowModel:
    """The second model. It never delays an answer and never fails one: what it cannot do is left out and counted."""

    def __init__(self, context: PredictionContext, alias: str, shadows: ShadowStream) -> None:
        self._ctx = {CONTEXT: context}
        self._alias = alias
        self._shadows = shadows
        self._waiting: asyncio.Queue[list[_Answered]] = asyncio.Queue(BATCHES_WAITING)
        self.computed = 0
        self.left_out = 0

    def follow(self, requests: Sequence[PredictionRequest], outcomes: Sequence[Outcome]) -> None:
        """These were answered just now; returns at once."""
        answered = [
            _Answered(request, outcome)
            for request, outcome in zip(requests, outcomes, strict=True)
            if isinstance(outcome, PredictionResult) and outcome.alias != self._alias
        ]
        if not answered:
            return
        try:
            self._waiting.put_nowait(answered)
        except asyncio.QueueFull:
            self._leave_out(len(answered), "the shadow model is too slow")

    async def run(self) -> None:
        """Compute what was answered, for ever."""
        while True:
            answered = await self._waiting.get()
            try:
                shadows, reason = await self._compute(answered)
                await self._shadows.publish(shadows)
            except REDIS_ERRORS as error:
                self._leave_out(len(answered), f"Redis is away ({type(error).__name__})")
            except Exception:
                log.exception("the shadow model failed")
                self._leave_out(len(answered), "an unexpected failure")
            else:
                self.computed += len(shadows)
                self._leave_out(len(answered) - len(shadows), reason)

    async def _compute(self, answered: list[_Answered]) -> tuple[list[ShadowPrediction], str]:
        """The shadow answers there are, and why the last of the others is missing."""
        requests = [
            replace(each.request, alias=self._alias, deadline_at=NOBODY_WAITS, explain=False) for each in answered
        ]
        outcomes = await predict_batch(self._ctx, requests)
        shadows, reason = [], ""
        for each, outcome in zip(answered, outcomes, strict=True):
            if isinstance(outcome, PredictionResult):
                shadows.append(_shadow(each, outcome))
            else:
                reason = repr(outcome)
        return shadows, reason

    def _leave_out(self, count: int, reason: str) -> None:
        # one line for the first and then for each doubling: a broken candidate does not fill the log
        before, self.left_out = self.left_out, self.left_out + count
        if count and self.left_out.bit_length() > before.bit_length():
            log.warning("%d predictions have no shadow answer so far: %s", self.left_out, reason)


def _shadow(answered: _Answered, shadow: PredictionResult) -> ShadowPrediction:
    request, result = answered.request, answered.result
    return ShadowPrediction(
        task_id=request.task_id,
        match_id=request.match_id,
        snapshot_id=request.snapshot_id,
        request_id=request.request_id,
        alias=result.alias,
        model_version=result.model_version,
        proba=result.proba,
        shadow_alias=shadow.alias,
        shadow_name=shadow.model_name,
        shadow_version=shadow.model_version,
        shadow_run_id=shadow.run_id,
        shadow_proba=shadow.proba,
        computed_at=datetime.now(UTC),
    )
