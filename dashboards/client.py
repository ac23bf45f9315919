"""The client of the HTTP API and its change feed: the only module of the match page that opens a connection."""

import asyncio
import logging
import random
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self
from weakref import WeakSet

import aiohttp
from pydantic import SecretStr, ValidationError
from yarl import URL

from app.schemas import ProblemOut
from app.telemetry.page import PageMetrics
from dashboards.metrics import trace_requests

READ_TIMEOUT_S = 15.0  # above the API's own query deadline, so that its explanation arrives instead of ours
LIVE_TIMEOUT_S = 35.0  # the API promises an answer or 504 within 30 s
SILENCE_S = 60.0  # the feed sends a comment every 15 s by default: after this the connection is dead
SETTLE_S = 0.05  # a new snapshot brings several events at once; they make one change
RETRY_S = (1.0, 10.0)  # first and longest pause between attempts
log = logging.getLogger(__name__)


class ApiFailure(Exception):
    """A request that failed; `reason` is a sentence for people."""

    def __init__(self, reason: str, *, code: str, request_id: str | None = None, body: bytes = b"") -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code
        self.request_id = request_id
        self.body = body  # only of an answer that is no problem+json

    @classmethod
    def unreachable(cls) -> "ApiFailure":
        """Return the failure of a refused or broken connection."""
        return cls("The prediction service cannot be reached.", code="unreachable")

    @classmethod
    def slow(cls) -> "ApiFailure":
        """Return the failure of a timeout."""
        return cls("The prediction service did not answer in time.", code="slow")

    @classmethod
    def unreadable(cls) -> "ApiFailure":
        """Return the failure of an answer outside the schemas."""
        return cls("The prediction service gave an answer this page cannot read.", code="unreadable")

    @classmethod
    def from_response(cls, status: int, body: bytes) -> "ApiFailure":
        """Return the failure that an error answer describes."""
        try:
            problem = ProblemOut.model_validate_json(body)
        except ValidationError:
            return cls(f"The prediction service answered with status {status}.", code=f"status-{status}", body=body)
        return cls(problem.detail, code=problem.code, request_id=problem.request_id)


@dataclass(frozen=True, slots=True)
class ApiReply:
    """A good answer; `body` is None when the ETag still matches."""

    body: bytes | None
    etag: str | None


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """One event of the change feed."""

    id: str
    kind: str


class ApiClient:
    """HTTP client of the API; opens its connections with the first request, inside the running loop."""

    def __init__(self, base_url: str, *, key: SecretStr | None = None) -> None:
        self.base_url = base_url.rstrip("/")
        self._key = key
        self.metrics = PageMetrics()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(
        self,
        path: str,
        params: Mapping[str, str | tuple[str, ...]],
        *,
        etag: str | None = None,
        timeout_s: float = READ_TIMEOUT_S,
        media: str = "application/json",
    ) -> ApiReply:
        """Send a GET request.

        Raises:
            ApiFailure: the API cannot be reached, is slow, or answers with an error.
        """
        headers = {"Accept": media} | ({"If-None-Match": etag} if etag else {})
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        with _raise_api_failures():
            async with self._open().get(
                self.base_url + path, params=params, headers=headers, timeout=timeout
            ) as response:
                return await self._read(response)

    async def get_csv(self, path: str, params: Mapping[str, str | tuple[str, ...]]) -> tuple[str, str | None]:
        """Return a page of CSV and the cursor of the next one.

        Raises:
            ApiFailure: as for `get`.
        """
        timeout = aiohttp.ClientTimeout(total=READ_TIMEOUT_S)
        with _raise_api_failures():
            async with self._open().get(
                self.base_url + path, params=params, headers={"Accept": "text/csv"}, timeout=timeout
            ) as response:
                if response.status != 200:
                    raise ApiFailure.from_response(response.status, await response.read())
                next_link = response.links.get("next")
                cursor = URL(next_link["url"]).query.get("cursor") if next_link else None
                return await response.text(), cursor

    @asynccontextmanager
    async def open_events(self, last_id: str | None) -> AsyncIterator[AsyncIterator[FeedEvent]]:
        """Open the change feed after the event `last_id`; enters once the API has answered.

        Raises:
            ApiFailure: as for `get`.
        """
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=READ_TIMEOUT_S, sock_read=SILENCE_S)
        with _raise_api_failures():
            async with self._open().get(self.base_url + "/events", headers=headers, timeout=timeout) as response:
                if response.status != 200:
                    raise ApiFailure.from_response(response.status, await response.read())
                yield _parse_events(response.content)

    @staticmethod
    async def _read(response: aiohttp.ClientResponse) -> ApiReply:
        if response.status == 304:
            return ApiReply(None, response.headers.get("ETag"))
        body = await response.read()
        if response.status != 200:
            raise ApiFailure.from_response(response.status, body)
        return ApiReply(body, response.headers.get("ETag"))

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            asyncio.get_running_loop()  # a session made outside the loop would never be closed by it
            key = {"X-API-Key": self._key.get_secret_value()} if self._key else {}
            headers = {"Accept": "application/json", **key}
            self._session = aiohttp.ClientSession(headers=headers, trace_configs=[trace_requests(self.metrics)])
        return self._session


@contextmanager
def _raise_api_failures() -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise ApiFailure.slow() from error
    except (aiohttp.ClientError, OSError) as error:
        raise ApiFailure.unreachable() from error


async def _parse_events(lines: AsyncIterable[bytes]) -> AsyncIterator[FeedEvent]:
    """Parse server-sent events (HTML standard, section 9.2); skip comments."""
    fields: dict[str, str] = {}
    async for line in lines:
        name, _, value = line.decode().rstrip("\r\n").partition(":")
        if name:
            fields[name] = value.removeprefix(" ")
        elif not value:
            if "event" in fields:
                yield FeedEvent(fields.get("id", ""), fields["event"])
            fields = {}


class ChangeListener(Protocol):
    """Receiver of change notifications."""

    async def renew(self) -> None:
        """Load again: data changed, or the feed was lost or restored."""


class ChangeFeed:
    """One subscription to the change feed for all sessions; holds them weakly."""

    def __init__(self, client: ApiClient, *, on_change: Callable[[], None]) -> None:
        self._client = client
        self._on_change = on_change
        self._listeners: WeakSet[ChangeListener] = WeakSet()
        self._tasks: set[asyncio.Task[None]] = set()
        self._pending: asyncio.TimerHandle | None = None
        self._last_id: str | None = None
        self.is_live = False

    def subscribe(self, listener: ChangeListener) -> None:
        """Notify this listener for as long as it exists."""
        self._listeners.add(listener)

    async def follow(self) -> None:
        """Follow the feed until cancelled; resume a broken connection at the last event."""
        pause_s = RETRY_S[0]
        while True:
            try:
                await self._listen()
                pause_s = RETRY_S[0]
            except ApiFailure as failure:
                log.debug("feed.unreachable reason=%s", failure.reason)
            was_live, self.is_live = self.is_live, False
            if was_live:
                pause_s = RETRY_S[0]
                self._schedule_notify()
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311  not all replicas at once
            pause_s = min(2 * pause_s, RETRY_S[1])

    async def _listen(self) -> None:
        async with self._client.open_events(self._last_id) as events:
            self.is_live = True
            self._schedule_notify()
            async for event in events:
                self._last_id = event.id or self._last_id
                self._schedule_notify()

    def _schedule_notify(self) -> None:
        if self._pending is None:
            self._pending = asyncio.get_running_loop().call_later(SETTLE_S, self._notify)

    def _notify(self) -> None:
        self._pending = None
        self._on_change()
        for listener in list(self._listeners):
            task = asyncio.create_task(listener.renew())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
