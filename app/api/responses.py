"""Answer bulk reads from a snapshot: content negotiation, entity tags, cached bytes, and streams for large answers."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import Any

import orjson
import structlog
from aiohttp import hdrs, web
from pydantic import BaseModel

from app import __version__, appkeys
from app.api.negotiation import codings_of, form_of
from app.schemas import AsOfQuery, ListQuery
from app.store.as_of import as_of_snapshot
from app.store.compression import Coding, compress, compress_pieces
from app.store.database import Connection, Query
from app.store.fields import Listing
from app.store.formats import Format
from app.store.response_cache import LARGEST_BYTES, CachedResponse, ResponseCache
from app.store.snapshot import Snapshot

MAY_CHANGE = "no-cache"  # may be kept, must be asked for again: a 304 is cheap
NEVER_CHANGES = "public, max-age=31536000, immutable"  # what was known at a time stays what it was
NEVER_CHANGES_FOR_YOU = NEVER_CHANGES.replace("public", "private")
_TYPES = {Format.CSV: "text/csv; charset=utf-8"}


@dataclass(frozen=True, slots=True)
class RepresentationRequest:
    """Path, query in canonical words, form, and the codings that the client takes, best first."""

    path: str
    query: str
    form: Format
    codings: tuple[Coding, ...]
    file_name: str | None
    cache_control: str

    def headers(self) -> dict[str, str]:
        """What every answer to it says."""
        headers = {
            "Content-Type": _TYPES.get(self.form, self.form.value),
            "Cache-Control": self.cache_control,
            "Vary": "Accept, Accept-Encoding",
        }
        if self.file_name:
            headers["Content-Disposition"] = f'attachment; filename="{self.file_name}"'
        return headers


def read_representation(
    request: web.Request, query: BaseModel | None, forms: tuple[Format, ...], cache_control: str
) -> RepresentationRequest:
    """Read the request; 406 when no form will do."""
    asked = query.format if isinstance(query, ListQuery) else None
    form = Format[asked.name] if asked else form_of(request.headers.get("Accept") or "*/*", forms)
    # Parquet is compressed in itself
    takes = request.headers.get("Accept-Encoding", "") if form is not Format.PARQUET else ""
    return RepresentationRequest(
        path=request.path,
        query=query.model_dump_json() if query else "",
        form=form,
        codings=codings_of(takes),
        file_name=f"touchline-{request.path.strip('/').rpartition('/')[2]}.{asked.value}" if asked else None,
        cache_control=cache_control,
    )


def raw_request_key(request: web.Request, *, is_stale: bool) -> Hashable:
    """The request as it was written, as far as the answer depends on it."""
    headers = request.headers
    return request.raw_path, headers.get("Accept"), headers.get("Accept-Encoding"), is_stale


_SMALLEST_CODED_BYTES = 1024  # below it compression saves no packet


def respond(request: web.Request, answer: CachedResponse, codings: tuple[Coding, ...]) -> web.Response | None:
    """304 when the client has it, else the bytes; None when they are not at hand in the coding that is wanted."""
    if hdrs.IF_NONE_MATCH in request.headers and (tag := _known(request, answer, codings)):
        return web.Response(status=304, headers=_without_content(answer) | {hdrs.ETAG: f'"{tag}"'})
    if answer.body is None:
        return None
    coding = variant_wanted(codings, len(answer.body))
    body = answer.body if coding is Coding.IDENTITY else answer.coded.get(coding)
    return None if body is None else web.Response(body=body, headers=tagged_headers(answer, coding))


async def with_variant(
    rendered: ResponseCache, key: Hashable, answer: CachedResponse, codings: tuple[Coding, ...]
) -> CachedResponse:
    """The answer with the coding that is wanted, made in a thread if it is not there yet, once for all who ask."""
    if answer.body is None:
        return answer
    body, coding = answer.body, variant_wanted(codings, len(answer.body))
    if coding is Coding.IDENTITY or coding in answer.coded:
        return answer

    async def make() -> None:
        answer.coded[coding] = await asyncio.to_thread(compress, coding, body)
        rendered.keep(key, answer)

    await rendered.in_flight.do((key, coding), make)
    return answer


def variant_wanted(codings: tuple[Coding, ...], size_bytes: int = _SMALLEST_CODED_BYTES) -> Coding:
    """The best coding; plain bytes where there are few, if they are welcome at all."""
    is_small = size_bytes < _SMALLEST_CODED_BYTES
    return Coding.IDENTITY if is_small and Coding.IDENTITY in codings else codings[0]


def tagged_headers(answer: CachedResponse, coding: Coding) -> dict[str, str]:
    """The headers of one variant."""
    headers = {**answer.headers, hdrs.ETAG: f'"{_tag(answer, coding)}"'}
    return headers if coding is Coding.IDENTITY else headers | {hdrs.CONTENT_ENCODING: coding.value}


def _tag(answer: CachedResponse, coding: Coding) -> str:
    # each variant is other bytes, so it has a strong tag of its own
    return answer.tag if coding is Coding.IDENTITY else f"{answer.tag}-{coding.value}"


def _known(request: web.Request, answer: CachedResponse, codings: tuple[Coding, ...]) -> str | None:
    """The tag that the client, or a cache before it, named of a variant that may still be used."""
    usable = {_tag(answer, coding) for coding in codings}
    for named in request.if_none_match or ():
        if named.value in usable:
            return named.value
        if named.value == "*":
            return _tag(answer, codings[0])
    return None


def _without_content(answer: CachedResponse) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if not name.startswith("Content-")}


log = structlog.get_logger(__name__)


async def send_pieces(
    request: web.Request, response: web.StreamResponse, query: Query, make: Callable[[Connection], Iterator[bytes]]
) -> web.StreamResponse:
    """Send what `make` gives, each piece made in a thread when the one before is on its way.

    The first piece is made before the head is sent, so a query that fails at once is a problem as any other. After
    that a failure breaks the connection off: the chunk that ends the answer never comes, and every client notices.
    """
    pieces = await query.step(make)
    first = await query.step(lambda _: next(pieces, b""))
    await response.prepare(request)
    try:
        if first:
            await response.write(first)
        while (piece := await query.step(lambda _: next(pieces, None))) is not None:
            if piece:  # an empty one would be the chunk that ends the answer
                await response.write(piece)
    except Exception as error:
        log.exception("answer cut short", error=type(error).__name__, request_id=request.get(appkeys.REQUEST_ID))
        _break_off(request)
        return response
    await response.write_eof()
    return response


def _break_off(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


BULK_MEDIA = tuple(form.value for form in Format)
SNAPSHOT_HEADER = "Touchline-Snapshot"


@dataclass(frozen=True, slots=True)
class Content:
    """What is in an answer: members of the JSON object beside `items`, rows if there are any, and headers."""

    members: Mapping[str, Any] | bytes  # bytes: a JSON object that is written already
    rows: Listing | None = None
    headers: Mapping[str, str] | None = None


Find = Callable[[Snapshot], Awaitable[Content]]
Seen = Callable[[], AbstractAsyncContextManager[Snapshot]]


def find_cached_response(request: web.Request) -> web.Response | None:
    """The answer to a question that was asked in the very same words before, if it is still at hand."""
    snapshots = request.app[appkeys.SNAPSHOTS]
    snapshot = snapshots.current
    if snapshot is None:
        return None
    found = snapshot.response_cache.recall(raw_request_key(request, is_stale=snapshots.is_stale))
    response = respond(request, *found) if found else None
    snapshot.response_cache.hits += response is not None
    return response


async def respond_from_snapshot(
    request: web.Request,
    find: Find,
    query: BaseModel | None = None,
    forms: tuple[Format, ...] = tuple(Format),
    cache_control: str = MAY_CHANGE,
) -> web.StreamResponse:
    """Answer from the current snapshot; `find` is asked only when the bytes are not at hand."""
    snapshots = request.app[appkeys.SNAPSHOTS]
    as_of = query.as_of if isinstance(query, AsOfQuery) else None
    question = read_representation(request, query, forms, cache_control if as_of is None else _for_ever(request))
    async with snapshots.reading() as snapshot:
        then = partial(as_of_snapshot, snapshot, as_of)
        rendering = _Rendering(
            then, snapshot.response_cache, question, find, is_stale=snapshots.is_stale and as_of is None
        )
        found = await rendering.found(request)
        if found.is_large:
            known = respond(request, found, question.codings)
            return await rendering.stream(request, found) if known is None else known
        snapshot.response_cache.alias(
            raw_request_key(request, is_stale=rendering.is_stale), rendering.key, question.codings
        )
        ready = await with_variant(snapshot.response_cache, rendering.key, found, question.codings)
        response = respond(request, ready, question.codings)
        if response is None:
            raise RuntimeError("a rendered answer has no bytes")
        return response


class _Rendering:
    """One question put to one snapshot."""

    def __init__(
        self, seen_: Seen, rendered: ResponseCache, question: RepresentationRequest, find: Find, *, is_stale: bool
    ) -> None:
        self.is_stale = is_stale
        self.key = (question.path, question.query, question.form, is_stale)
        self._seen = seen_
        self._rendered = rendered
        self._question = question
        self._find = find

    async def found(self, request: web.Request) -> CachedResponse:
        """What is kept, where that will do; else rendered now, once for all who ask the same meanwhile."""
        rendered = self._rendered
        kept = rendered.find(self.key)
        if kept is not None and _will_do(request, kept, self._question.codings):
            rendered.hits += 1
            return kept
        rendered.misses += 1
        return await rendered.in_flight.do(self.key, self._render)

    async def _render(self) -> CachedResponse:
        async with self._seen() as snapshot:
            content = await self._find(snapshot)
            head = self._head(snapshot, content)
            if content.rows is None:
                body: bytes | None = head
            else:
                make = content.rows.chunks(self._question.form, head)
                body = await snapshot.database.run(lambda cursor: _whole(make(cursor)))
        answer = CachedResponse(
            self._tag(snapshot, body), self._headers(snapshot, content), body, is_large=body is None
        )
        self._rendered.keep(self.key, answer)
        return answer

    async def stream(self, request: web.Request, found: CachedResponse) -> web.StreamResponse:
        """Piece by piece, never more than a few megabytes in memory."""
        coding = variant_wanted(self._question.codings)
        response = web.StreamResponse(headers=tagged_headers(found, coding))
        if request.method == hdrs.METH_HEAD:
            await response.prepare(request)
            return response
        async with self._seen() as snapshot:
            content = await self._find(snapshot)
            if content.rows is None:
                raise RuntimeError("only rows can be too large to keep")
            make = content.rows.chunks(self._question.form, self._head(snapshot, content))
            with snapshot.database.query() as query:
                return await send_pieces(request, response, query, lambda c: compress_pieces(coding, make(c)))

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
    return NEVER_CHANGES if request.app[appkeys.KEYRING].is_open else NEVER_CHANGES_FOR_YOU


def _will_do(request: web.Request, kept: CachedResponse, codings: tuple[Coding, ...]) -> bool:
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
