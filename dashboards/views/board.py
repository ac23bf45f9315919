"""The board: a session's filters on this side, the list and its controls as a component in the browser."""

import asyncio
import logging
from collections.abc import Awaitable, Mapping
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any, ClassVar

from panel.custom import JSComponent

from app.schemas import RoiOut
from dashboards.cache import Kept
from dashboards.client import ApiFailure
from dashboards.feed import Feed
from dashboards.filters import Filters, zone_named
from dashboards.store import Store, Window
from dashboards.views import messages
from dashboards.views.outbox import Outbox

ASSETS = Path(__file__).parent.parent / "assets"
RENEWED_WINDOWS = 10  # as many are renewed in place; who has scrolled further is told that there is newer data
log = logging.getLogger(__name__)


class Board(JSComponent):
    """Answers the browser's messages; keeps no rows, so a session is cheap."""

    _bundle: ClassVar[Path] = ASSETS / "board.js"

    def __init__(self, store: Store, feed: Feed, **params: Any) -> None:
        super().__init__(sizing_mode="stretch_width", **params)
        self._store = store
        self._feed = feed
        self._filters = Filters()
        self._zone: tzinfo = UTC
        self._turn = 0  # counts questions; an answer to an earlier one is dropped
        self._sent: dict[str, Any] = {}  # entity tags of what the browser has, by part
        self._n_windows = 1
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
            "history": self._history,
            "sql": self._sql,
            "tick": self._tick,
        }
        if isinstance(data, dict) and data.get("kind") in handlers:
            await self._guarded(handlers[data["kind"]](data))

    async def _guarded(self, work: Awaitable[None]) -> None:
        try:
            await work
        except Exception:  # a bug must show as a sentence on the page and as a traceback here, not as silence
            log.exception("a message failed")
            self._send_msg(
                {"kind": "problem", "part": "page", "reason": "The page made a mistake.", "code": "page-error"}
            )

    # --- messages of the browser ------------------------------------------------------------------------------

    async def _hello(self, data: Mapping[str, Any]) -> None:
        self._zone = zone_named(str(data.get("zone", "")))
        self._send_msg({"kind": "config", "api_url": self._store.client.base_url})
        self._feed.join(self)
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

    async def _tick(self, _: Mapping[str, Any]) -> None:
        """The browser is still there: renew what it shows, if there is anything new."""
        await self._renew()

    async def _more(self, data: Mapping[str, Any]) -> None:
        cursor, turn = str(data.get("cursor", ""))[:500], self._turn
        await self._answer("more", turn, self._send_more(turn, cursor))

    async def _predict(self, data: Mapping[str, Any]) -> None:
        match_id, stage = str(data.get("id", "")), str(data.get("stage", ""))
        message: dict[str, Any] = {"kind": "prediction", "id": match_id, "stage": stage}
        try:
            message["answer"] = await self._store.predict(match_id, stage)
        except ApiFailure as failure:
            message |= messages.words(failure)
        self._send_msg(message)

    async def _history(self, data: Mapping[str, Any]) -> None:
        match_id = str(data.get("id", ""))
        message: dict[str, Any] = {"kind": "history", "id": match_id}
        try:
            message["quotes"] = messages.quotes(await self._store.history(match_id))
        except ApiFailure as failure:
            message |= messages.words(failure)
        self._send_msg(message)

    async def _sql(self, _: Mapping[str, Any]) -> None:
        try:
            answer = {"sql": await self._store.sql(self._asked(), sort=self._filters.order())}
        except ApiFailure as failure:
            answer = messages.words(failure)
        self._send_msg({"kind": "sql", **answer})

    # --- answers ------------------------------------------------------------------------------------------------

    async def renew(self) -> None:
        """The feed says that something has changed, or has come or gone itself."""
        if self._outbox.is_open:
            await self._guarded(self._renew())

    async def _renew(self) -> None:
        self._send_msg({"kind": "live", "is_live": self._feed.is_live, "at": datetime.now(UTC).isoformat()})
        await self._load(self._turn, is_renewal=True)

    async def _show(self, *, push: bool) -> None:
        self._turn += 1
        self._n_windows = 1
        self._sent.clear()
        filters = self._filters
        self._send_msg(
            {
                "kind": "filters",
                "turn": self._turn,
                "push": push,
                "query": filters.query(),
                "state": filters.state(),
                "narrowing": filters.narrowing(),
                "is_live": self._feed.is_live,
            }
        )
        await self._load(self._turn)

    async def _load(self, turn: int, *, is_renewal: bool = False) -> None:
        """All parts of the view; a renewal sends only those that have changed."""
        view = self._filters.view
        if view == "operations":
            await self._answer("list", turn, self._send_operations(turn), is_renewal=is_renewal)
            return
        main = self._send_rows(turn, is_renewal=is_renewal) if view == "matches" else self._send_series(turn)
        await asyncio.gather(
            self._answer("list", turn, main, is_renewal=is_renewal),
            self._answer("results", turn, self._send_results(turn)),
            self._answer("facets", turn, self._send_facets(turn)),
        )

    async def _answer(self, part: str, turn: int, answer: Awaitable[None], *, is_renewal: bool = False) -> None:
        try:
            await answer
        except ApiFailure as failure:
            if turn == self._turn:
                self._send_msg({"kind": "problem", "part": part, "renewal": is_renewal, **messages.words(failure)})

    async def _send_rows(self, turn: int, *, is_renewal: bool) -> None:
        windows = [await self._window(None)]
        if is_renewal and self._has(turn, "list", windows[0]):
            # of a failure that the browser knows there is nothing to say: its notice stands
            if turn == self._turn and windows[0].failure is None:
                self._send_msg({"kind": "same", "seen_at": windows[0].seen_at.isoformat()})
            return
        n_windows = self._n_windows
        while len(windows) < min(n_windows, RENEWED_WINDOWS) and windows[-1].value.next_cursor:
            windows.append(await self._window(windows[-1].value.next_cursor))
        if turn == self._turn:
            facts = {"kind": "rows", "turn": turn, "cursor": None, "renewal": is_renewal, "n_windows": n_windows}
            self._send_msg(facts | messages.rows(windows))

    async def _send_more(self, turn: int, cursor: str) -> None:
        kept = await self._window(cursor)
        if turn == self._turn:
            self._n_windows += 1
            self._send_msg({"kind": "rows", "turn": turn, "cursor": cursor, **messages.rows([kept])})

    async def _window(self, cursor: str | None) -> Kept[Window]:
        return await self._store.window(self._asked(), sort=self._filters.order(), cursor=cursor)

    async def _send_results(self, turn: int) -> None:
        """Results of exactly the filter; beside open matches, also those of settled ones like them."""
        asked = self._asked()
        exact = await self._store.results(self._staked(asked))
        settled: Kept[RoiOut] | None = None
        if asked.get("status") in {"upcoming", "live"}:
            settled = await self._store.results(self._staked(_settled(asked)))
        if not self._has(turn, "results", exact, settled):
            self._send_msg(
                {
                    "kind": "results",
                    "exact": messages.results(exact),
                    "settled": settled and messages.results(settled),
                }
            )

    async def _send_series(self, turn: int) -> None:
        """The settled matches of the filter; of open ones those settled that are like them."""
        asked = self._asked()
        is_open = asked.get("status") in {"upcoming", "live"}
        kept = await self._store.series(self._staked(_settled(asked) if is_open else asked))
        if not self._has(turn, "list", kept):
            self._send_msg({"kind": "series", "turn": turn, "is_like": is_open, **messages.series(kept)})

    async def _send_operations(self, turn: int) -> None:
        parts = await self._store.operations()
        if turn == self._turn:
            self._send_msg({"kind": "operations", "turn": turn, "parts": messages.operations(parts)})

    async def _send_facets(self, turn: int) -> None:
        others = {name: value for name, value in self._asked().items() if name not in {"region", "tournament"}}
        kept = await self._store.facets(others)
        if not self._has(turn, "facets", kept):
            self._send_msg({"kind": "facets", "items": messages.facets(kept)})

    def _has(self, turn: int, part: str, *answers: Kept[Any] | None) -> bool:
        """Whether the browser has these answers, or no longer wants them; else it is taken to have them now."""
        tags = [(kept.etag, kept.failure) for kept in answers if kept]
        if turn != self._turn or (self._sent.get(part) == tags and all(tag for tag, _ in tags)):
            return True
        self._sent[part] = tags
        return False

    def _asked(self) -> dict[str, str]:
        return self._filters.api(now=datetime.now(UTC), zone=self._zone, value_edge=self._store.value_edge)

    def _staked(self, asked: Mapping[str, str]) -> dict[str, str]:
        is_default = self._filters.stake == self._filters.param.stake.default
        return {**asked} | ({} if is_default else {"staking": self._filters.stake})


def _settled(asked: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in asked.items() if name not in {"from", "to"}} | {"status": "finished"}
