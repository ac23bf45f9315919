"""Writes answers into the ledger that no request waits for: of tasks, and of questions that had ended in 504."""

import structlog

from app.ledger.ledger import Ledger
from app.ledger.question import Question
from app.queue.unheard import Heard, Unheard

log = structlog.get_logger(__name__)


class Hearing:
    """Looks for answers; every process of the API may, for a question has one row whoever writes it, and how often."""

    def __init__(self, unheard: Unheard, ledger: Ledger) -> None:
        self._unheard = unheard
        self._ledger = ledger

    async def step(self) -> bool:
        """Record some answers; whether there were any. What the journal has no room for comes again."""
        heard = await self._unheard.look()
        done = [each for each in heard if self._is_done(each)]
        await self._unheard.drop(done)
        return bool(done)

    def _is_done(self, heard: Heard) -> bool:
        if heard.result is None:
            log.warning("a task has ended without an answer for the ledger", task=heard.task_id)
            return True
        try:
            question = Question.decode(heard.about)
        except ValueError as error:
            log.warning("a question that cannot be read was dropped", task=heard.task_id, error=str(error))
            return True
        return self._ledger.record(question.answered_later(heard.task_id, heard.result))
