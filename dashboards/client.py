"""The HTTP client of the API: the only module of the match page that opens a connection."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import aiohttp
from pydantic import SecretStr, ValidationError

from app.schemas import ProblemOut

READ_TIMEOUT_S = 15.0  # above the API's own query deadline, so that its explanation arrives instead of ours
LIVE_TIMEOUT_S = 35.0  # the API promises an answer or 504 within 30 s


class ApiFailure(Exception):
    """The API did not give what was asked; `reason` is a sentence for people."""

    def __init__(self, reason: str, *, code: str, request_id: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code
        self.request_id = request_id

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
            return cls(f"The prediction service answered with status {status}.", code=f"status-{status}")
        return cls(problem.detail, code=problem.code, request_id=problem.request_id)


@dataclass(frozen=True, slots=True)
class Reply:
    """A good answer; `body` is None when the copy with that ETag is still true."""

    body: bytes | None
    etag: str | None


class ApiClient:
    """Asks the API; opens its connections on the first question, inside the running loop."""

    def __init__(self, base_url: str, *, key: SecretStr | None = None) -> None:
        self.base_url = base_url.rstrip("/")
        self._key = key
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
        self, path: str, params: Mapping[str, str], *, etag: str | None = None, timeout_s: float = READ_TIMEOUT_S
    ) -> Reply:
        """GET a path; raises ApiFailure."""
        headers = {"If-None-Match": etag} if etag else {}
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        try:
            async with self._open().get(
                self.base_url + path, params=params, headers=headers, timeout=timeout
            ) as response:
                return await self._read(response)
        except TimeoutError as error:
            raise ApiFailure.slow() from error
        except (aiohttp.ClientError, OSError) as error:
            raise ApiFailure.unreachable() from error

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
            self._session = aiohttp.ClientSession(headers={"Accept": "application/json", **shown})
        return self._session
