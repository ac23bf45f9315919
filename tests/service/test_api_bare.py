"""Artifacts of a pipeline that writes the files of the contract and no manifest."""

import asyncio
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from app import appkeys
from app.artifacts.contract import FEATURES, MANIFEST, ODDS, PREDICTIONS
from app.artifacts.source import ArtifactsUnreachable, FileVersion
from app.artifacts.unversioned import StabilityCheck
from tests.support.build_artifacts import write_artifacts
from tests.support.serving import Client, Serve, json_of

BUILT = datetime(2026, 8, 20, 13, tzinfo=UTC)


def write_bare(folder: Path, **changes: object) -> Path:
    """Write the files where they lie, as a pipeline does that knows nothing of manifests."""
    write_artifacts(folder, **changes)  # type: ignore[arg-type]  # the builder's own arguments
    (folder / MANIFEST).unlink()
    return folder


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    """A folder of 60 matches without a manifest, whose files were written at BUILT."""
    folder = write_bare(tmp_path / "artifacts")
    for path in folder.rglob("*"):
        os.utime(path, (BUILT.timestamp(), BUILT.timestamp()))
    return folder


async def refresh(client: Client) -> None:
    await client.app[appkeys.SNAPSHOTS].refresh()


async def test_facts_that_only_a_manifest_knows_are_null(client: Client, artifacts: Path) -> None:
    """What can be told from the files is told: when they were written, and the newest result in them."""
    facts = (await json_of(client, "/predict/predictions/"))["snapshot"]
    assert (facts["has_manifest"], facts["source"], facts["simulated"], facts["stale"]) == (False, None, None, False)
    assert datetime.fromisoformat(facts["built_at"]) == BUILT
    table = await asyncio.to_thread(pq.read_table, artifacts / PREDICTIONS)
    newest = pc.max(table.filter(pc.equal(table["status"], "finished"))["kickoff_utc"]).as_py()
    assert datetime.fromisoformat(facts["data_until"]) == newest


async def test_two_processes_agree_on_a_folder_without_manifest(serve: Serve) -> None:
    first, second = [await (await serve()).get("/predict/cards/") for _ in range(2)]
    assert first.headers["ETag"] == second.headers["ETag"]


async def test_files_written_over_in_place_are_a_new_version(client: Client, artifacts: Path) -> None:
    """Whoever reads the old one reads it to the end, its files too."""
    async with client.app[appkeys.SNAPSHOTS].reading() as old:
        await asyncio.to_thread(write_bare, artifacts, n_matches=70, seed=3)
        await refresh(client)
        assert (await json_of(client, "/predict/predictions/"))["count"] == 70
        for view in ("predictions", "features"):
            assert await old.database.fetch(f"SELECT count(*) FROM {view}") == [(60,)]


async def test_nothing_new_opens_nothing_new(client: Client, artifacts: Path) -> None:
    snapshots = client.app[appkeys.SNAPSHOTS]
    before = snapshots.current
    assert not (await snapshots.refresh()).is_changed
    assert snapshots.current is before


def cut(name: str) -> Callable[[Path], None]:
    def cut_it(folder: Path) -> None:
        os.truncate(folder / name, (folder / name).stat().st_size // 2)

    return cut_it


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def wrong_schema(folder: Path) -> None:
    pq.write_table(pq.read_table(folder / ODDS).drop_columns(["bookmaker"]), folder / ODDS)


def wrong_sums(folder: Path) -> None:
    table = pq.read_table(folder / PREDICTIONS)
    doubled = pc.multiply(table["proba_home"], pa.scalar(0.5))
    at = table.column_names.index("proba_home")
    pq.write_table(table.set_column(at, "proba_home", doubled), folder / PREDICTIONS)


def doubled(folder: Path) -> None:
    table = pq.read_table(folder / FEATURES)
    pq.write_table(table.take([0, *range(len(table))]), folder / FEATURES)


@pytest.mark.parametrize(
    ("break_it", "why"),
    [
        (cut(PREDICTIONS), "predictions.parquet: "),
        (cut(FEATURES), "match_features.parquet: "),
        (remove(ODDS), "fonbet_odds.parquet: is not there"),
        (wrong_schema, "without bookmaker"),
        (wrong_sums, "do not sum to one"),
        (doubled, "match_id is repeated"),
    ],
    ids=["half-written predictions", "half-written features", "vanished", "wrong schema", "wrong sums", "doubled"],
)
async def test_broken_files_never_replace_good_ones(
    client: Client, artifacts: Path, break_it: Callable[[Path], None], why: str
) -> None:
    await asyncio.to_thread(break_it, artifacts)
    await refresh(client)
    served = await json_of(client, "/predict/predictions/")
    assert (served["count"], served["snapshot"]["stale"]) == (60, True)
    ready = await json_of(client, "/readyz", need="reads")
    assert why in ready["parts"][0]["detail"]
    assert client.app[appkeys.SNAPSHOTS].fault_kind == "broken"


async def test_a_manifest_that_appears_is_the_authority(client: Client, artifacts: Path) -> None:
    await asyncio.to_thread(write_artifacts, artifacts, n_matches=65)
    await refresh(client)
    facts = (await json_of(client, "/predict/predictions/"))["snapshot"]
    assert (facts["has_manifest"], facts["source"]) == (True, "simulated")


async def test_exactly_the_columns_of_the_contract_are_enough(serve: Serve, artifacts: Path) -> None:
    """Where it is not said which predictions are in sample, none counts as such."""
    table = await asyncio.to_thread(pq.read_table, artifacts / PREDICTIONS)
    await asyncio.to_thread(pq.write_table, table.drop_columns(["in_sample"]), artifacts / PREDICTIONS)
    client = await serve()
    items = (await json_of(client, "/predict/predictions/"))["items"]
    assert {item["in_sample"] for item in items} == {False}


async def test_files_that_keep_changing_are_not_taken() -> None:
    """Two listings in a row must be equal."""
    listings = iter(range(100))

    async def growing() -> Mapping[str, FileVersion]:
        return {PREDICTIONS: FileVersion(tag="0" * 64, size_bytes=min(next(listings), 20))}

    settling = StabilityCheck(settle_s=0)
    for _ in range(3):
        with pytest.raises(ArtifactsUnreachable, match="still being written"):
            await settling.version(growing)
    assert (await settling.version(growing)).files[PREDICTIONS].size_bytes == 20
