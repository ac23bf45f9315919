"""Answers about a snapshot: the form the client wants, an entity tag, and bytes rendered once."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import Any

import orjson
from aiohttp import hdrs, web
from pydantic import BaseModel

from app import __version__, keys
from app.api.question import MAY_CHANGE, NEVER_CHANGES, NEVER_CHANGES_FOR_YOU, Question, question_of, words_of
from app.api.streaming import send_pieces
from app.api.variants import respond, tagged, variant_wanted, with_variant
from app.schemas import AsOfQuery
from app.store.as_of import seen
from app.store.coding import Coding, compressed_pieces
from app.store.forms import Form
from app.store.listing import Listing
from app.store.rendered import LARGEST_BYTES, Answer, Rendered
from app.store.snapshot import Snapshot

BULK_MEDIA = tuple(form.value for form in Form)
SNAPSHOT_HEADER = "Touchline-Snapshot"


@dataclass(frozen=True, slots=True)
class Content:
    """What is in an answer: members of the JSON object beside `items`, rows if there are any, and headers."""

    members: Mapping[str, Any] | bytes  # bytes: a JSON object that is written already
    rows: Listing | None = None
    headers: Mapping[str, str] | None = None


Find = Callable[[Snapshot], Awaitable[Content]]
Seen = Callable[[], AbstractAsyncContextManager[Snapshot]]


def recall(request: web.Request) -> web.Response | None:
    """The answer to a question that was asked in the very same words before, if it is still at hand."""
    snapshots = request.app[keys.SNAPSHOTS]
    snapshot = snapshots.current
    if snapshot is None:
        return None
    found = snapshot.rendered.recall(words_of(request, is_stale=snapshots.is_stale))
    response = respond(request, *found) if found else None
    snapshot.rendered.hits += response is not None
    return response


async def answer(
    request: web.Request,
    find: Find,
    query: BaseModel | None = None,
    forms: tuple[Form, ...] = tuple(Form),
    cache_control: str = MAY_CHANGE,
) -> web.StreamResponse:
    """Answer from the current snapshot; `find` is asked only when the bytes are not at hand."""
    snapshots = request.app[keys.SNAPSHOTS]
    as_of = query.as_of if isinstance(query, AsOfQuery) else None
    question = question_of(request, query, forms, cache_control if as_of is None else _for_ever(request))
    async with snapshots.reading() as snapshot:
        then = partial(seen, snapshot, as_of)
        rendering = _Rendering(then, snapshot.rendered, question, find, is_stale=snapshots.is_stale and as_of is None)
        found = await rendering.found(request)
        if found.is_large:
            known = respond(request, found, question.codings)
            return await rendering.stream(request, found) if known is None else known
        snapshot.rendered.alias(words_of(request, is_stale=rendering.is_stale), rendering.key, question.codings)
        ready = await with_variant(snapshot.rendered, rendering.key, found, question.codings)
        response = respond(request, ready, question.codings)
        if response is None:
            raise RuntimeError("a rendered answer has no bytes")
        return response


class _Rendering:
    """One question put to one snapshot."""

    def __init__(self, seen_: Seen, rendered: Rendered, question: Question, find: Find, *, is_stale: bool) -> None:
        self.is_stale = is_stale
        self.key = (question.path, question.query, question.form, is_stale)
        self._seen = seen_
        self._rendered = rendered
        self._question = question
        self._find = find

    async def found(self, request: web.Request) -> Answer:
        """What is kept, where that will do; else rendered now, once for all who ask the same meanwhile."""
        rendered = self._rendered
        kept = rendered.find(self.key)
        if kept is not None and _will_do(request, kept, self._question.codings):
            rendered.hits += 1
            return kept
        rendered.misses += 1
        return await rendered.flights.join(self.key, self._render)

    async def _render(self) -> Answer:
        async with self._seen() as snapshot:
            content = await self._find(snapshot)
            head = self._head(snapshot, content)
            if content.rows is None:
                body: bytes | None = head
            else:
                make = content.rows.chunks(self._question.form, head)
                body = await snapshot.lake.run(lambda cursor: _whole(make(cursor)))
        answer = Answer(self._tag(snapshot, body), self._headers(snapshot, content), body, is_large=body is None)
        self._rendered.keep(self.key, answer)
        return answer

    async def stream(self, request: web.Request, found: Answer) -> web.StreamResponse:
        """Piece by piece, never more than a few megabytes in memory."""
        coding = variant_wanted(self._question.codings)
        response = web.StreamResponse(headers=tagged(found, coding))
        if request.method == hdrs.METH_HEAD:
            await response.prepare(request)
            return response
        async with self._seen() as snapshot:
            content = await self._find(snapshot)
            if content.rows is None:
                raise RuntimeError("only rows can be too large to keep")
            make = content.rows.chunks(self._question.form, self._head(snapshot, content))
            with snapshot.lake.query() as query:
                return await send_pieces(request, response, query, lambda c: compressed_pieces(coding, make(c)))

    def _head(self, snapshot: Snapshot, content: Content) -> bytes:
        facts = orjson.dumps(snapshot.facts(stale=self.is_stale), option=orjson.OPT_UTC_Z)
        members = content.members if isinstance(content.members, bytes) else orjson.dumps(content.members)
        return b'{"snapshot":' + facts + (b"," + members[1:] if members != b"{}" else b"}")

    def _headers(self, snapshot: Snapshot, content: Content) -> dict[str, str]:
        return self._question.headers() | {SNAPSHOT_HEADER: snapshot.id} | dict(content.headers or {})

    def _tag(self, snapshot: Snapshot, body: bytes | None) -> str:
        """Of the bytes; of all that they depend on where they are too many to be seen before they are sent."""
        of = body if body is not None else repr((__version__, snapshot.id, self.key)).encode()
        return blake2b(of, digest_size=16).hexdigest()


def _for_ever(request: web.Request) -> str:
    """What may be kept unasked; where keys are asked for, by no cache that others share."""
    return NEVER_CHANGES if request.app[keys.KEYRING].is_open else NEVER_CHANGES_FOR_YOU


def _will_do(request: web.Request, kept: Answer, codings: tuple[Coding, ...]) -> bool:
    return kept.is_large or kept.body is not None or respond(request, kept, codings) is not None


def _whole(pieces: Iterator[bytes]) -> bytes | None:
    """All of it, in a thread; None when it is too large to keep."""
    kept: list[bytes] = []
    size_bytes = 0
    for piece in pieces:
        kept.append(piece)
        size_bytes += len(piece)
        if size_bytes > LARGEST_BYTES:
            return None
    return b"".join(kept)
