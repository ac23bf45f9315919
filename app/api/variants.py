"""The variants of an answer, one a coding: which one goes out, under which entity tag, and when none need."""

import asyncio
from collections.abc import Hashable

from aiohttp import hdrs, web

from app.store.coding import Coding, compressed
from app.store.rendered import Answer, Rendered

_SMALLEST_CODED_BYTES = 1024  # below it compression saves no packet


def respond(request: web.Request, answer: Answer, codings: tuple[Coding, ...]) -> web.Response | None:
    """304 when the client has it, else the bytes; None when they are not at hand in the coding that is wanted."""
    if hdrs.IF_NONE_MATCH in request.headers and (tag := _known(request, answer, codings)):
        return web.Response(status=304, headers=_without_content(answer) | {hdrs.ETAG: f'"{tag}"'})
    if answer.body is None:
        return None
    coding = variant_wanted(codings, len(answer.body))
    body = answer.body if coding is Coding.IDENTITY else answer.coded.get(coding)
    return None if body is None else web.Response(body=body, headers=tagged(answer, coding))


async def with_variant(rendered: Rendered, key: Hashable, answer: Answer, codings: tuple[Coding, ...]) -> Answer:
    """The answer with the coding that is wanted, made in a thread if it is not there yet, once for all who ask."""
    if answer.body is None:
        return answer
    body, coding = answer.body, variant_wanted(codings, len(answer.body))
    if coding is Coding.IDENTITY or coding in answer.coded:
        return answer

    async def make() -> None:
        answer.coded[coding] = await asyncio.to_thread(compressed, coding, body)
        rendered.keep(key, answer)

    await rendered.flights.join((key, coding), make)
    return answer


def variant_wanted(codings: tuple[Coding, ...], size_bytes: int = _SMALLEST_CODED_BYTES) -> Coding:
    """The best coding; plain bytes where there are few, if they are welcome at all."""
    is_small = size_bytes < _SMALLEST_CODED_BYTES
    return Coding.IDENTITY if is_small and Coding.IDENTITY in codings else codings[0]


def tagged(answer: Answer, coding: Coding) -> dict[str, str]:
    """The headers of one variant."""
    headers = {**answer.headers, hdrs.ETAG: f'"{_tag(answer, coding)}"'}
    return headers if coding is Coding.IDENTITY else headers | {hdrs.CONTENT_ENCODING: coding.value}


def _tag(answer: Answer, coding: Coding) -> str:
    # each variant is other bytes, so it has a strong tag of its own
    return answer.tag if coding is Coding.IDENTITY else f"{answer.tag}-{coding.value}"


def _known(request: web.Request, answer: Answer, codings: tuple[Coding, ...]) -> str | None:
    """The tag that the client, or a cache before it, named of a variant that may still be used."""
    usable = {_tag(answer, coding) for coding in codings}
    for named in request.if_none_match or ():
        if named.value in usable:
            return named.value
        if named.value == "*":
            return _tag(answer, codings[0])
    return None


def _without_content(answer: Answer) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if not name.startswith("Content-")}
