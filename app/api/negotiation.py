"""Which form and coding a client likes best, by RFC 9110."""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from aiohttp import web

from app.store.compression import Coding
from app.store.formats import Format


class _Range(NamedTuple):
    """One part of an Accept header; `place` counts backwards, so that what comes first is greater."""

    name: str
    quality: float
    place: int


def form_of(accept: str, forms: tuple[Format, ...]) -> Format:
    """The form of highest quality, of equals the one named first, then the one we like best; 406 when there is none."""
    ranges = list(_ranges(accept))
    liked = [(_best(form, ranges), -place, form) for place, form in enumerate(forms)]
    best, _, form = max(liked)
    if best[0] <= 0:
        raise web.HTTPNotAcceptable(text=f"This can be had as {', '.join(forms)}.")
    return form


@lru_cache(256)
def codings_of(accept_encoding: str) -> tuple[Coding, ...]:
    """The codings that may be used, best first; plain bytes can always be had, if only as the last resort."""
    qualities = {part.name: part.quality for part in _ranges(accept_encoding)}
    rest = qualities.get("*", 0.0)
    # plain bytes need no word to be welcome, and are the least liked of equals
    plain = rest if "*" in qualities else _UNSAID
    by_quality = [(qualities.get(coding, plain if coding is Coding.IDENTITY else rest), coding) for coding in Coding]
    allowed = [coding for quality, coding in sorted(by_quality, key=lambda each: -each[0]) if quality > 0]
    return tuple(allowed) or (Coding.IDENTITY,)


_UNSAID = 1e-6  # below every quality that can be written


def _best(form: Format, ranges: list[_Range]) -> tuple[float, int]:
    """Quality and place of the most specific range that takes in the form."""
    for name in (form.value, form.value.partition("/")[0] + "/*", "*/*"):
        found = [part for part in ranges if part.name == name]
        if found:
            return found[0].quality, found[0].place
    return 0.0, 0


def _ranges(header: str) -> Iterator[_Range]:
    for place, part in enumerate(header.split(",")):
        name, _, parameters = part.partition(";")
        _, _, quality = parameters.replace(" ", "").lower().partition("q=")
        yield _Range(name.strip().lower(), _number(quality.partition(";")[0]), -place)


def _number(quality: str) -> float:
    try:
        return float(quality) if quality else 1.0
    except ValueError:
        return 0.0
