"""The board: a session's filters on this side, the list and its controls as a component in the browser."""

import asyncio
import logging
from collections.abc import Awaitable, Mapping
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any, ClassVar

from panel.custom import JSComponent

from app.schemas import FacetsOut, RoiOut
from dashboards.cache import Kept
from dashboards.client import ApiFailure
from dashboards.filters import Filters, zone_named
from dashboards.store import Store, Window
from dashboards.views.outbox import Outbox

ASSETS = Path(__file__).parent.parent / "assets"
log = logging.getLogger(__name__)


class Board(JSComponent):
    """Answers the browser's messages; keeps no rows, so a session is cheap."""

    _bundle: ClassVar[Path] = ASSETS / "board.js"

    def __init__(self, store: Store, **params: Any) -> None:
        super().__init__(sizing_mode="stretch_width", **params)
        self._store = store
        self._filters = Filters()
        self._zone: tzinfo = UTC
        self._turn = 0  # counts questions; an answer to an earlier one is dropped
        self._outbox = Outbox(self)

    def _send_msg(self, data: Any) -> None:
        """Panel's exit: one message to the browser; any task may call it."""
        self._outbox.put(data)

    async def _handle_msg(self, data: Any) -> None:
        """Panel's entry: one message of the browser."""
        handlers = {
            "hello": self._hello,
            "change": self._change,
            "back": self._back,
            "again": self._again,
            "more": self._more,
            "predict": self._predict,
            "tick": self._tick,
        }
        if not isinstance(data, dict) or data.get("kind") not in handlers:
            return
        try:
            await handlers[data["kind"]](data)
        except Exception:  # a bug must show as a sentence on the page and as a traceback here, not as silence
            log.exception("message %s failed", data["kind"])
            self._send_msg(
                {"kind": "problem", "part": "page", "reason": "The page made a mistake.", "code": "page-error"}
            )

    # --- messages of the browser ------------------------------------------------------------------------------

    async def _hello(self, data: Mapping[str, Any]) -> None:
        self._zone = zone_named(str(data.get("zone", "")))
        self._send_msg({"kind": "config", "api_url": self._store.client.base_url})
        await self._back(data)

    async def _back(self, data: Mapping[str, Any]) -> None:
        self._filters.read(str(data.get("query", ""))[:2000])
        await self._show(push=False)

    async def _change(self, data: Mapping[str, Any]) -> None:
        if data.get("reset"):
            self._filters.reset()
        self._filters.change(data.get("patch") or {})
        await self._show(push=True)

    async def _again(self, _: Mapping[str, Any]) -> None:
        await self._show(push=False)

    async def _tick(self, data: Mapping[str, Any]) -> None:
        """The browser is still there: renew what it shows, if there is anything new."""
        turn = self._turn
        try:
            kept = await self._store.window(self._asked(), sort=self._filters.order())
        except ApiFailure as failure:
            self._send_msg({"kind": "problem", "part": "list", "renewal": True, **_words(failure)})
            return
        if kept.failure is None and kept.etag is not None and kept.etag == data.get("etag"):
            self._send_msg({"kind": "same", "seen_at": kept.seen_at.isoformat()})
        else:
            await self._load(turn, is_renewal=True)

    async def _more(self, data: Mapping[str, Any]) -> None:
        cursor, turn = str(data.get("cursor", ""))[:500], self._turn
        await self._answer("more", turn, self._send_window(turn, cursor=cursor))

    async def _predict(self, data: Mapping[str, Any]) -> None:
        match_id, stage = str(data.get("id", "")), str(data.get("stage", ""))
        message: dict[str, Any] = {"kind": "prediction", "id": match_id, "stage": stage}
        try:
            message["answer"] = await self._store.predict(match_id, stage)
        except ApiFailure as failure:
            message |= _words(failure)
        self._send_msg(message)

    # --- answers ------------------------------------------------------------------------------------------------

    async def _show(self, *, push: bool) -> None:
        self._turn += 1
        filters = self._filters
        self._send_msg(
            {
                "kind": "filters",
                "turn": self._turn,
                "push": push,
                "query": filters.query(),
                "state": filters.state(),
                "narrowing": filters.narrowing(),
            }
        )
        await self._load(self._turn)

    async def _load(self, turn: int, *, is_renewal: bool = False) -> None:
        await asyncio.gather(
            self._answer("list", turn, self._send_window(turn, is_renewal=is_renewal)),
            self._answer("results", turn, self._send_results(turn)),
            self._answer("facets", turn, self._send_facets(turn)),
        )

    async def _answer(self, part: str, turn: int, answer: Awaitable[None]) -> None:
        try:
            await answer
        except ApiFailure as failure:
            if turn == self._turn:
                self._send_msg({"kind": "problem", "part": part, **_words(failure)})

    async def _send_window(self, turn: int, *, cursor: str | None = None, is_renewal: bool = False) -> None:
        kept = await self._store.window(self._asked(), sort=self._filters.order(), cursor=cursor)
        if turn == self._turn:
            self._send_msg(
                {"kind": "rows", "turn": turn, "cursor": cursor, "renewal": is_renewal, **_window_message(kept)}
            )

    async def _send_results(self, turn: int) -> None:
        """Results of exactly the filter; beside open matches, also those of settled ones like them."""
        asked = self._asked()
        exact = await self._store.results(asked)
        settled: Kept[RoiOut] | None = None
        if asked.get("status") in {"upcoming", "live"}:
            like = {n: v for n, v in asked.items() if n not in {"from", "to"}} | {"status": "finished"}
            settled = await self._store.results(like)
        if turn == self._turn:
            self._send_msg(
                {"kind": "results", "exact": _results_message(exact), "settled": settled and _results_message(settled)}
            )

    async def _send_facets(self, turn: int) -> None:
        kept = await self._store.facets()
        if turn == self._turn:
            self._send_msg({"kind": "facets", "items": _facets_message(kept)})

    def _asked(self) -> dict[str, str]:
        return self._filters.api(now=datetime.now(UTC), zone=self._zone, value_edge=self._store.value_edge)


def _words(failure: ApiFailure) -> dict[str, Any]:
    return {"reason": failure.reason, "code": failure.code, "request_id": failure.request_id}


def _window_message(kept: Kept[Window]) -> dict[str, Any]:
    window = kept.value
    return {
        "rows": window.rows,
        "total": window.total,
        "next": window.next_cursor,
        "value_edge": window.value_edge,
        "etag": kept.etag,
        "seen_at": kept.seen_at.isoformat(),
        "failure": kept.failure and _words(kept.failure),
        "snapshot": window.snapshot.model_dump(mode="json"),
    }


def _results_message(kept: Kept[RoiOut]) -> dict[str, Any]:
    return kept.value.model_dump(mode="json", exclude={"snapshot"})


def _facets_message(kept: Kept[FacetsOut]) -> list[list[str | int]]:
    return [[item.region, item.tournament, item.n] for item in kept.value.items]
