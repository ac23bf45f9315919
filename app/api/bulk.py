"""Answers about a snapshot: the form the client wants, an entity tag, and bytes rendered once."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import orjson
from aiohttp import web
from pydantic import BaseModel

from app import __version__, keys
from app.store.lake import Connection
from app.store.listing import Form, Listing
from app.store.rendered import LARGEST_BYTES, Answer
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


@dataclass(frozen=True, slots=True)
class _Asked:
    """One request about one snapshot."""

    request: web.Request
    snapshot: Snapshot
    facts: bytes
    form: Form
    tag: str

    def headers(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        return {
            "ETag": f'"{self.tag}"',
            "Cache-Control": "no-cache",  # may be kept, must be asked for again: a 304 is cheap
            "Vary": "Accept",
            SNAPSHOT_HEADER: self.snapshot.id,
            **(more or {}),
        }

    def response(self, answer: Answer) -> web.Response:
        return web.Response(body=answer.body, content_type=self.form.value, headers=self.headers(answer.headers))


async def answer(
    request: web.Request, find: Find, query: BaseModel | None = None, forms: tuple[Form, ...] = tuple(Form)
) -> web.StreamResponse:
    """Answer from the current snapshot; `find` is asked only when the bytes are not at hand."""
    snapshots = request.app[keys.SNAPSHOTS]
    async with snapshots.reading() as snapshot:
        facts = orjson.dumps(snapshot.facts(stale=snapshots.is_stale), option=orjson.OPT_UTC_Z)
        form = _negotiated(request, forms)
        asked = _Asked(request, snapshot, facts, form, _tag(facts, request.path, query, form))
        if _is_known(request, asked.tag):
            return web.Response(status=304, headers=asked.headers())
        kept = snapshot.rendered.find(asked.tag)
        if kept is not None:
            return asked.response(kept)
        return await _render(asked, await find(snapshot))


def _negotiated(request: web.Request, forms: tuple[Form, ...]) -> Form:
    accept = request.headers.get("Accept", "*/*")
    wanted = sorted(_ranges(accept), key=lambda part: -part[1])
    for media, quality in wanted:
        for form in forms:
            if quality > 0 and media in {form.value, form.value.partition("/")[0] + "/*", "*/*"}:
                return form
    raise web.HTTPNotAcceptable(text=f"This can be had as {', '.join(forms)}.")


def _ranges(accept: str) -> Iterator[tuple[str, float]]:
    for part in accept.split(","):
        media, _, parameters = part.partition(";")
        _, _, quality = parameters.replace(" ", "").partition("q=")
        try:
            yield media.strip().lower(), float(quality.partition(";")[0]) if quality else 1.0
        except ValueError:
            yield media.strip().lower(), 0.0


def _tag(facts: bytes, path: str, query: BaseModel | None, form: Form) -> str:
    """Of everything the bytes depend on, so that equal tags mean equal bytes."""
    asked = query.model_dump_json() if query else ""
    parts = (__version__.encode(), facts, path.encode(), asked.encode(), form.value.encode())
    return blake2b(b"\0".join(parts), digest_size=16).hexdigest()


def _is_known(request: web.Request, tag: str) -> bool:
    return any(known.value in {tag, "*"} for known in request.if_none_match or ())


async def _render(asked: _Asked, content: Content) -> web.StreamResponse:
    headers = content.headers or {}
    members = content.members if isinstance(content.members, bytes) else orjson.dumps(content.members)
    head = b'{"snapshot":' + asked.facts + (b"," + members[1:] if members != b"{}" else b"}")
    if content.rows is None:
        answer = Answer(head, headers)
        asked.snapshot.rendered.keep(asked.tag, answer)
        return asked.response(answer)
    async with aclosing(_chunks(asked.snapshot, content.rows.chunks(asked.form, head))) as chunks:
        return await _send(asked, chunks, headers)


async def _send(asked: _Asked, chunks: AsyncGenerator[bytes, None], headers: Mapping[str, str]) -> web.StreamResponse:
    """Whole and kept when it is small; else piece by piece, never more than a few megabytes in memory."""
    pieces: list[bytes] = []
    size_bytes = 0
    async for chunk in chunks:
        pieces.append(chunk)
        size_bytes += len(chunk)
        if size_bytes > LARGEST_BYTES:
            return await _stream(asked, pieces, chunks, headers)
    answer = Answer(b"".join(pieces), headers)
    asked.snapshot.rendered.keep(asked.tag, answer)
    return asked.response(answer)


async def _stream(
    asked: _Asked, pieces: list[bytes], chunks: AsyncGenerator[bytes, None], headers: Mapping[str, str]
) -> web.StreamResponse:
    # chunked: an answer that is cut short lacks the closing chunk, and every client notices
    response = web.StreamResponse(headers=asked.headers(headers))
    response.content_type = asked.form.value
    await response.prepare(asked.request)
    if asked.request.method == "HEAD":
        return response
    for piece in pieces:
        await response.write(piece)
    pieces.clear()
    async for chunk in chunks:
        await response.write(chunk)
    await response.write_eof()
    return response


async def _chunks(snapshot: Snapshot, make: Callable[[Connection], Iterator[bytes]]) -> AsyncGenerator[bytes, None]:
    """Pieces made in a thread, one at a time, so that a slow reader holds no thread."""
    with snapshot.lake.query() as query:
        pieces = await query.step(make)
        while (piece := await query.step(lambda _: next(pieces, None))) is not None:
            yield piece
