"""Prices of several bookmakers over the API: each with its age and margin, the consensus, and edges from it."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.artifacts.contract import CONSENSUS, ODDS, PREDICTIONS, PRICES, ConsensusFile, ConsensusWeights
from app.domain.odds import fair
from app.domain.prices import MARKET_AVERAGE
from app.schemas import CardsOut
from dashboards.views.bets_table import build_row
from tests.support.build_artifacts import FIRST_ID, NOW, stamp, write_artifacts
from tests.support.serving import Serve, json_of

SIDES = ("home", "draw", "away")
UPCOMING = FIRST_ID + 50
BOOKS = {"Book 1": 3.0, "Book 2": 0.5}
MODEL, MARKET = 0.2, 0.9


def write_priced(folder: Path, *, with_history: bool = False) -> Path:
    """A folder with prices of three bookmakers and a fitted consensus; Book 3 is wrong about one match."""
    write_artifacts(folder, n_books=3, odds_share=1.0, with_history=with_history)
    rows = pq.read_table(folder / PRICES).to_pylist()
    for row in rows:
        if (row["match_id"], row["bookmaker"], row["kind"]) == (UPCOMING, "Book 3", "offer"):
            row["odds_home"] *= 4
    pq.write_table(pa.Table.from_pylist(rows, pq.read_schema(folder / PRICES)), folder / PRICES)
    since = NOW - timedelta(days=400)
    weights = ConsensusWeights(since=since, known_at=since, n=5000, model=MODEL, market=MARKET, books=BOOKS)
    (folder / CONSENSUS).write_text(ConsensusFile(windows=(weights,)).model_dump_json())
    stamp(folder, history_until=NOW if with_history else None)
    return folder


def offers(folder: Path, match_id: int) -> dict[str, list[float]]:
    return {
        row["bookmaker"]: [row[f"odds_{side}"] for side in SIDES]
        for row in pq.read_table(folder / PRICES).to_pylist()
        if row["match_id"] == match_id and row["kind"] == "offer"
    }


def expected_triples(books: Mapping[str, list[float]], model: list[float]) -> tuple[list[float], list[float]]:
    """Market and consensus, by the formulas of the documentation."""
    shares = {name: BOOKS.get(name, 1.0) for name in books}
    logs = sum(share * np.log(fair(np.array([books[name]]))[0]) for name, share in shares.items())
    market = np.exp(logs / sum(shares.values()))
    market /= market.sum()
    pooled = np.array(model) ** MODEL * market**MARKET
    return market.tolist(), (pooled / pooled.sum()).tolist()


def triple(values: Mapping[str, float]) -> list[float]:
    return [values[side] for side in SIDES]


@pytest.fixture
def priced(artifacts: Path) -> Path:
    """The served folder."""
    return write_priced(artifacts)


async def card_of(client: Any, match_id: int) -> dict[str, Any]:
    found = await json_of(client, "/predict/cards/", limit=1000)
    assert found["edge_from"] == "consensus"
    return next(card for card in found["items"] if card["match_id"] == match_id)


async def test_every_bookmaker_is_listed_with_age_margin_and_soundness(serve: Serve, priced: Path) -> None:
    client = await serve()
    found = await json_of(client, f"/predict/odds/{UPCOMING}/bookmakers")
    books = offers(priced, UPCOMING)
    listed = {item["bookmaker"]: item for item in found["items"] if item["kind"] == "offer"}
    assert set(listed) == {"Book 1", "Book 2", "Book 3", MARKET_AVERAGE}
    assert found["n_bookmakers"] == 3
    assert {name for name, item in listed.items() if not item["is_sound"]} == {"Book 3"}
    assert {name for name, item in listed.items() if not item["could_be_taken"]} == {MARKET_AVERAGE}
    for name, item in listed.items():
        assert triple(item["odds"]) == books[name]
        assert item["overround"] == pytest.approx(sum(1 / price for price in books[name]) - 1)
        captured = datetime.fromisoformat(item["captured_at"])
        assert item["age_s"] == max((NOW - captured).total_seconds(), 0)
    for place, side in enumerate(SIDES):
        best = max(("Book 1", "Book 2"), key=lambda name: books[name][place])
        assert [name for name, item in listed.items() if side in item["best_for"]] == [best]
    assert (await client.get(f"/predict/odds/{7}/bookmakers")).status == 404


async def test_cards_carry_three_triples_and_the_edge_comes_from_the_consensus(serve: Serve, priced: Path) -> None:
    client = await serve()
    card = await card_of(client, UPCOMING)
    books = offers(priced, UPCOMING)
    sound = {name: prices for name, prices in books.items() if name != "Book 3"}
    model = triple(card["probabilities"])
    market, consensus = expected_triples(sound, model)
    assert triple(card["market"]) == pytest.approx(market)
    assert triple(card["consensus"]) == pytest.approx(consensus)
    assert triple(card["model_minus_market"]) == pytest.approx(np.subtract(model, market).tolist())
    money = card["money"]
    odds = triple(money["odds"])
    assert [money[f"edge_{side}"] for side in SIDES] == pytest.approx((np.multiply(consensus, odds) - 1).tolist())
    assert [money[f"model_edge_{side}"] for side in SIDES] == pytest.approx((np.multiply(model, odds) - 1).tolist())
    assert money["best_edge"] == max(money[f"edge_{side}"] for side in SIDES)
    best = [max(books[name][i] for name in ("Book 1", "Book 2")) for i in range(3)]
    assert triple(money["best_odds"]) == best
    assert money["edge_at_best"] == pytest.approx(float((np.multiply(consensus, best) - 1).max()))


async def test_edge_from_model_restores_the_old_meaning(serve: Serve, priced: Path) -> None:
    client = await serve(edge_from="model")
    found = await json_of(client, "/predict/cards/", limit=1000)
    assert found["edge_from"] == "model"
    for card in found["items"]:
        for side in SIDES:
            assert card["money"][f"edge_{side}"] == card["money"][f"model_edge_{side}"]
        assert card["consensus"] is not None  # shown all the same


@pytest.mark.parametrize("left", [PRICES, CONSENSUS])
async def test_without_prices_or_consensus_all_is_as_before(serve: Serve, priced: Path, left: str) -> None:
    other = CONSENSUS if left == PRICES else PRICES
    (priced / other).unlink()
    stamp(priced)
    client = await serve()
    found = await json_of(client, "/predict/cards/", limit=1000)
    for card in found["items"]:
        model, odds = triple(card["probabilities"]), triple(card["money"]["odds"])
        assert [card["money"][f"edge_{side}"] for side in SIDES] == pytest.approx(
            (np.multiply(model, odds) - 1).tolist()
        )
        assert card["consensus"] is None or triple(card["consensus"]) == pytest.approx(model)
    # weights without a price are a consensus of nobody: the model's
    assert found["edge_from"] == ("model" if left == PRICES else "consensus")


async def test_a_contradicted_price_of_ones_own_bookmaker_is_no_bet(serve: Serve, priced: Path) -> None:
    table = pq.read_table(priced / ODDS)
    rows = [
        row | {"odds_away": row["odds_away"] * 3} if row["match_id"] == UPCOMING else row for row in table.to_pylist()
    ]
    pq.write_table(pa.Table.from_pylist(rows, table.schema), priced / ODDS)
    stamp(priced)
    client = await serve()
    card = await card_of(client, UPCOMING)
    assert (card["money"], card["no_odds_reason"]) == (None, "contradicted_price")


async def test_sql_has_the_prices(serve: Serve, priced: Path) -> None:
    client = await serve(sql_enabled=True)
    answer = await client.post("/sql", json={"sql": "SELECT count(*), count(DISTINCT bookmaker) FROM prices"})
    assert (await answer.json())["rows"] == [[len(pq.read_table(priced / PRICES)), 4]]


async def test_promises_are_those_of_the_cards(serve: Serve, priced: Path) -> None:
    client = await serve()
    performance = await json_of(client, "/predict/performance/")
    cards = (await json_of(client, "/predict/cards/", limit=1000))["items"]
    judged = [card for card in cards if card["outcome"] and not card["in_sample"] and not card["too_little_history"]]
    for name, edge in (("promise", "best_edge"), ("promise_at_best", "edge_at_best")):
        found = performance[name]
        assert found["n"] == len(judged) == sum(each["n"] for each in found["bins"])
        promised = sum(each["n"] * each["promised"] for each in found["bins"])
        assert promised == pytest.approx(sum(card["money"][edge] for card in judged))
    value = [card["money"]["profit_at_best"] for card in judged if card["money"]["is_value_at_best"]]
    assert performance["promise_at_best"]["n_value"] == len(value)
    if value:
        assert performance["promise_at_best"]["value_got"] == pytest.approx(sum(value) / len(value))


async def test_an_earlier_time_knows_only_its_prices(serve: Serve, artifacts: Path) -> None:
    write_priced(artifacts, with_history=True)
    client = await serve()
    match_id = FIRST_ID + 49
    captured = min(
        row["captured_at"] for row in pq.read_table(artifacts / PRICES).to_pylist() if row["match_id"] == match_id
    )
    kickoff = next(
        row["kickoff_utc"] for row in pq.read_table(artifacts / PREDICTIONS).to_pylist() if row["match_id"] == match_id
    )
    assert captured < kickoff
    for moment in (captured, captured - timedelta(seconds=1)):
        at = moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
        response = await client.get(f"/predict/odds/{match_id}/bookmakers", params={"as_of": at})
        known = (await response.json())["items"] if response.status == 200 else []
        if moment == captured:
            assert {item["kind"] for item in known} <= {"offer"}
        else:
            assert known == []


@pytest.mark.parametrize("edge_from", ["consensus", "model"])
async def test_row_of_the_page_s_table_is_of_one_probability(serve: Serve, priced: Path, edge_from: str) -> None:
    """The price, the fair price and both edges agree, whoever's probabilities the edge comes from."""
    client = await serve(artifacts_uri=str(priced), edge_from=edge_from, value_edge=0.0)
    body = await (await client.get("/predict/cards/?value=true&limit=200")).read()
    rows = [row for card in CardsOut.model_validate_json(body).items if (row := build_row(card, UTC)) is not None]
    assert rows
    for row in rows:
        assert row["Edge %"] == pytest.approx(100 * (row["Odds"] / row["Fair price"] - 1))
        if row["Best price"] is not None:
            assert row["Edge at best %"] == pytest.approx(100 * (row["Best price"] / row["Fair price"] - 1))
