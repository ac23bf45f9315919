"""What is sent to a browser: the store's answers in the words that the page's scripts read."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from app.schemas import FacetsOut, MatchHistoryOut, RoiOut
from dashboards.cache import Kept
from dashboards.client import ApiFailure
from dashboards.rows import triple
from dashboards.store import Series, Window


def words(failure: ApiFailure) -> dict[str, Any]:
    """A failure, for people."""
    return {"reason": failure.reason, "code": failure.code, "request_id": failure.request_id}


def rows(windows: Sequence[Kept[Window]]) -> dict[str, Any]:
    """Windows that follow each other, as one."""
    first, last = windows[0], windows[-1].value
    return {
        "rows": [kept.value.rows for kept in windows],
        "total": last.total,
        "next": last.next_cursor,
        "value_edge": last.value_edge,
        **origin(first, last.snapshot),
    }


def origin(kept: Kept[Any], snapshot: BaseModel) -> dict[str, Any]:
    """Where an answer comes from, and how old it is."""
    return {
        "seen_at": kept.seen_at.isoformat(),
        "failure": kept.failure and words(kept.failure),
        "snapshot": snapshot.model_dump(mode="json"),
    }


def results(kept: Kept[RoiOut]) -> dict[str, Any]:
    """The strip of results."""
    return kept.value.model_dump(mode="json", exclude={"snapshot"})


def facets(kept: Kept[FacetsOut]) -> list[list[str | int]]:
    """Regions and tournaments with their counts."""
    return [[item.region, item.tournament, item.n] for item in kept.value.items]


def series(kept: Kept[Series]) -> dict[str, Any]:
    """The performance view."""
    return {"series": kept.value.text, **origin(kept, kept.value.snapshot)}


def quotes(kept: Kept[MatchHistoryOut]) -> list[list[Any]]:
    """Prices over time: epoch milliseconds, home, draw, away, whether they were the last before kick-off."""
    return [
        [round(quote.captured_at.timestamp() * 1000), *triple(quote.odds), quote.kind == "closing"]
        for quote in kept.value.odds
    ]


def operations(parts: Mapping[str, Kept[BaseModel] | ApiFailure]) -> dict[str, Any]:
    """The operations view: each part with its answer or its failure."""
    return {name: _part(part) for name, part in parts.items()}


def _part(part: Kept[BaseModel] | ApiFailure) -> dict[str, Any]:
    if isinstance(part, ApiFailure):
        return words(part)
    failure = part.failure and words(part.failure)
    return {"answer": part.value.model_dump(mode="json"), "seen_at": part.seen_at.isoformat(), "failure": failure}
