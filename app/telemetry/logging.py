"""How logs are written: one line an event, readable on a terminal, JSON elsewhere."""

import contextlib
import json
import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import orjson
import structlog

Event = MutableMapping[str, Any]


class Lines:
    """Writes what structlog has rendered straight to standard error; the logging module would double the price."""

    __slots__ = ("name",)

    def __init__(self, name: str = "") -> None:
        self.name = name

    def msg(self, line: str) -> None:
        """One line; where the disk takes no more, what it tells of goes on all the same."""
        with contextlib.suppress(OSError):
            sys.stderr.write(line + "\n")

    debug = info = warning = error = critical = exception = msg


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
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=Lines,
        cache_logger_on_first_use=True,
    )
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
