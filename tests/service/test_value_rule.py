"""Cards, the pipeline's ROI tables and `/monitoring/quality` call the same matches value bets, with the same profit."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import SecretStr

from app import appkeys
from app.artifacts.contract import ODDS, PREDICTIONS
from app.ledger.ledger import Ledger
from app.ledger.rows import LedgerRow
from app.ledger.settlement import settle
from app.settings import Settings
from app.store.money import MoneyRules
from app.store.results import find_results
from tests.support.build_artifacts import NOW, Edit, write_artifacts
from tests.support.build_ledger import a_ledger_row
from tests.support.serving import Serve, json_of
from worker.pipeline.output.value_bets import settle_matches

SIDES = ("home", "draw", "away")
N_MATCHES = 200


class Bets(NamedTuple):
    """What one reader says of the settled value bets."""

    n: int
    n_wins: int
    profit: float


def with_random_history(seed: int) -> Edit:
    """Teams with 0 to 12 earlier matches, every tenth of them not counted."""

    def edit(predictions: pa.Table) -> pa.Table:
        rng = np.random.default_rng(seed)
        for side in ("home", "away"):
            counts = [None if rng.random() < 0.1 else int(rng.integers(0, 13)) for _ in range(len(predictions))]
            predictions = predictions.append_column(f"n_history_{side}", pa.array(counts, pa.int16()))
        return predictions

    return edit


@pytest.fixture
async def ledger(tmp_path: Path, database_url: str) -> AsyncIterator[Ledger]:
    async with Ledger.open(Settings(touchline_home=tmp_path, database_url=SecretStr(database_url))) as ledger:
        assert isinstance(ledger, Ledger)
        yield ledger


def ledger_rows(folder: Path) -> list[LedgerRow]:
    """The predictions of the artifacts as live ones, at the odds of the artifacts, just before kick-off."""
    matches = pq.read_table(folder / PREDICTIONS).to_pylist()
    odds = {row["match_id"]: row for row in pq.read_table(folder / ODDS).to_pylist()}
    return [
        a_ledger_row(
            match_id=match["match_id"],
            answered_at=odds[match["match_id"]]["captured_at"],
            **{f"proba_{side}": match[f"proba_{side}"] for side in SIDES},
            **{f"odds_{side}": odds[match["match_id"]][f"odds_{side}"] for side in SIDES},
        )
        for match in matches
        if match["match_id"] in odds and not match["in_sample"]
    ]


async def all_cards(client: Any) -> list[dict[str, Any]]:
    found = await json_of(client, "/predict/cards/", limit=1000)
    assert found["next_cursor"] is None
    return list(found["items"])


def bets_of_cards(cards: list[dict[str, Any]]) -> Bets:
    profits = [
        card["money"]["profit"]
        for card in cards
        if card["money"] and card["money"]["is_value"] and card["money"]["profit"] is not None
    ]
    return Bets(len(profits), sum(profit > 0 for profit in profits), sum(profits))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [0, 1, 2])
async def test_every_reader_takes_the_same_bets(
    serve: Serve, artifacts: Path, database_url: str, ledger: Ledger, seed: int
) -> None:
    write_artifacts(
        artifacts, n_matches=N_MATCHES, seed=seed, now=NOW, edit={PREDICTIONS: with_random_history(seed)}
    )  # fmt: skip
    client = await serve(database_url=database_url)
    for row in ledger_rows(artifacts):
        ledger.record(row)
    await ledger.flush()
    async with client.app[appkeys.SNAPSHOTS].reading() as snapshot:  # type: ignore[union-attr]  # it serves an application
        ids = pq.read_table(artifacts / PREDICTIONS)["match_id"].to_pylist()
        await settle(await ledger.database.pool(), await find_results(snapshot, ids), "s1", NOW)

    cards = await all_cards(client)
    (answered,) = (await json_of(client, "/monitoring/quality", days=3650))["items"]
    judged = await asyncio.to_thread(settle_matches, artifacts, NOW, MoneyRules())
    bets = judged.bets(0.05)
    profit = np.where(bets.won, bets.odds - 1, -1.0)

    by_cards = bets_of_cards(cards)
    money = answered["money"]
    assert by_cards.n > 20
    assert Bets(len(bets), int(bets.won.sum()), float(profit.sum())) == pytest.approx(by_cards, abs=1e-9)
    assert Bets(money["n_bets"], money["n_wins"], money["profit"]) == pytest.approx(by_cards, abs=1e-9)
    # the random matches are ones on which the rule matters
    large_edges = [card for card in cards if card["money"] and card["money"]["best_edge"] >= 0.05]
    assert any(card["too_little_history"] and not card["money"]["is_value"] for card in large_edges)
