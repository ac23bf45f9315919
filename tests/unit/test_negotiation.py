"""Which form and coding a client gets."""

import gzip

import brotli
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from app.api.negotiation import codings_of, form_of
from app.store.compression import Coding, compress, compress_pieces, zstd
from app.store.formats import Format

ALL = tuple(Format)
UNPACK = {
    Coding.IDENTITY: lambda body: body,
    Coding.GZIP: gzip.decompress,
    Coding.BROTLI: brotli.decompress,
    Coding.ZSTD: zstd.decompress,
}


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("*/*", Format.JSON),
        ("", None),
        ("application/x-ndjson", Format.NDJSON),
        ("application/vnd.apache.parquet, */*;q=0.1", Format.PARQUET),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Format.JSON),
        ("application/json;q=0, */*;q=0.5", Format.NDJSON),
        ("text/csv;q=0.5, application/json;q=0.5", Format.CSV),
        ("application/*;q=0.2, application/vnd.apache.arrow.stream;q=0.3", Format.ARROW),
        ("text/csv; header=present; q=0.7, application/json;q=0.6", Format.CSV),
        ("text/csv;q=0, application/json;q=0", None),
        ("image/png", None),
    ],
)
def test_form_is_the_one_liked_best(accept: str, form: Format | None) -> None:
    if form is None:
        with pytest.raises(web.HTTPNotAcceptable):
            form_of(accept, ALL)
    else:
        assert form_of(accept, ALL) is form


@pytest.mark.parametrize(
    ("accept_encoding", "codings"),
    [
        ("", "identity"),
        ("gzip", "gzip identity"),
        ("gzip, deflate, br, zstd", "zstd br gzip identity"),
        ("gzip;q=1.0, br;q=0.5", "gzip br identity"),
        ("br;q=0, *", "zstd gzip identity"),
        ("*;q=0", "identity"),
        ("identity;q=0, gzip", "gzip"),
        ("identity, gzip;q=0.5", "identity gzip"),
        ("GZIP", "gzip identity"),
        ("compress", "identity"),
    ],
)
def test_codings_are_those_the_client_takes_best_first(accept_encoding: str, codings: str) -> None:
    assert " ".join(codings_of(accept_encoding)) == codings


@given(st.text(alphabet="abgizprstd*,;q=0.15 /", max_size=40))
def test_any_header_gives_some_coding_and_no_failure(header: str) -> None:
    codings = codings_of(header)
    assert codings
    assert len(set(codings)) == len(codings)


@given(st.lists(st.binary(max_size=3000), max_size=6), st.sampled_from(Coding))
def test_compressed_bytes_come_back_as_they_went(pieces: list[bytes], coding: Coding) -> None:
    """Whole or piece by piece; and the same bytes are always compressed to the same."""
    body = b"".join(pieces)
    assert UNPACK[coding](compress(coding, body)) == body
    assert compress(coding, body) == compress(coding, body)
    assert UNPACK[coding](b"".join(compress_pieces(coding, iter(pieces)))) == body
