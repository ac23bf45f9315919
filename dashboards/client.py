"""The HTTP client of the API: the only module of the match page that opens a connection."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import aiohttp
from pydantic import SecretStr, ValidationError
from yarl import URL

from app.schemas import ProblemOut
from app.telemetry.page import PageMetrics
from dashboards.metrics import counting

READ_TIMEOUT_S = 15.0  # above the API's own query deadline, so that its explanation arrives instead of ours
LIVE_TIMEOUT_S = 35.0  # the API promises an answer or 504 within 30 s
SILENCE_S = 60.0  # the feed sends a comment every 15 s by default: after this the connection is dead


class ApiFailure(Exception):
    """The API did not give what was asked; `reason` is a sentence for people."""

    def __init__(self, reason: str, *, code: str, request_id: str | None = None, body: bytes = b"") -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code
        self.request_id = request_id
        self.body = body  # of an answer that is no problem+json: it may mean something to whoever asked

    @classmethod
    def unreachable(cls) -> "ApiFailure":
        """Nobody listens, or the connection broke."""
        return cls("The prediction service cannot be reached.", code="unreachable")

    @classmethod
    def slow(cls) -> "ApiFailure":
        """No answer in time."""
        return cls("The prediction service did not answer in time.", code="slow")

    @classmethod
    def unreadable(cls) -> "ApiFailure":
        """An answer that is not what the schemas promise."""
        return cls("The prediction service gave an answer this page cannot read.", code="unreadable")

    @classmethod
    def of(cls, status: int, body: bytes) -> "ApiFailure":
        """The failure an error answer describes."""
        try:
            problem = ProblemOut.model_validate_json(body)
        except ValidationError:
            return cls(f"The prediction service answered with status {status}.", code=f"status-{status}", body=body)
        return cls(problem.detail, code=problem.code, request_id=problem.request_id)


@dataclass(frozen=True, slots=True)
class Reply:
    """A good answer; `body` is None when the copy with that ETag is still true."""

    body: bytes | None
    etag: str | None


@dataclass(frozen=True, slots=True)
class Event:
    """One event of the change feed."""

    id: str
    kind: str


class ApiClient:
    """Asks the API; opens its connections on the first question, inside the running loop."""

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
        params: Mapping[str, str],
        *,
        etag: str | None = None,
        timeout_s: float = READ_TIMEOUT_S,
        media: str = "application/json",
    ) -> Reply:
        """GET a path; raises ApiFailure."""
        headers = {"Accept": media} | ({"If-None-Match": etag} if etag else {})
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        with _failures():
            async with self._open().get(
                self.base_url + path, params=params, headers=headers, timeout=timeout
            ) as response:
                return await self._read(response)

    async def csv(self, path: str, params: Mapping[str, str]) -> tuple[str, str | None]:
        """A page of CSV, and the cursor of the next one; raises ApiFailure."""
        timeout = aiohttp.ClientTimeout(total=READ_TIMEOUT_S)
        with _failures():
            async with self._open().get(
                self.base_url + path, params=params, headers={"Accept": "text/csv"}, timeout=timeout
            ) as response:
                if response.status != 200:
                    raise ApiFailure.of(response.status, await response.read())
                following = response.links.get("next")
                cursor = URL(following["url"]).query.get("cursor") if following else None
                return await response.text(), cursor

    @asynccontextmanager
    async def events(self, last_id: str | None) -> AsyncIterator[AsyncIterator[Event]]:
        """The change feed from where `last_id` left off; entered when the API has answered; raises ApiFailure."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=READ_TIMEOUT_S, sock_read=SILENCE_S)
        with _failures():
            async with self._open().get(self.base_url + "/events", headers=headers, timeout=timeout) as response:
                if response.status != 200:
                    raise ApiFailure.of(response.status, await response.read())
                yield _events(response.content)

    @staticmethod
    async def _read(response: aiohttp.ClientResponse) -> Reply:
        if response.status == 304:
            return Reply(None, response.headers.get("ETag"))
        body = await response.read()
        if response.status != 200:
            raise ApiFailure.of(response.status, body)
        return Reply(body, response.headers.get("ETag"))

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            asyncio.get_running_loop()  # a session made outside the loop would never be closed by it
            shown = {"X-API-Key": self._key.get_secret_value()} if self._key else {}
            headers = {"Accept": "application/json", **shown}
            self._session = aiohttp.ClientSession(headers=headers, trace_configs=[counting(self.metrics)])
        return self._session


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise ApiFailure.slow() from error
    except (aiohttp.ClientError, OSError) as error:
        raise ApiFailure.unreachable() from error


async def _events(lines: AsyncIterable[bytes]) -> AsyncIterator[Event]:
    """Events in a stream of lines as the HTML standard writes them (section 9.2); comments are skipped."""
    fields: dict[str, str] = {}
    async for line in lines:
        name, _, value = line.decode().rstrip("\r\n").partition(":")
        if name:
            fields[name] = value.removeprefix(" ")
        elif not value:
            if "event" in fields:
                yield Event(fields.get("id", ""), fields["event"])
            fields = {}
