"""Where a request stands in a trace: the W3C traceparent it came with, and the one it is passed on with.

https://www.w3.org/TR/trace-context/ version 00. Nothing here needs OpenTelemetry; `export` sends spans to one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from os import urandom
from random import random
from typing import NamedTuple

_HEADER = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_NO_TRACE, _NO_SPAN, _NO_VERSION = "0" * 32, "0" * 16, "ff"
_SAMPLED = 1


class Trace(NamedTuple):
    """One span of a trace, by its ids in hex; `parent_id` is None where the trace begins."""

    trace_id: str
    span_id: str
    is_sampled: bool
    parent_id: str | None = None

    @property
    def header(self) -> str:
        """What the next one is told."""
        return f"00-{self.trace_id}-{self.span_id}-{int(self.is_sampled):02x}"

    def child(self) -> "Trace":
        """A span below this one."""
        return Trace(self.trace_id, urandom(8).hex(), self.is_sampled, self.span_id)


def parse_traceparent(header: str) -> Trace | None:
    """The span that a traceparent names; None when it is none, for what is malformed is to be ignored."""
    found = _HEADER.fullmatch(header)
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == _NO_VERSION or trace_id == _NO_TRACE or span_id == _NO_SPAN or (version == "00" and more):
        return None
    return Trace(trace_id, span_id, bool(int(flags, 16) & _SAMPLED))


def begin_trace(header: str | None, *, share: float) -> Trace:
    """A span for a request: below its caller's, or of a trace that begins here; of those, a `share` is sampled."""
    caller = parse_traceparent(header) if header else None
    if caller is not None:
        return caller.child()
    drawn = urandom(24).hex()
    return Trace(drawn[:32], drawn[32:], is_sampled=share > 0 and random() < share)  # noqa: S311  # no secret


class Kind(StrEnum):
    """A span's part in a conversation."""

    SERVER = "SERVER"
    CONSUMER = "CONSUMER"
    INTERNAL = "INTERNAL"


@dataclass(frozen=True, slots=True)
class Span:
    """Something that took time; unix seconds."""

    name: str
    trace: Trace
    kind: Kind
    started_s: float
    ended_s: float
    attributes: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    is_error: bool = False
