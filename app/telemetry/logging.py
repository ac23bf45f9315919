"""How logs are written: one line an event, readable on a terminal, JSON elsewhere."""

import asyncio
import atexit
import contextlib
import json
import logging
import sys
from collections import deque
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog

Event = MutableMapping[str, Any]


class LineWriter:
    """Writes lines to standard error: those of one turn of an event loop together, others at once."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque()  # which threads may use at the same time
        self._flushed_by: asyncio.AbstractEventLoop | None = None
        atexit.register(self.flush)  # a loop that ends runs nothing more

    def write(self, line: str) -> None:
        """One line, without its end."""
        self._lines.append(line)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
        else:
            if loop is not self._flushed_by:
                self._flushed_by = loop
                loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write what waits; where the disk takes no more, what it tells of goes on all the same."""
        self._flushed_by = None
        lines = []
        while self._lines:
            lines.append(self._lines.popleft())
        if lines:
            with contextlib.suppress(OSError):
                sys.stderr.write("\n".join([*lines, ""]))


_writer = LineWriter()


class Lines:
    """Writes what structlog has rendered; the logging module would double the price."""

    __slots__ = ("name",)

    def __init__(self, name: str = "") -> None:
        self.name = name

    def msg(self, line: str) -> None:
        """One line."""
        _writer.write(line)

    debug = info = warning = error = critical = exception = msg


@dataclass(slots=True)
class RequestLog:
    """Writes the line of each request: where lines are JSON straight from its fields, as each costs every request."""

    name: str
    is_off: bool = False
    processors: list[Any] = field(default_factory=list)  # those of structlog, which tests replace

    def write(self, request_id: str, trace_id: str, fields: dict[str, Any]) -> None:
        """Write one line as `info` of a logger would, in the context that has these ids."""
        if not self.processors or self.processors[-1] is not _json:
            structlog.get_logger(self.name).info("request", **fields)
        elif not self.is_off:
            fields |= {"event": "request", "request_id": request_id, "trace_id": trace_id}
            fields |= {
                "level": "info",
                "logger": self.name,
                "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            }
            _writer.write(_json(None, "", fields))


request_log = RequestLog("app.auth")


def set_up_logging(level: str, log_format: str) -> None:
    """Log to standard error, our own lines and those of libraries alike."""
    is_json = log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last = [structlog.processors.format_exc_info, _json] if is_json else [structlog.dev.ConsoleRenderer()]
    processors = [*shared, *last]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=Lines,
        cache_logger_on_first_use=True,
    )
    request_log.processors, request_log.is_off = processors, logging.getLevelName(level) > logging.INFO
    handler = logging.StreamHandler()
    remove = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=[remove, *last], foreign_pre_chain=shared))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)


def _json(_logger: Any, _method: str, event: Event) -> str:
    try:
        return orjson.dumps(event, default=repr, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z).decode()
    except TypeError:
        # text that is no Unicode, as a path may be, or a number too large
        return json.dumps(event, default=repr, skipkeys=True)
