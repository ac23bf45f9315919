"""Small parts of the read side: cursors, selections, feature rows."""

import asyncio
import fcntl
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import FeaturesLoading, InvalidRequest
from app.store import features
from app.store.cards import Cursor, Order, digest
from app.store.database import to_bitstring
from app.store.features import FeatureRows, open_features
from app.store.selection import Selection

MICROSECONDS = st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999)
POSITIONS = st.tuples(st.sampled_from([Order.KICKOFF, Order.KICKOFF_DESC]), MICROSECONDS) | st.tuples(
    st.sampled_from([Order.EDGE, Order.EDGE_DESC]), st.floats(-1e300, 1e300)
)


@given(POSITIONS, st.integers(0, 2**63 - 1))
def test_cursor_comes_back_as_it_went(position: tuple[Order, float], match_id: int) -> None:
    order, key = position
    cursor = Cursor(order, "ab12", key, match_id)
    assert Cursor.decode(cursor.encode(), order, "ab12") == cursor


@given(st.text(max_size=50))
def test_nonsense_is_no_cursor(text: str) -> None:
    with pytest.raises(InvalidRequest):
        Cursor.decode(text, Order.KICKOFF, "")


@pytest.mark.parametrize(
    ("key", "order"), [(1e17, Order.KICKOFF), (-(10**17), Order.KICKOFF), (10**18, Order.KICKOFF), (True, Order.EDGE)]
)
def test_key_that_no_row_can_have_makes_no_cursor(key: float, order: Order) -> None:
    with pytest.raises(InvalidRequest):
        Cursor.decode(Cursor(order, "", key, 1).encode(), order, "")


def test_cursor_belongs_to_one_order_and_one_selection() -> None:
    italy, all_matches = digest(Selection(region=("Italy",))), digest(Selection())
    text = Cursor(Order.KICKOFF, italy, 0, 1).encode()
    with pytest.raises(InvalidRequest, match="sort=kickoff, not -edge"):
        Cursor.decode(text, Order.EDGE_DESC, italy)
    with pytest.raises(InvalidRequest, match="another filter"):
        Cursor.decode(text, Order.KICKOFF, all_matches)


def test_selection_binds_what_was_asked_and_nothing_else() -> None:
    assert Selection(text="").where(None) == ("true", [])
    assert Selection(text="").of_fixture() is None
    asked = Selection(region=("x' OR 1=1 --", "y"), min_edge=0.0, value_only=True)
    assert asked.where(("of its fixture = ?", [7])) == (
        "best_edge >= ? AND is_value AND of its fixture = ?",
        [0.0, 7],
    )
    assert asked.of_fixture() == ("region IN (?, ?)", ["x' OR 1=1 --", "y"])


@given(places=st.sets(st.integers(0, 99)), length=st.integers(100, 200))
def test_bitstring_has_ones_at_its_places(places: set[int], length: int) -> None:
    bits = to_bitstring(np.array(sorted(places), np.int64), length)
    assert len(bits) == length
    assert {place for place, bit in enumerate(bits) if bit == "1"} == places


@pytest.mark.parametrize("row_group_size", [7, 40, 100])
@pytest.mark.parametrize("block_bytes", [64, 10_000])
async def test_feature_rows_are_those_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row_group_size: int, block_bytes: int
) -> None:
    """Whatever the row groups, however few columns fit at a time; an unknown value is NaN."""
    monkeypatch.setattr(features, "_BLOCK_BYTES", block_bytes)
    random = np.random.default_rng(0)
    ids = random.permutation(1000)[:100].astype(np.int64) + 2**60
    values = random.normal(size=(100, 5)).astype(np.float32)
    values[3, 2] = np.nan
    columns = {f"f{n}": pa.array(values[:, n], from_pandas=True) for n in range(5)}
    parquet = tmp_path / "features.parquet"
    pq.write_table(
        pa.table({"f0": columns.pop("f0"), "match_id": ids, **columns}), parquet, row_group_size=row_group_size
    )
    rows = open_features(parquet, "a" * 64, tmp_path / "cache")
    assert (len(rows), rows.names) == (100, ("f0", "f1", "f2", "f3", "f4"))
    await rows.wait(60)
    for match_id, expected in zip(ids.tolist(), values, strict=True):
        row = await rows.find(match_id)
        assert row is not None
        np.testing.assert_array_equal(np.frombuffer(row, "<f4"), expected)
    assert await rows.find(5) is None
    assert await rows.find(2**62) is None
    assert rows.fault is None
    rows.close()


def two_rows(folder: Path) -> Path:
    parquet = folder / "features.parquet"
    pq.write_table(pa.table({"match_id": [1, 2], "f": pa.array([0.5, 1.5], pa.float32())}), parquet)
    return parquet


async def build_rows(parquet: Path, name: str, cache: Path) -> FeatureRows:
    """Rows whose matrix is there, or cannot be."""
    rows = open_features(parquet, name, cache)
    await rows.wait(60)
    return rows


async def test_feature_rows_are_copied_once_and_old_copies_go(tmp_path: Path) -> None:
    parquet, cache = two_rows(tmp_path), tmp_path / "cache"
    (await build_rows(parquet, "a", cache)).close()
    made_at = (cache / "a.f32").stat().st_ino
    (await build_rows(parquet, "a", cache)).close()
    assert (cache / "a.f32").stat().st_ino == made_at
    for name in ("b", "c"):
        (await build_rows(parquet, name, cache)).close()
    assert sorted(path.name for path in cache.iterdir()) == ["b.f32", "c.f32"]


async def test_rows_are_loading_while_another_process_builds_the_matrix(tmp_path: Path) -> None:
    """The client is told when to ask again; what is no longer wanted does not wait for its turn."""
    parquet, cache = two_rows(tmp_path), tmp_path / "cache"
    cache.mkdir()
    turn = os.open(cache, os.O_RDONLY)
    fcntl.flock(turn, fcntl.LOCK_EX)
    rows = open_features(parquet, "a", cache)
    with pytest.raises(FeaturesLoading) as error:
        await rows.find(2)
    assert error.value.retry_after_s == 2
    assert await rows.find(5) is None
    rows.close()
    os.close(turn)
    assert list(cache.iterdir()) == []


async def test_rows_are_found_where_no_matrix_can_be_written(tmp_path: Path) -> None:
    """It is said that this is slow, and why; of too many at once the rest come back later."""
    (tmp_path / "cache").write_text("not a folder")
    rows = await build_rows(two_rows(tmp_path), "a", tmp_path / "cache")
    assert await rows.find(1) == np.float32(0.5).tobytes()
    assert rows.fault == "feature rows are read slowly: File exists"
    results = await asyncio.gather(*(rows.find(2) for _ in range(40)), return_exceptions=True)
    assert {result for result in results if isinstance(result, bytes)} == {np.float32(1.5).tobytes()}
    assert {type(result) for result in results} == {bytes, FeaturesLoading}
    rows.close()


async def test_half_written_matrix_is_made_again(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "a.f32").write_bytes(b"\0\0")
    rows = await build_rows(two_rows(tmp_path), "a", cache)
    assert await rows.find(2) == np.float32(1.5).tobytes()
    assert (cache / "a.f32").stat().st_size == 8
    rows.close()
