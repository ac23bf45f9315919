"""How a row becomes bytes, and how a row takes in the one before it."""

import struct
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ledger.chain import CHAINS, GENESIS, PREDICTIONS, UNFIT, ChainHead, next_hash
from app.ledger.rows import LedgerRow
from app.ledger.writer import encode_rows
from tests.support.build_ledger import a_ledger_row

NOW = datetime(2026, 8, 1, 12, 30, 0, 123456, tzinfo=UTC)


def encode(row: LedgerRow) -> bytes:
    return PREDICTIONS.encode(row.values())


def test_a_hash_covers_place_predecessor_and_contents() -> None:
    first = next_hash(GENESIS, b"contents")
    assert first == ChainHead(1, sha256(bytes(32) + struct.pack(">q", 1) + b"contents").digest())
    assert next_hash(first, b"contents").row_hash != first.row_hash


@pytest.mark.parametrize("name", [field.name for field in fields(LedgerRow)])
def test_every_column_counts(name: str) -> None:
    row = a_ledger_row(odds_draw=3.0)
    value = getattr(row, name)
    others: dict[type, Any] = {
        UUID: UUID(int=1), datetime: datetime(2020, 1, 1, tzinfo=UTC), int: 8, float: 0.123, str: "other",
    }  # fmt: skip
    assert encode(replace(row, **{name: others[type(value)]})) != encode(row)


def test_text_cannot_flow_from_one_column_into_the_next() -> None:
    assert encode(a_row(request_id="ab", task_id="c")) != encode(a_row(request_id="a", task_id="bc"))


def test_null_is_neither_zero_nor_absent() -> None:
    assert len({encode(a_row(odds_home=odds, odds_draw=None)) for odds in (None, 0.0, -0.0, float("nan"))}) == 4
    assert encode(a_row(odds_home=None, odds_draw=2.0)) != encode(a_row(odds_home=2.0, odds_draw=None))


def test_the_same_moment_in_another_zone_is_the_same() -> None:
    there = datetime(2026, 8, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    assert encode(a_row(answered_at=there)) == encode(a_row(answered_at=there.astimezone(UTC)))


def test_a_whole_number_in_a_float_column_is_a_float() -> None:
    assert encode(a_row(latency_ms=3)) == encode(a_row(latency_ms=3.0))


@pytest.mark.parametrize(
    "change",
    [{"match_id": 2**63}, {"answered_at": NOW.replace(tzinfo=None)}, {"task_id": 5}, {"task_id": "\ud800"}],
)
def test_what_fits_no_column_is_refused_alone(change: dict[str, Any]) -> None:
    rows = [a_row(), a_row(**change), a_row()]
    found, refused = encode_rows(PREDICTIONS, [row.values() for row in rows])
    assert [entry.values[2] for entry in found] == [7, 7]
    assert len(refused) == 1
    with pytest.raises(UNFIT):
        encode(rows[1])


@given(st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32))
def test_a_link_survives_its_text(seq: int, row_hash: bytes) -> None:
    assert ChainHead.parse(str(ChainHead(seq, row_hash))) == ChainHead(seq, row_hash)


@pytest.mark.parametrize("text", ["", "1", "1:", "1:zz", "-1:" + "00" * 32, "1:" + "00" * 31, "x:" + "00" * 32])
def test_what_is_no_link_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  any message
        ChainHead.parse(text)


def test_each_chain_has_a_lock_of_its_own() -> None:
    assert len({chain.number for chain in CHAINS}) == len(CHAINS)


def a_row(**changes: Any) -> LedgerRow:
    return a_ledger_row(**{"id": UUID(int=7), "answered_at": NOW, "odds_captured_at": NOW} | changes)
