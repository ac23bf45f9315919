"""Answer bulk reads from a snapshot: content negotiation, entity tags, cached bytes, and streams for large answers."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial, wraps
from hashlib import blake2b
from typing import Any

import orjson
import structlog
from aiohttp import HttpVersion11, hdrs, web
from pydantic import BaseModel

from app import __version__, appkeys
from app.api.headers import WrittenResponse
from app.api.negotiation import codings_of, form_of
from app.schemas import AsOfQuery, ListQuery
from app.store.as_of import as_of_snapshot
from app.store.compression import Coding, compress, compress_pieces
from app.store.database import Connection, Query
from app.store.fields import Listing
from app.store.formats import Format
from app.store.response_cache import LARGEST_BYTES, CachedResponse, ResponseCache
from app.store.row_files import RowFile, WholeList
from app.store.snapshot import Snapshot

MAY_CHANGE = "no-cache"  # may be kept, must be asked for again: a 304 is cheap
NEVER_CHANGES = "public, max-age=31536000, immutable"  # what was known at a time stays what it was
NEVER_CHANGES_FOR_YOU = NEVER_CHANGES.replace("public", "private")
_VARY = "Accept, Accept-Encoding"
_TAKES_JSON = frozenset({"*/*", Format.JSON.value})
_ROW_HEADERS = {"Content-Type": Format.JSON.value, "Cache-Control": MAY_CHANGE, "Vary": _VARY}
_TYPES = {Format.CSV: "text/csv; charset=utf-8"}


@dataclass(frozen=True, slots=True)
class RepresentationRequest:
    """One bulk read: path, query in canonical words, form, and the codings that the client takes, best first."""

    path: str
    query: str
    as_of: datetime | None
    form: Format
    codings: tuple[Coding, ...]
    file_name: str | None
    cache_control: str
    is_stale: bool  # what the answer says of the snapshot

    @property
    def key(self) -> Hashable:
        """All that the bytes of its answer depend on, within one snapshot."""
        return self.path, self.query, self.form, self.is_stale

    def headers(self) -> dict[str, str]:
        """What every answer to it says."""
        headers = {
            "Content-Type": _TYPES.get(self.form, self.form.value),
            "Cache-Control": self.cache_control,
            "Vary": _VARY,
        }
        if self.file_name:
            headers["Content-Disposition"] = f'attachment; filename="{self.file_name}"'
        return headers


def read_representation(
    request: web.Request, query: BaseModel | None, forms: tuple[Format, ...], *, is_stale: bool
) -> RepresentationRequest:
    """Read the request; 406 when no form will do."""
    named = query.format if isinstance(query, ListQuery) else None
    as_of = query.as_of if isinstance(query, AsOfQuery) else None
    form = Format[named.name] if named else form_of(request.headers.get("Accept") or "*/*", forms)
    # Parquet is compressed in itself
    accept_encoding = request.headers.get("Accept-Encoding", "") if form is not Format.PARQUET else ""
    return RepresentationRequest(
        path=request.path,
        query=query.model_dump_json() if query else "",
        as_of=as_of,
        form=form,
        codings=codings_of(accept_encoding),
        file_name=f"touchline-{request.path.strip('/').rpartition('/')[2]}.{named.value}" if named else None,
        cache_control=MAY_CHANGE if as_of is None else _forever(request),
        is_stale=is_stale and as_of is None,
    )


def _forever(request: web.Request) -> str:
    """What may be kept without asking again; where keys are needed, by no cache that others share."""
    return NEVER_CHANGES if request.app[appkeys.KEYRING].is_open else NEVER_CHANGES_FOR_YOU


def raw_request_key(request: web.Request, *, is_stale: bool) -> Hashable:
    """The request as it was written, as far as the answer depends on it."""
    headers = request.headers
    return request.raw_path, headers.get("Accept"), headers.get("Accept-Encoding"), is_stale


_SMALLEST_CODED_BYTES = 1024  # below it compression saves no packet


def respond(request: web.Request, answer: CachedResponse, codings: tuple[Coding, ...]) -> web.StreamResponse | None:
    """304 when the client has it, else the bytes; None when they are not at hand in the coding that is wanted."""
    if hdrs.IF_NONE_MATCH in request.headers and (tag := _known(request, answer, codings)):
        headers, status, body = _without_content(answer) | {hdrs.ETAG: f'"{tag}"'}, 304, b""
    elif answer.body is None:
        return None
    else:
        coding = variant_wanted(codings, len(answer.body))
        coded = answer.body if coding is Coding.IDENTITY else answer.coded.get(coding)
        if coded is None:
            return None
        headers, status, body = tagged_headers(answer, coding), 200, coded
    if request.method == hdrs.METH_GET and request.version == HttpVersion11:
        return WrittenResponse(status, headers, body)
    return web.Response(status=status, headers=headers, body=body or None)


async def with_variant(
    cache: ResponseCache, key: Hashable, answer: CachedResponse, codings: tuple[Coding, ...]
) -> CachedResponse:
    """The answer with the coding that is wanted, made in a thread if it is not there yet, once for all who ask."""
    if answer.body is None:
        return answer
    body, coding = answer.body, variant_wanted(codings, len(answer.body))
    if coding is Coding.IDENTITY or coding in answer.coded:
        return answer

    async def make() -> None:
        answer.coded[coding] = await asyncio.to_thread(compress, coding, body)
        cache.put(key, answer)

    await cache.in_flight.do((key, coding), make)
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
    # as it was written: aiohttp takes the tag "*" in quotes for the bare star too
    if request.headers[hdrs.IF_NONE_MATCH].strip() == "*":
        return _tag(answer, variant_wanted(codings, len(answer.body) if answer.body else _SMALLEST_CODED_BYTES))
    usable = {_tag(answer, coding) for coding in codings}
    return next((named.value for named in request.if_none_match or () if named.value in usable), None)


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
        log.exception("response.aborted", error=type(error).__name__, request_id=request.get(appkeys.REQUEST_ID))
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
    """What is in an answer: members of the JSON object beside `items`, rows if there are any, and headers.

    `written` are the rows as JSON with commas between them, or all rows in a file, where they were at hand.
    """

    members: Mapping[str, Any] | bytes  # bytes: a JSON object that is written already
    rows: Listing | None = None
    headers: Mapping[str, str] | None = None
    written: bytes | RowFile | None = None


FindContent = Callable[[Snapshot], Awaitable[Content]]
Handler = Callable[..., Awaitable[web.StreamResponse]]


def bulk_read(*forms: Format) -> Callable[[Callable[..., Awaitable[Content]]], Handler]:
    """Make a handler of a function that finds the content of an answer in a snapshot; without `forms`, in any form.

    The function takes the request, the snapshot, and the models that the handler will be given.
    """

    def decorate(find: Callable[..., Awaitable[Content]]) -> Handler:
        @wraps(find)
        async def handler(request: web.Request, **models: BaseModel) -> web.StreamResponse:
            find_content = partial(find, request, **models)
            return await respond_from_snapshot(request, find_content, models.get("query"), forms or tuple(Format))

        hints = {name: hint for name, hint in find.__annotations__.items() if name != "snapshot"}
        handler.__annotations__ = hints | {"return": web.StreamResponse}
        return handler

    return decorate


def find_cached_response(request: web.Request) -> web.StreamResponse | None:
    """Return the answer to a request that came in the very same words before, if it is still at hand."""
    snapshots = request.app[appkeys.SNAPSHOTS]
    snapshot = snapshots.current
    if snapshot is None:
        return None
    cached = snapshot.response_cache.get_by_raw_key(raw_request_key(request, is_stale=snapshots.is_stale))
    response = respond(request, *cached) if cached else None
    snapshot.response_cache.hits += response is not None
    return response


def respond_with_row(
    request: web.Request, snapshot: Snapshot, row: bytes, *, is_stale: bool
) -> web.StreamResponse | None:
    """Answer with a row that is written as JSON, as `respond_from_snapshot` would; None where that has to be asked.

    It is as soon made as looked up, so it takes no room in the cache.
    """
    headers = request.headers
    if request.query_string or headers.get(hdrs.ACCEPT, "*/*") not in _TAKES_JSON:
        return None
    body = _head_with(_facts_json(snapshot, is_stale=is_stale), row)
    answer = CachedResponse(_tag_of(body), {**_ROW_HEADERS, SNAPSHOT_HEADER: snapshot.id}, body)
    codings = codings_of(headers.get(hdrs.ACCEPT_ENCODING, ""))
    coding = variant_wanted(codings, len(body))
    if coding is not Coding.IDENTITY:
        answer.coded[coding] = compress(coding, body)  # a kilobyte or two
    snapshot.response_cache.hits += 1
    return respond(request, answer, codings)


async def respond_from_snapshot(
    request: web.Request,
    find: FindContent,
    query: BaseModel | None = None,
    forms: tuple[Format, ...] = tuple(Format),
) -> web.StreamResponse:
    """Answer from the current snapshot; `find` is called only when the bytes are not at hand."""
    snapshots = request.app[appkeys.SNAPSHOTS]
    representation = read_representation(request, query, forms, is_stale=snapshots.is_stale)
    key, codings = representation.key, representation.codings
    async with snapshots.reading() as snapshot:
        cache = snapshot.response_cache
        answer = cache.get(key)
        if answer is not None and _is_usable(request, answer, codings):
            cache.hits += 1
        else:
            cache.misses += 1
            # once for all who ask the same meanwhile
            answer = await cache.in_flight.do(key, partial(_render, snapshot, representation, find))
        if answer.is_large:
            unchanged = respond(request, answer, codings)
            if unchanged is not None:
                return unchanged
            return await _stream(request, snapshot, representation, find, answer)
        raw_key = raw_request_key(request, is_stale=representation.is_stale)
        cache.index_raw_key(raw_key, key, codings)
        response = respond(request, await with_variant(cache, key, answer, codings), codings)
        if response is None:
            raise RuntimeError("a rendered answer has no bytes")
        return response


async def _render(snapshot: Snapshot, representation: RepresentationRequest, find: FindContent) -> CachedResponse:
    """Render the answer and put it into the cache; of one that is too large to keep, its tag and headers."""
    async with as_of_snapshot(snapshot, representation.as_of) as then:
        content = await find(then)
        head = _json_head(then, representation, content)
        if content.rows is None:
            body: bytes | None = head
        elif isinstance(content.written, bytes) and representation.form is Format.JSON:
            body = head[:-1] + b',"items":[' + content.written + b"]}"
        elif (whole := _whole_list(representation, content, head)) and whole.size_bytes > LARGEST_BYTES:
            body = None
        else:
            write = content.rows.chunks(representation.form, head)
            body = await then.database.run(lambda cursor: _joined(write(cursor)))
        # of the bytes; of all that they depend on where they are too many to be seen before they are sent
        tagged = body if body is not None else repr((__version__, then.id, representation.key)).encode()
        headers = representation.headers() | {SNAPSHOT_HEADER: then.id} | dict(content.headers or {})
    answer = CachedResponse(_tag_of(tagged), headers, body, is_large=body is None)
    snapshot.response_cache.put(representation.key, answer)
    return answer


async def _stream(
    request: web.Request,
    snapshot: Snapshot,
    representation: RepresentationRequest,
    find: FindContent,
    answer: CachedResponse,
) -> web.StreamResponse:
    """Send an answer piece by piece, never more than a few megabytes in memory."""
    coding = variant_wanted(representation.codings)
    response = web.StreamResponse(headers=tagged_headers(answer, coding))
    if request.method == hdrs.METH_HEAD:
        await response.prepare(request)
        return response
    async with as_of_snapshot(snapshot, representation.as_of) as then:
        content = await find(then)
        if content.rows is None:
            raise RuntimeError("only rows can be too large to keep")
        head = _json_head(then, representation, content)
        whole = _whole_list(representation, content, head)
        if whole is not None and coding is not Coding.IDENTITY and then.row_files is not None:
            whole = then.row_files.code(coding, whole)
        if whole is not None:
            return await _send_whole(request, response, whole)
        write = content.rows.chunks(representation.form, head)
        with then.database.query() as query:
            return await send_pieces(request, response, query, lambda cursor: compress_pieces(coding, write(cursor)))


def _whole_list(representation: RepresentationRequest, content: Content, head: bytes) -> WholeList | None:
    """The answer as a file, where its rows are one."""
    rows = content.written
    return rows.whole(head) if isinstance(rows, RowFile) and representation.form is Format.JSON else None


async def _send_whole(request: web.Request, response: web.StreamResponse, whole: WholeList) -> web.StreamResponse:
    """Send a file from the kernel's memory to the socket; as in `send_pieces`, a failure breaks off."""
    response.content_length = whole.size_bytes
    await response.prepare(request)
    try:
        if whole.head:
            await response.write(whole.head)
        if request.transport is not None:  # else writing the rest fails
            await asyncio.get_running_loop().sendfile(request.transport, whole.file, 0, whole.file_bytes)
        await response.write_eof(whole.tail)
    except Exception as error:
        log.exception("response.aborted", error=type(error).__name__, request_id=request.get(appkeys.REQUEST_ID))
        _break_off(request)
    return response


def _json_head(snapshot: Snapshot, representation: RepresentationRequest, content: Content) -> bytes:
    members = content.members if isinstance(content.members, bytes) else orjson.dumps(content.members)
    return _head_with(_facts_json(snapshot, is_stale=representation.is_stale), members)


def _facts_json(snapshot: Snapshot, *, is_stale: bool) -> bytes:
    return orjson.dumps(snapshot.facts(stale=is_stale), option=orjson.OPT_UTC_Z)


def _head_with(facts: bytes, members: bytes) -> bytes:
    return b'{"snapshot":' + facts + (b"," + members[1:] if members != b"{}" else b"}")


def _tag_of(tagged: bytes) -> str:
    return blake2b(tagged, digest_size=16).hexdigest()


def _is_usable(request: web.Request, answer: CachedResponse, codings: tuple[Coding, ...]) -> bool:
    return answer.is_large or answer.body is not None or respond(request, answer, codings) is not None


def _joined(pieces: Iterator[bytes]) -> bytes | None:
    """All of it, in a thread; None when it is too large to keep."""
    chunks: list[bytes] = []
    size_bytes = 0
    for piece in pieces:
        chunks.append(piece)
        size_bytes += len(piece)
        if size_bytes > LARGEST_BYTES:
            return None
    return b"".join(chunks)
