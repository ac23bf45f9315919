"""Messages to the browser: answers of the store in the form that the scripts of the page read."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from app.client import ApiFailure
from app.schemas import FacetsOut, MatchHistoryOut, RoiOut
from dashboards.store import CachedAnswer, CardsPage, PerformanceSeries, ValueBetsPage, list_outcomes


def render_failure(failure: ApiFailure) -> dict[str, Any]:
    """Return the reason and code of a failure."""
    return {"reason": failure.reason, "code": failure.code, "request_id": failure.request_id}


def render_rows(pages: Sequence[CachedAnswer[CardsPage]]) -> dict[str, Any]:
    """Return consecutive pages as one message."""
    first, last = pages[0], pages[-1].value
    return {
        "rows": [answer.value.rows for answer in pages],
        "total": last.total,
        "next": last.next_cursor,
        "value_edge": last.value_edge,
        **render_origin(first, last.snapshot),
    }


def render_value_bets(answer: CachedAnswer[ValueBetsPage], n_shown: int) -> dict[str, Any]:
    """Return what stands above the table of value bets."""
    page = answer.value
    return {"n": n_shown, "total": page.total, **render_origin(answer, page.snapshot)}


def render_origin(answer: CachedAnswer[Any], snapshot: BaseModel) -> dict[str, Any]:
    """Return the source and age of an answer."""
    return {
        "seen_at": answer.seen_at.isoformat(),
        "failure": answer.failure and render_failure(answer.failure),
        "snapshot": snapshot.model_dump(mode="json"),
    }


def render_results(answer: CachedAnswer[RoiOut]) -> dict[str, Any]:
    """Return the numbers of the results strip."""
    return answer.value.model_dump(mode="json", exclude={"snapshot"})


def render_facets(answer: CachedAnswer[FacetsOut]) -> list[list[str | int]]:
    """Return regions and tournaments with their counts."""
    return [[item.region, item.tournament, item.n] for item in answer.value.items]


def render_series(answer: CachedAnswer[PerformanceSeries]) -> dict[str, Any]:
    """Return the series of the performance view."""
    return {"series": answer.value.text, **render_origin(answer, answer.value.snapshot)}


def render_quotes(answer: CachedAnswer[MatchHistoryOut]) -> list[list[Any]]:
    """Return odds over time: epoch milliseconds, home, draw, away, whether they were the last before kick-off."""
    return [
        [round(quote.captured_at.timestamp() * 1000), *list_outcomes(quote.odds), quote.kind == "closing"]
        for quote in answer.value.odds
    ]


def render_operations(parts: Mapping[str, CachedAnswer[BaseModel] | ApiFailure]) -> dict[str, Any]:
    """Return each part of the operations view with its answer or its failure."""
    return {name: _render_part(part) for name, part in parts.items()}


def _render_part(part: CachedAnswer[BaseModel] | ApiFailure) -> dict[str, Any]:
    if isinstance(part, ApiFailure):
        return render_failure(part)
    failure = part.failure and render_failure(part.failure)
    return {"answer": part.value.model_dump(mode="json"), "seen_at": part.seen_at.isoformat(), "failure": failure}
