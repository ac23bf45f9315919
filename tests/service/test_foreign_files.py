"""Files as other pipelines write them: other units, widths and columns are served alike; what cannot be is refused."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app import appkeys
from app.artifacts.contract import FEATURES, MANIFEST, ODDS, PREDICTIONS
from tests.support.build_artifacts import FIRST_ID, NOW, stamp, write_artifacts
from tests.support.serving import Client, Serve, json_of

Edit = Callable[[pa.Table], pa.Table]
AS_OF = f"{NOW:%Y-%m-%dT%H:%M:%SZ}"
READS = (
    "/predict/cards/?limit=1000",
    "/predict/predictions/",
    "/predict/odds/",
    f"/predict/odds/{FIRST_ID + 7}/history",
    f"/predict/precomputed/{FIRST_ID + 7}",
    "/predict/facets/",
    "/predict/roi/",
    "/predict/performance/",
    f"/predict/cards/?limit=1000&as_of={AS_OF}",
    f"/predict/performance/?as_of={AS_OF}",
)


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    """Sixty matches with their history."""
    return write_artifacts(tmp_path / "artifacts", with_history=True)


def rewrite(folder: Path, edit: Edit) -> None:
    """Change every parquet file, and stamp the folder as if it had been published so."""
    for path in folder.rglob("*.parquet"):
        pq.write_table(edit(pq.read_table(path, partitioning=None)), path)
    stamp(folder, history_until=NOW)


def cast_all(is_kind: Callable[[pa.DataType], bool], kind: pa.DataType) -> Edit:
    def edit(table: pa.Table) -> pa.Table:
        for at, field in enumerate(table.schema):
            if is_kind(field.type) and field.name != "match_id":
                table = table.set_column(at, field.name, table[field.name].cast(kind))
        return table

    return edit


def append(**values: object) -> Edit:
    """Columns of the file's own, beside those of the contract; not in the features, which are all features."""

    def edit(table: pa.Table) -> pa.Table:
        if "elo_home" in table.column_names:
            return table
        for name, value in values.items():
            if name not in table.column_names:
                table = table.append_column(name, pa.array([value] * len(table)))
        return table

    return edit


def empty_links(table: pa.Table) -> pa.Table:
    """As pandas writes a column in which there is nothing."""
    if "event_url" not in table.column_names:
        return table
    return table.set_column(table.column_names.index("event_url"), "event_url", pa.nulls(len(table), pa.null()))


VARIANTS: dict[str, Edit] = {
    **{
        f"times in {unit} of {zone}": cast_all(pa.types.is_timestamp, pa.timestamp(unit, zone))
        for unit, zone in (("ns", "UTC"), ("us", "Europe/Berlin"), ("ns", "America/New_York"), ("ms", "UTC"))
    },
    **{
        f"integers as {kind}": cast_all(pa.types.is_integer, kind)
        for kind in (pa.uint8(), pa.int32(), pa.uint64(), pa.int64())
    },
    "texts in a dictionary": cast_all(pa.types.is_string, pa.dictionary(pa.int32(), pa.string())),
    "large texts": cast_all(pa.types.is_string, pa.large_string()),
    "a column of nothing": empty_links,
    "columns of the other file": append(
        kickoff_utc=NOW, status="finished", odds_home=9.0, closing_home=9.0, bookmaker="Other", captured_at=NOW,
        outcome=2, n_bets=1, profit=5.0, fixture_no=3, best_edge=0.9, is_value=True, money=1, home_team="Other",
        in_sample=False, known=1, kind2="x", is_there=False,
    ),
}  # fmt: skip


async def answers(client: Client) -> dict[str, Any]:
    """Every read, without what names the snapshot; and the types of every list in Arrow."""
    found: dict[str, Any] = {}
    for path in READS:
        found[path] = await json_of(client, path)
        found[path].pop("snapshot")
    for name in ("cards", "predictions", "odds", "facets", "region-roi"):
        body = await (await client.get(f"/predict/{name}/?format=arrow")).read()
        found[name] = pa.ipc.open_stream(body).schema.to_string()
    return found


@pytest.mark.timeout(600)
async def test_same_values_in_other_types_are_the_same_answers(serve: Serve, artifacts: Path, tmp_path: Path) -> None:
    client = await serve()
    expected = await answers(client)
    plain = tmp_path / "plain"
    await asyncio.to_thread(shutil.copytree, artifacts, plain)
    for what, edit in VARIANTS.items():
        await asyncio.to_thread(shutil.rmtree, artifacts)
        await asyncio.to_thread(shutil.copytree, plain, artifacts)
        await asyncio.to_thread(rewrite, artifacts, edit)
        refreshed = await client.app[appkeys.SNAPSHOTS].refresh()
        assert (refreshed.is_changed, refreshed.fault) == (True, None), what
        found = await answers(client)
        for path, answer in expected.items():
            assert found[path] == answer, (what, path)


def spark(path: Path) -> None:
    """A folder of parts in the place of a file."""
    whole = path.read_bytes()
    path.unlink()
    path.mkdir()
    (path / "_SUCCESS").touch()
    (path / "part-00000-c000.snappy.parquet").write_bytes(whole)


@pytest.mark.parametrize("name", [PREDICTIONS, ODDS, FEATURES])
@pytest.mark.parametrize("has_manifest", [True, False])
async def test_folder_of_parts_is_refused_by_name(
    serve: Serve,
    artifacts: Path,
    name: str,
    has_manifest: bool,  # a parameter of the test
) -> None:
    client = await serve()
    spark(artifacts / name)
    if has_manifest:
        manifest = (artifacts / MANIFEST).read_text().replace('"seed": 0', '"seed": 1')
        (artifacts / MANIFEST).write_text(manifest)
    else:
        (artifacts / MANIFEST).unlink()
        client = await serve()
    snapshots = client.app[appkeys.SNAPSHOTS]
    await snapshots.refresh()
    assert snapshots.fault is not None
    assert snapshots.fault.endswith(f"{name} is a folder of parts; write it as one file")
    assert snapshots.fault.startswith("artifacts cannot be opened: ")
