"""HTTP of the client: one exception for failures, kept entity tags, and patience where the service asks for it."""

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp
from pydantic import BaseModel, SecretStr, ValidationError
from yarl import URL

from app.runtime import Backoff
from app.schemas import ProblemOut

READ_TIMEOUT_S = 15.0  # above the API's own query deadline, so that its explanation arrives instead of ours
LIVE_TIMEOUT_S = 35.0  # the API promises an answer or 504 within 30 s
PATIENCE_S = 30.0  # how long one call waits, all its pauses together, for a service that says 429 or 503
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 8.0  # where the service names no Retry-After
KEPT_BYTES = 8 * 2**20  # of bodies; what is made of one takes several times that
JSON = "application/json"
ARROW = "application/vnd.apache.arrow.stream"
_RETRIED = frozenset({429, 503})
_MEMBERS = frozenset(ProblemOut.model_fields)
M = TypeVar("M", bound=BaseModel)
QueryParams = Mapping[str, str | Sequence[str]]


class ApiFailure(Exception):
    """A request that failed; `reason` is a sentence for people, `code` the problem's code or one of ours.

    Codes of ours: `unreachable`, `slow`, `unreadable`, and `status-N` for an answer N that is no problem.
    """

    def __init__(  # noqa: PLR0913  # all that is known of a failure
        self,
        reason: str,
        *,
        code: str,
        status: int | None = None,
        request_id: str | None = None,
        body: bytes = b"",
        retry_after_s: float | None = None,
        extras: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code
        self.status = status  # None when there was no answer
        self.request_id = request_id
        self.body = body  # only of an answer that is no problem+json
        self.retry_after_s = retry_after_s
        self.extras: Mapping[str, Any] = extras or {}  # what the problem says for programs, such as `task_id`

    def __str__(self) -> str:
        return f"{self.reason} [{self.code}]"

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
        return cls("The prediction service gave an answer that cannot be read here.", code="unreadable")

    @classmethod
    def from_response(cls, status: int, body: bytes, *, retry_after: str | None = None) -> "ApiFailure":
        """Return the failure that an error answer describes."""
        retry_after_s = float(retry_after) if retry_after and retry_after.isdecimal() else None
        try:
            problem = ProblemOut.model_validate_json(body)
        except ValidationError:
            return cls(
                f"The prediction service answered with status {status}.",
                code=f"status-{status}",
                status=status,
                body=body,
                retry_after_s=retry_after_s,
            )
        return cls(
            problem.detail,
            code=problem.code,
            status=status,
            request_id=problem.request_id,
            retry_after_s=retry_after_s,
            extras={name: value for name, value in problem if name not in _MEMBERS},
        )


@dataclass(frozen=True, slots=True)
class ApiReply:
    """A good answer; `body` is None when the entity tag that was sent still holds."""

    body: bytes | None
    etag: str | None = None
    status: int = 200
    snapshot_id: str | None = None
    next_cursor: str | None = None  # of an answer that comes in pages
    is_immutable: bool = False  # it never changes, and need not be asked for again
    parsed: dict[type[BaseModel], BaseModel] = field(default_factory=dict, compare=False, repr=False)

    def parse(self, model: type[M]) -> M:
        """Return the body as a model, made once for as long as the answer is kept.

        Raises:
            ApiFailure: the body does not fit the schema; members that are not in it are ignored.
        """
        known = self.parsed.get(model)
        if isinstance(known, model):
            return known
        try:
            found = model.model_validate_json(self.body or b"", extra="ignore")
        except ValidationError as error:
            raise ApiFailure.unreadable() from error
        self.parsed[model] = found
        return found


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """One request, and what counts as its answer."""

    path: str
    params: QueryParams = field(default_factory=dict)
    method: str = "GET"
    body: str | None = None
    media: str = JSON
    timeout_s: float = READ_TIMEOUT_S
    statuses: tuple[int, ...] = (200,)  # that are answers; the others are failures

    @property
    def key(self) -> tuple[object, ...]:
        """What the answer to a read depends on."""
        return self.path, tuple(sorted((name, tuple(value)) for name, value in self.params.items())), self.media


class ApiSession:
    """Connections to one service; opened with the first request, inside the running loop.

    Args:
        base_url: address of the service.
        key: API key, where the service asks for one.
        patience_s: how long a call waits in all when the service answers 429 or 503; 0 fails at once.
        kept_bytes: answers kept with their entity tags, the least recently used going first.
        traces: hooks of aiohttp that see every request.
    """

    def __init__(
        self,
        base_url: str,
        *,
        key: str | SecretStr | None = None,
        patience_s: float = PATIENCE_S,
        kept_bytes: int = KEPT_BYTES,
        traces: Sequence[aiohttp.TraceConfig] = (),
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._key = SecretStr(key) if isinstance(key, str) else key
        self._patience_s = patience_s
        self._kept = _KeptReplies(kept_bytes)
        self._traces = list(traces)
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

    async def read(self, request: ApiRequest) -> ApiReply:
        """Send a GET request whose answer is kept: one that still holds costs a 304, one that never changes nothing.

        Raises:
            ApiFailure: the service cannot be reached, is slow, or answers with an error.
        """
        kept = self._kept.get(request.key)
        if kept is not None and kept.is_immutable:
            return kept
        reply = await self.send(request, etag=kept.etag if kept else None)
        if reply.body is None and kept is not None:
            return kept
        self._kept.put(request.key, reply)
        return reply

    async def send(self, request: ApiRequest, *, etag: str | None = None) -> ApiReply:
        """Send a request; wait and send it again while the service says 429 or 503 and patience lasts.

        Raises:
            ApiFailure: as for `read`.
        """
        backoff, until_s = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S), time.monotonic() + self._patience_s
        while True:
            try:
                return await self._send_once(request, etag)
            except ApiFailure as failure:
                pause_s = backoff.next_pause() * random.uniform(0.5, 1.0)  # noqa: S311  # not all clients at once
                if failure.retry_after_s is not None:
                    pause_s = failure.retry_after_s
                if failure.status not in _RETRIED or time.monotonic() + pause_s >= until_s:
                    raise
            await asyncio.sleep(pause_s)

    @asynccontextmanager
    async def open_stream(
        self, path: str, *, headers: Mapping[str, str], silence_s: float
    ) -> AsyncIterator[aiohttp.StreamReader]:
        """Open an answer without an end; enters once the service has answered.

        Args:
            path: path of the stream.
            headers: headers of the request.
            silence_s: seconds without a byte after which the connection counts as dead.

        Raises:
            ApiFailure: as for `read`.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=READ_TIMEOUT_S, sock_read=silence_s)
        with _raise_api_failures():
            async with self._open().get(
                self.base_url + path, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                if response.status != 200:
                    raise await _read_failure(response)
                yield response.content

    async def _send_once(self, request: ApiRequest, etag: str | None) -> ApiReply:
        headers = {"Accept": request.media} | ({"If-None-Match": etag} if etag else {})
        if request.body is not None:
            headers["Content-Type"] = JSON
        with _raise_api_failures():
            async with self._open().request(
                request.method,
                self.base_url + request.path,
                params=request.params,
                data=request.body,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=request.timeout_s),
                allow_redirects=False,  # the key is for this service alone
            ) as response:
                if response.status == 304:
                    return ApiReply(None, response.headers.get("ETag"), 304)
                if response.status not in request.statuses:
                    raise await _read_failure(response)
                next_link = response.links.get("next")
                return ApiReply(
                    await response.read(),
                    response.headers.get("ETag"),
                    response.status,
                    response.headers.get("Touchline-Snapshot"),
                    URL(next_link["url"]).query.get("cursor") if next_link else None,
                    "immutable" in response.headers.get("Cache-Control", ""),
                )

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            asyncio.get_running_loop()  # a session made outside the loop would never be closed by it
            headers = {"X-API-Key": self._key.get_secret_value()} if self._key else {}
            self._session = aiohttp.ClientSession(headers=headers, trace_configs=self._traces)
        return self._session


async def _read_failure(response: aiohttp.ClientResponse) -> ApiFailure:
    retry_after = response.headers.get("Retry-After")
    return ApiFailure.from_response(response.status, await response.read(), retry_after=retry_after)


@contextmanager
def _raise_api_failures() -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise ApiFailure.slow() from error
    except (aiohttp.ClientError, OSError) as error:
        raise ApiFailure.unreachable() from error


class _KeptReplies:
    """Answers that came with an entity tag, the least recently used going first."""

    def __init__(self, size_bytes: int) -> None:
        self._replies: OrderedDict[tuple[object, ...], ApiReply] = OrderedDict()
        self._free_bytes = size_bytes

    def get(self, key: tuple[object, ...]) -> ApiReply | None:
        if key in self._replies:
            self._replies.move_to_end(key)
        return self._replies.get(key)

    def put(self, key: tuple[object, ...], reply: ApiReply) -> None:
        self._drop(self._replies.pop(key, None))
        if reply.etag is None or reply.body is None:
            return
        self._replies[key] = reply
        self._free_bytes -= len(reply.body)
        while self._free_bytes < 0:
            self._drop(self._replies.popitem(last=False)[1])

    def _drop(self, reply: ApiReply | None) -> None:
        self._free_bytes += len(reply.body or b"") if reply else 0
