"""Answers of the API, shared by all sessions of the process: short-lived, revalidated by ETag, asked for once."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Generic, TypeVar

from pydantic import ValidationError

from dashboards.client import ApiClient, ApiFailure

T = TypeVar("T")
Key = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, slots=True)
class Kept(Generic[T]):
    """A value, when it was last known to be true, and why it could not be renewed."""

    value: T
    seen_at: datetime
    etag: str | None
    checked_s: float
    failure: ApiFailure | None = None


class Cache(Generic[T]):
    """One kind of answer by path and parameters; the least recently used goes first."""

    def __init__(self, client: ApiClient, parse: Callable[[bytes], T], *, ttl_s: float, size: int) -> None:
        self._client = client
        self._parse = parse
        self._ttl_s = ttl_s
        self._size = size
        self._kept: OrderedDict[Key, Kept[T]] = OrderedDict()
        self._flights: dict[Key, asyncio.Task[Kept[T]]] = {}
        self._changed_s = 0.0

    def expire(self) -> None:
        """The source has changed: whatever was asked before now, or is on its way, is asked again."""
        self._changed_s = time.monotonic()
        self._flights.clear()

    async def get(self, path: str, params: Mapping[str, str]) -> Kept[T]:
        """The answer; an old one with its failure when it cannot be renewed; ApiFailure when there is none."""
        key = (path, tuple(sorted(params.items())))
        kept = self._kept.get(key)
        if kept is not None and self._is_young(kept):
            self._kept.move_to_end(key)
            return kept
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = asyncio.create_task(self._fetch(key))
            flight.add_done_callback(partial(self._land, key))
        return await asyncio.shield(flight)  # one session leaving must not take the answer from the others

    def _is_young(self, kept: Kept[T]) -> bool:
        now_s = time.monotonic()
        return kept.failure is None and kept.checked_s > self._changed_s and now_s - kept.checked_s < self._ttl_s

    def _land(self, key: Key, flight: "asyncio.Task[Kept[T]]") -> None:
        # when every session has left, asyncio would log its failure as an error nobody handled
        _ = flight.cancelled() or flight.exception()
        if self._flights.get(key) is flight:
            del self._flights[key]

    async def _fetch(self, key: Key) -> Kept[T]:
        kept = self._kept.get(key)
        try:
            fresh = await self._renew(key, kept)
        except ApiFailure as failure:
            if kept is None:
                raise
            fresh = replace(kept, failure=failure)
        self._keep(key, fresh)
        return fresh

    async def _renew(self, key: Key, kept: Kept[T] | None) -> Kept[T]:
        path, params = key
        checked_s = time.monotonic()  # before the question: what changes while it is answered is not in the answer
        reply = await self._client.get(path, dict(params), etag=kept.etag if kept else None)
        now = datetime.now(UTC)
        if reply.body is not None:
            return Kept(self._read(reply.body), now, reply.etag, checked_s)
        if kept is None:
            raise ApiFailure.unreadable()
        return replace(kept, seen_at=now, checked_s=checked_s, failure=None)

    def _read(self, body: bytes) -> T:
        try:
            return self._parse(body)
        except ValidationError as error:
            raise ApiFailure.unreadable() from error

    def _keep(self, key: Key, kept: Kept[T]) -> None:
        self._kept[key] = kept
        self._kept.move_to_end(key)
        while len(self._kept) > self._size:
            self._kept.popitem(last=False)
