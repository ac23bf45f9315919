"""Selections with nothing to count, be it matches, odds or results: every read answers, with the right zero."""

import csv
from collections.abc import Callable
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from app.artifacts.contract import ODDS, PREDICTIONS, ROI_BY_REGION
from tests.support.build_artifacts import NOW, Edit, stamp, write_artifacts
from tests.support.serving import Client, Serve, json_of

FORMATS = ["json", "ndjson", "csv", "arrow", "parquet"]


def none_upcoming(table: pa.Table) -> pa.Table:
    """Odds of played matches alone: those to come have no price yet."""
    return table.filter(pc.less(table["match_id"], 2**62 + 48))


def all_in_sample(table: pa.Table) -> pa.Table:
    at = table.column_names.index("in_sample")
    return table.set_column(at, "in_sample", pa.array([True] * len(table)))


def none_finished(table: pa.Table) -> pa.Table:
    nothing = {name: pa.nulls(len(table), table[name].type) for name in ("home_score", "away_score", "outcome")}
    for name, values in {**nothing, "status": pa.array(["postponed"] * len(table))}.items():
        table = table.set_column(table.column_names.index(name), name, values)
    return table


FOLDERS: dict[str, dict[str, Edit]] = {
    "none to come has odds": {ODDS: none_upcoming},
    "no odds at all": {ODDS: lambda table: table.slice(0, 0)},
    "all in sample": {PREDICTIONS: all_in_sample},
    "no result": {PREDICTIONS: none_finished},
    "as usual": {},
}
FILTERS: list[dict[str, str]] = [
    {},
    {"status": "upcoming"},
    {"status": "cancelled"},
    {"region": "Atlantis"},
    {"q": "Italy Home 2"},
    {"min_edge": "9"},
    {"value": "true"},
    {"min_region_roi": "999"},
    {"from": "2199-01-01T00:00:00Z"},
]
READS = ["/predict/cards/", "/predict/facets/", "/predict/roi/", "/predict/performance/", "/predict/cards/sql"]


async def edited(serve: Serve, tmp_path: Path, what: str) -> Client:
    return await serve(artifacts_uri=str(write_artifacts(tmp_path / "edited", edit=FOLDERS[what], with_history=True)))


@pytest.mark.parametrize("what", FOLDERS)
async def test_every_selection_of_every_folder_is_answered(serve: Serve, tmp_path: Path, what: str) -> None:
    client = await edited(serve, tmp_path, what)
    for path in READS:
        for params in FILTERS:
            response = await client.get(path, params=params)
            assert response.status == 200, (path, params, await response.text())


@pytest.mark.timeout(600)
@pytest.mark.parametrize("what", FOLDERS)
async def test_every_list_is_answered_in_every_form(serve: Serve, tmp_path: Path, what: str) -> None:
    client = await edited(serve, tmp_path, what)
    for path in ("cards", "facets", "predictions", "odds", "region-roi"):
        for name in FORMATS:
            for more in ("", f"&as_of={NOW:%Y-%m-%dT%H:%M:%SZ}", "&as_of=2026-01-01T00:00:00Z"):
                response = await client.get(f"/predict/{path}/?format={name}{more}")
                assert response.status == 200, (path, name, more, await response.text())


@pytest.mark.timeout(600)
@pytest.mark.parametrize("what", FOLDERS)
async def test_facets_count_the_cards(serve: Serve, tmp_path: Path, what: str) -> None:
    """Every count again from the cards themselves."""
    client = await edited(serve, tmp_path, what)
    for params in FILTERS:
        await compare_facets(client, params)


async def compare_facets(client: Client, params: dict[str, str]) -> None:
    facets = await json_of(client, "/predict/facets/", **params)
    cards = await all_cards(client, **params)
    assert facets["total"] == len(cards)
    assert facets["n_value"] == sum(bool(card["money"] and card["money"]["is_value"]) for card in cards)
    others = {name: value for name, value in params.items() if name != "status"}
    statuses = [card["status"] for card in await all_cards(client, **others)]
    assert facets["statuses"] == [{"status": each, "n": statuses.count(each)} for each in sorted(set(statuses))]
    anywhere = await all_cards(client, **{name: value for name, value in params.items() if name != "region"})
    assert sum(place["n"] for place in facets["items"]) == len(anywhere)


async def all_cards(client: Client, **params: object) -> list[dict[str, Any]]:
    return list((await json_of(client, "/predict/cards/", limit=1000, **params))["items"])


@pytest.mark.parametrize("what", FOLDERS)
async def test_roi_and_performance_of_nothing_are_zero_and_null(serve: Serve, tmp_path: Path, what: str) -> None:
    client = await edited(serve, tmp_path, what)
    for params in FILTERS[2:4]:
        roi = await json_of(client, "/predict/roi/", **params)
        assert (roi["n_matches"], roi["n_bets"], roi["n_predicted"], roi["n_open_value_bets"]) == (0, 0, 0, 0)
        assert (roi["profit"], roi["roi_pct"], roi["accuracy"], roi["hit_rate"]) == (0, None, None, None)
        series = await json_of(client, "/predict/performance/", **params)
        assert (series["n_bets"], series["n_judged"], series["curve"], series["regions"]) == (0, 0, [], [])
        assert sum(bar["n"] for bar in series["edge_bars"]) == 0


async def test_edges_are_those_of_matches_out_of_sample(serve: Serve, tmp_path: Path) -> None:
    """A model promises an edge on what it was trained on; the chart says that it leaves those matches out."""
    client = await serve(artifacts_uri=str(write_artifacts(tmp_path / "many", n_matches=200, n_in_sample=80)))
    cards = [card for card in await all_cards(client) if card["money"]]
    n_bars = sum(bar["n"] for bar in (await json_of(client, "/predict/performance/"))["edge_bars"])
    assert n_bars == sum(not card["in_sample"] for card in cards) < len(cards)


def blank(*names: str) -> Callable[[str], str]:
    """An edit of a CSV that empties columns in all rows."""

    def edit(text: str) -> str:
        header, *rows = csv.reader(StringIO(text))
        places = [header.index(name) for name in names]
        for row in rows:
            for place in places:
                row[place] = ""
        out = StringIO()
        csv.writer(out).writerows([header, *rows])
        return out.getvalue()

    return edit


OPTIONAL_MONEY = ("n_clv", "max_drawdown", "clv_pct", "clv_ci_low", "clv_ci_high")
NULLABLE_MONEY = ("hit_rate", "roi_pct", "roi_ci_low", "roi_ci_high")


@pytest.mark.parametrize("names", [OPTIONAL_MONEY, NULLABLE_MONEY, ("n_clv",), ("clv_pct",)], ids=str)
async def test_column_of_the_region_roi_that_is_empty_keeps_its_type(
    serve: Serve, tmp_path: Path, names: tuple[str, ...]
) -> None:
    whole = write_artifacts(tmp_path / "whole")
    types = await region_roi_types(await serve(artifacts_uri=str(whole)))
    path = whole / ROI_BY_REGION
    path.write_text(blank(*names)(path.read_text()))
    stamp(whole)
    client = await serve(artifacts_uri=str(whole))
    assert await region_roi_types(client) == types
    for row in (await json_of(client, "/predict/region-roi/"))["items"]:
        assert all(row[name] is None for name in names)
        assert datetime.fromisoformat(row["settled_until"]) == NOW
    for name in FORMATS:
        assert (await client.get(f"/predict/region-roi/?format={name}")).status == 200


async def region_roi_types(client: Client) -> dict[str, pa.DataType]:
    tables = []
    for name in ("arrow", "parquet"):
        body = await (await client.get(f"/predict/region-roi/?format={name}")).read()
        tables.append(pa.ipc.open_stream(body).read_all() if name == "arrow" else pq.read_table(pa.BufferReader(body)))
    assert tables[0].schema.types == tables[1].schema.types
    return {field.name: field.type for field in tables[0].schema}
