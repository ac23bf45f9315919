"""Answers rendered once per snapshot and query, kept as bytes."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

LARGEST_BYTES = 8 * 2**20  # a larger answer is streamed and not kept
_ALL_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Answer:
    """A rendered answer: its body and the headers that depend on its rows."""

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Rendered:
    """A bounded cache of answers by entity tag; the least lately asked goes first."""

    def __init__(self, limit_bytes: int = _ALL_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._size_bytes = 0
        self._answers: OrderedDict[str, Answer] = OrderedDict()

    def find(self, tag: str) -> Answer | None:
        """The answer of that tag, if kept."""
        answer = self._answers.get(tag)
        if answer is not None:
            self._answers.move_to_end(tag)
        return answer

    def keep(self, tag: str, answer: Answer) -> None:
        """Keep an answer unless it is too large."""
        if len(answer.body) > LARGEST_BYTES or tag in self._answers:
            return
        self._answers[tag] = answer
        self._size_bytes += len(answer.body)
        while self._size_bytes > self._limit_bytes:
            _, dropped = self._answers.popitem(last=False)
            self._size_bytes -= len(dropped.body)
