"""The content codings that answers are compressed with."""

import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Protocol

import brotli

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_GZIP_BITS = 31  # zlib's word for a gzip frame; its header then holds no time, so equal bytes stay equal


class Coding(StrEnum):
    """A coding by its name in HTTP, the one we like best first."""

    ZSTD = "zstd"
    BROTLI = "br"
    GZIP = "gzip"
    IDENTITY = "identity"


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


class _Brotli:
    """Brotli's compressor by the names that the others have."""

    def __init__(self, quality: int) -> None:
        self._compressor = brotli.Compressor(quality=quality)

    def compress(self, data: bytes, /) -> bytes:
        return bytes(self._compressor.process(data))

    def flush(self) -> bytes:
        return bytes(self._compressor.finish())


# compressed once and kept: milliseconds for a page of cards, twelve times smaller
_KEPT: Mapping[Coding, Callable[[], _Compressor]] = {
    Coding.ZSTD: lambda: zstd.ZstdCompressor(level=6),
    Coding.BROTLI: lambda: _Brotli(5),
    Coding.GZIP: lambda: zlib.compressobj(6, wbits=_GZIP_BITS),
}
# compressed anew for every reader, while DuckDB waits: as fast as rows are written
_STREAMED: Mapping[Coding, Callable[[], _Compressor]] = {
    Coding.ZSTD: lambda: zstd.ZstdCompressor(level=1),
    Coding.BROTLI: lambda: _Brotli(1),
    Coding.GZIP: lambda: zlib.compressobj(1, wbits=_GZIP_BITS),
}


def compress(coding: Coding, body: bytes) -> bytes:
    """The body in that coding."""
    if coding is Coding.IDENTITY:
        return body
    compressor = _KEPT[coding]()
    return compressor.compress(body) + compressor.flush()


def compress_pieces(coding: Coding, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The pieces in that coding, as they come; one that a compressor holds back is empty."""
    if coding is Coding.IDENTITY:
        yield from pieces
        return
    compressor = _STREAMED[coding]()
    for piece in pieces:
        yield compressor.compress(piece)
    yield compressor.flush()
