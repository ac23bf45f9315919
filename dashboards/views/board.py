"""The board: the filters of a session on the server, the list and its controls as a component in the browser."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, tzinfo
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import panel as pn
from bokeh.document import Document
from panel.custom import Child, JSComponent, ReactiveESM
from panel.io.state import state
from panel.models.esm import ESMEvent

from app.client import ApiFailure
from app.schemas import RoiOut
from dashboards.change_feed import ChangeFeed
from dashboards.filters import FUTURE, Filters, Params, parse_time_zone
from dashboards.static import ASSETS, assets_url
from dashboards.store import CachedAnswer, CardsPage, Store
from dashboards.views import messages
from dashboards.views.bets_table import ValueBets, build_frame, build_row, list_scripts

RENEWED_PAGES = 10  # as many are renewed in place; who has scrolled further is told that there is newer data
log = logging.getLogger(__name__)


class Board(JSComponent):
    """Handles the messages of one browser; keeps no rows, so a session is cheap."""

    _bundle: ClassVar[Path] = ASSETS / "board.js"
    panes = Child(doc="what Panel draws: tables")

    def __init__(self, store: Store, feed: ChangeFeed, *, api_url: str = "", **params: Any) -> None:
        super().__init__(sizing_mode="stretch_width", panes=pn.Column(sizing_mode="stretch_width"), **params)
        self._store = store
        self._feed = feed
        self._api_url = api_url  # for readers; empty where they have none
        self._filters = Filters()
        self._zone: tzinfo = UTC
        self._revision = 0  # number of the filters; an answer for earlier ones is dropped
        self._sent: dict[str, Any] = {}  # entity tags of what the browser has, by part
        self._n_pages = 1
        self._has_tables = False  # whether the browser has the scripts of tables
        self._bets: ValueBets | None = None
        self._sender = MessageSender(self)

    @classmethod
    def _component_resource_path(cls, esm_path: Any, compiled: Any = None) -> str:  # noqa: ARG003  Panel gives it
        """Return the address of the module, relative to the page. Overrides Panel's, which no browser may keep."""
        return f"{assets_url()}/{Path(esm_path).name}"

    def _send_msg(self, data: Any) -> None:
        """Send one message to the browser; any task may call it. Overrides Panel's method."""
        self._sender.send(data)

    async def _handle_msg(self, data: Any) -> None:
        """Handle one message of the browser. Called by Panel."""
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
            "tables": self._open_tables,
        }
        if isinstance(data, dict) and data.get("kind") in handlers:
            await self._run_handler(handlers[data["kind"]](data))

    async def _run_handler(self, work: Awaitable[None]) -> None:
        try:
            await work
        except Exception:  # a bug must show as a sentence on the page and as a traceback here, not as silence
            log.exception("message.failed")
            self._send_msg(
                {"kind": "problem", "part": "page", "reason": "The page made a mistake.", "code": "page-error"}
            )

    # --- messages of the browser ------------------------------------------------------------------------------

    async def _hello(self, data: Mapping[str, Any]) -> None:
        self._zone = parse_time_zone(str(data.get("zone", "")))
        self._send_msg({"kind": "config", "api_url": self._api_url, "table_scripts": list_scripts()})
        self._feed.subscribe(self)
        await self._back(data)

    async def _back(self, data: Mapping[str, Any]) -> None:
        self._filters.read_url(str(data.get("query", ""))[:2000])
        await self._show(push=False)

    async def _change(self, data: Mapping[str, Any]) -> None:
        if data.get("reset"):
            self._filters.reset()
        self._filters.change(data.get("patch") or {})
        await self._show(push=True)

    async def _again(self, _: Mapping[str, Any]) -> None:
        await self._show(push=False)

    async def _open_tables(self, _: Mapping[str, Any]) -> None:
        """The browser has loaded what tables need. Sent when a view with one is first opened."""
        self._has_tables = True
        await self._load(self._revision)

    async def _tick(self, _: Mapping[str, Any]) -> None:
        """Send what has changed since the last message: the browser is still there."""
        await self._renew()

    async def _more(self, data: Mapping[str, Any]) -> None:
        cursor, revision = str(data.get("cursor", ""))[:500], self._revision
        await self._send_part("more", revision, self._send_more(revision, cursor))

    async def _predict(self, data: Mapping[str, Any]) -> None:
        match_id, alias = str(data.get("id", "")), str(data.get("alias", ""))
        message: dict[str, Any] = {"kind": "prediction", "id": match_id, "alias": alias}
        try:
            message["answer"] = await self._store.predict(match_id, alias)
        except ApiFailure as failure:
            message |= messages.render_failure(failure)
        self._send_msg(message)

    async def _history(self, data: Mapping[str, Any]) -> None:
        match_id = str(data.get("id", ""))
        message: dict[str, Any] = {"kind": "history", "id": match_id}
        try:
            message["quotes"] = messages.render_quotes(await self._store.load_history(match_id))
        except ApiFailure as failure:
            message |= messages.render_failure(failure)
        self._send_msg(message)

    async def _sql(self, _: Mapping[str, Any]) -> None:
        try:
            answer = {"sql": await self._store.load_sql(self._api_params(), sort=self._filters.api_sort())}
        except ApiFailure as failure:
            answer = messages.render_failure(failure)
        self._send_msg({"kind": "sql", **answer})

    # --- answers ------------------------------------------------------------------------------------------------

    async def renew(self) -> None:
        """Send what has changed. Called by the change feed."""
        if self._sender.is_open:
            await self._run_handler(self._renew())

    async def _renew(self) -> None:
        self._send_msg({"kind": "live", "is_live": self._feed.is_live, "at": datetime.now(UTC).isoformat()})
        await self._load(self._revision, is_renewal=True)

    async def _show(self, *, push: bool) -> None:
        self._revision += 1
        self._n_pages = 1
        self._sent.clear()
        filters = self._filters
        self._send_msg(
            {
                "kind": "filters",
                "revision": self._revision,
                "push": push,
                "query": filters.to_url(),
                "state": filters.values(),
                "narrowing": filters.active_names(),
                "is_live": self._feed.is_live,
            }
        )
        await self._load(self._revision)

    async def _load(self, revision: int, *, is_renewal: bool = False) -> None:
        """Send all parts of the view; a renewal sends only the changed ones."""
        view = self._filters.view
        if view == "operations":
            await self._send_part("list", revision, self._send_operations(revision), is_renewal=is_renewal)
            return
        if view == "matches":
            main = self._send_rows(revision, is_renewal=is_renewal)
        else:
            main = self._send_value_bets(revision) if view == "value" else self._send_series(revision)
        await asyncio.gather(
            self._send_part("list", revision, main, is_renewal=is_renewal),
            self._send_part("results", revision, self._send_results(revision)),
            self._send_part("facets", revision, self._send_facets(revision)),
        )

    async def _send_part(self, part: str, revision: int, answer: Awaitable[None], *, is_renewal: bool = False) -> None:
        try:
            await answer
        except ApiFailure as failure:
            if revision == self._revision:
                self._send_msg(
                    {"kind": "problem", "part": part, "renewal": is_renewal, **messages.render_failure(failure)}
                )

    async def _send_rows(self, revision: int, *, is_renewal: bool) -> None:
        pages = [await self._load_page(None)]
        if is_renewal and self._is_sent(revision, "list", pages[0]):
            # of a failure that the browser knows there is nothing to say: its notice stands
            if revision == self._revision and pages[0].failure is None:
                self._send_msg({"kind": "same", "seen_at": pages[0].seen_at.isoformat()})
            return
        n_pages = self._n_pages
        while len(pages) < min(n_pages, RENEWED_PAGES) and pages[-1].value.next_cursor:
            pages.append(await self._load_page(pages[-1].value.next_cursor))
        if revision == self._revision:
            message = {"kind": "rows", "revision": revision, "cursor": None, "renewal": is_renewal, "n_pages": n_pages}
            self._send_msg(message | messages.render_rows(pages))

    async def _send_more(self, revision: int, cursor: str) -> None:
        answer = await self._load_page(cursor)
        if revision == self._revision:
            self._n_pages += 1
            self._send_msg({"kind": "rows", "revision": revision, "cursor": cursor, **messages.render_rows([answer])})

    async def _load_page(self, cursor: str | None) -> CachedAnswer[CardsPage]:
        return await self._store.load_cards(self._api_params(), sort=self._filters.api_sort(), cursor=cursor)

    async def _send_results(self, revision: int) -> None:
        """Send the results of the filter, and for open matches those of finished ones like them."""
        params = self._api_params()
        exact = await self._store.load_results(self._with_staking(params))
        settled: CachedAnswer[RoiOut] | None = None
        if self._filters.status in {"upcoming", "live"}:
            settled = await self._store.load_results(self._with_staking(self._finished_params()))
        if not self._is_sent(revision, "results", exact, settled):
            self._send_msg(
                {
                    "kind": "results",
                    "exact": messages.render_results(exact),
                    "settled": settled and messages.render_results(settled),
                    "is_any_time": settled is not None and self._filters.period in FUTURE,
                }
            )

    async def _send_series(self, revision: int) -> None:
        """Send the series of the filter, or for open matches that of finished ones like them."""
        if self._filters.period in FUTURE:  # no result can be of a period that lies ahead
            if revision == self._revision:
                self._send_msg({"kind": "no_series", "revision": revision})
            return
        is_open = self._filters.status in {"upcoming", "live"}
        params = self._finished_params() if is_open else self._api_params()
        answer = await self._store.load_performance(self._with_staking(params))
        if not self._is_sent(revision, "list", answer):
            self._send_msg(
                {"kind": "series", "revision": revision, "is_like": is_open, **messages.render_series(answer)}
            )

    async def _send_value_bets(self, revision: int) -> None:
        """Fill the table of value bets; until the browser can draw one there is nothing to do."""
        if not self._has_tables:
            return
        answer = await self._store.load_value_bets(self._api_params())
        if self._is_sent(revision, "list", answer):
            return
        rows = [row for card in answer.value.cards if (row := build_row(card, self._zone))]
        frame = await asyncio.to_thread(build_frame, rows)
        if revision == self._revision:
            self._sender.call(partial(self._show_value_bets, frame))
            self._send_msg({"kind": "bets", "revision": revision, **messages.render_value_bets(answer, len(rows))})

    def _show_value_bets(self, frame: Any) -> None:
        if self._bets is None:
            self._bets = ValueBets(frame)
            self.panes.append(self._bets.table)
        else:
            self._bets.show(frame)

    async def _send_operations(self, revision: int) -> None:
        parts = await self._store.load_operations()
        if revision == self._revision:
            self._send_msg({"kind": "operations", "revision": revision, "parts": messages.render_operations(parts)})

    async def _send_facets(self, revision: int) -> None:
        others = {name: value for name, value in self._api_params().items() if name not in {"region", "tournament"}}
        answer = await self._store.load_facets(others)
        if not self._is_sent(revision, "facets", answer):
            self._send_msg({"kind": "facets", "items": messages.render_facets(answer)})

    def _is_sent(self, revision: int, part: str, *answers: CachedAnswer[Any] | None) -> bool:
        """Return whether the browser has these answers or no longer wants them; else note them as sent."""
        tags = [(answer.etag, answer.failure) for answer in answers if answer]
        if revision != self._revision or (self._sent.get(part) == tags and all(tag for tag, _ in tags)):
            return True
        self._sent[part] = tags
        return False

    def _api_params(self) -> Params:
        return self._filters.api_params(now=datetime.now(UTC), zone=self._zone)

    def _finished_params(self) -> Params:
        return self._filters.finished_params(now=datetime.now(UTC), zone=self._zone)

    def _with_staking(self, params: Params) -> Params:
        is_default = self._filters.stake == self._filters.param.stake.default
        return {**params} | ({} if is_default else {"staking": self._filters.stake})


class MessageSender:
    """Sends messages to one browser in order, in batches, under the lock of the document.

    It replaces Panel's own sending, which loses messages.

    Panel 1.9.4 writes past the document's lock. A message that comes while an earlier one is still being written waits
    in `_WRITE_MSGS`; the end of that writing takes away `_WRITE_BLOCK`, without which `_dispatch_msgs` returns and the
    message stays until another one is sent. Bokeh's own way, in a callback that holds the lock, has no such gap.
    """

    def __init__(self, component: ReactiveESM) -> None:
        self._component = component
        self._queue: list[Any] = []

    @property
    def is_open(self) -> bool:
        """Return whether the session is open."""
        return self._document() is not None

    def send(self, message: Any) -> None:
        """Send with the next tick of the session, together with the other messages of this tick."""
        document = self._document()
        if document is None:
            return
        self._queue.append(message)
        if len(self._queue) == 1:
            document.add_next_tick_callback(self._flush)

    def call(self, work: Callable[[], None]) -> None:
        """Change models of the session with its next tick, under the lock of the document."""
        document = self._document()
        if document is not None:
            document.add_next_tick_callback(work)

    def _flush(self) -> None:
        messages, self._queue = self._queue, []
        for model in self._models():
            model.document.callbacks.send_event(ESMEvent(model=model, data=messages))

    def _document(self) -> Document | None:
        """Return the document of the session; None once the session is closed."""
        for model in self._models():
            context = model.document and model.document.session_context
            if context is not None and not context.destroyed:
                return model.document
        return None

    def _models(self) -> list[Any]:
        models = {ref: model for ref, (model, _) in self._component._models.items()}
        return [model for ref, model in models.items() if ref in state._views and ref not in state._fake_roots]
