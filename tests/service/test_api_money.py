"""ROI over HTTP: every figure computed here again from the cards."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.artifacts.contract import ODDS
from app.domain.odds import fair
from app.domain.roi import Z_95, summarise
from app.schemas import RegionRoiListOut, RoiOut
from tests.support.build_artifacts import write_artifacts
from tests.support.serving import Client, Serve, json_of

SIDES = ("home", "draw", "away")
FILTERS: list[dict[str, object]] = [
    {},
    {"region": "England"},
    {"min_edge": 0.15},
    {"status": "upcoming"},
    {"from": "2026-08-01T00:00:00Z", "to": "2026-08-14T00:00:00Z"},
    {"q": "nobody at all"},
]


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    """Enough matches for an interval."""
    return write_artifacts(tmp_path / "artifacts", n_matches=400, n_in_sample=50)


async def cards_of(client: Client, **params: object) -> list[dict[str, Any]]:
    return list((await json_of(client, "/predict/cards/", limit=1000, **params))["items"])


def is_settled(card: dict[str, Any]) -> bool:
    money = card["money"]
    return bool(money and money["is_value"] and card["status"] == "finished" and not card["in_sample"])


@pytest.mark.parametrize("staking", ["flat", "kelly"])
@pytest.mark.parametrize("params", FILTERS, ids=str)
async def test_roi_counts_exactly_the_filtered_settled_value_bets(
    client: Client, params: dict[str, object], staking: str
) -> None:
    settled = [card for card in await cards_of(client, **params) if is_settled(card)]
    found = RoiOut.model_validate(await json_of(client, "/predict/roi/", staking=staking, **params), strict=False)
    won = np.array([card["money"]["best_outcome"] == card["outcome"] for card in settled], dtype=bool)
    price = np.array([card["money"]["odds"][card["money"]["best_outcome"]] for card in settled])
    stake = np.array([1.0 if staking == "flat" else card["money"]["kelly_stake"] for card in settled])
    expected = summarise(stake, np.where(won, stake * (price - 1), -stake), won)
    for name in ("n_bets", "n_wins", "hit_rate", "staked", "profit", "roi_pct", "roi_ci_low", "roi_ci_high"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name)), name
    assert (found.max_drawdown, found.too_few) == (pytest.approx(expected.max_drawdown), expected.too_few)
    assert found.average_odds == (pytest.approx(price.mean()) if len(price) else None)
    assert found.ci_method == "normal"


async def test_closing_line_value_is_that_of_the_settled_bets(client: Client, artifacts: Path) -> None:
    """Computed here again from the published closing odds."""
    settled = [card for card in await cards_of(client) if is_settled(card)]
    published = {row["match_id"]: row for row in pq.read_table(artifacts / ODDS).to_pylist()}
    values = []
    for card in settled:
        side = card["money"]["best_outcome"]
        closing = np.array([[published[card["match_id"]][f"closing_{each}"] for each in SIDES]])
        values.append(fair(closing)[0][SIDES.index(side)] * card["money"]["odds"][side] - 1)
    found = RoiOut.model_validate(await json_of(client, "/predict/roi/"), strict=False)
    half = 100 * Z_95 * np.std(values, ddof=1) / np.sqrt(len(values))
    assert (found.n_clv, found.clv_pct) == (len(settled), pytest.approx(100 * np.mean(values)))
    assert (found.clv_ci_low, found.clv_ci_high) == pytest.approx((found.clv_pct - half, found.clv_pct + half))


async def test_bets_without_closing_odds_have_no_closing_line(serve: Serve, tmp_path: Path) -> None:
    def unclosed(odds: pa.Table) -> pa.Table:
        return odds.drop_columns([f"closing_{side}" for side in SIDES])

    folder = write_artifacts(tmp_path / "unclosed", n_matches=400, edit={ODDS: unclosed})
    found = await json_of(await serve(artifacts_uri=str(folder)), "/predict/roi/")
    assert (found["n_clv"], found["clv_pct"], found["clv_ci_low"]) == (0, None, None)
    assert found["n_bets"] > 20


@pytest.mark.parametrize("params", FILTERS, ids=str)
async def test_accuracies_are_those_of_the_same_matches_out_of_sample_with_odds(
    client: Client, params: dict[str, object]
) -> None:
    cards = await cards_of(client, **params)
    finished = [card for card in cards if card["status"] == "finished" and not card["in_sample"]]
    judged = [card for card in finished if card["money"]]
    assert params or len(judged) < len(finished)
    found = RoiOut.model_validate(await json_of(client, "/predict/roi/", **params), strict=False)
    favourites = []
    for card in judged:
        odds = card["money"]["odds"]
        favourites.append(min(odds, key=odds.__getitem__) == card["outcome"])
    assert (found.n_matches, found.n_predicted) == (len(cards), len(judged))
    assert found.accuracy == mean([card["hit"] for card in judged])
    assert found.accuracy_market == mean(favourites)
    assert found.accuracy_home == mean([card["outcome"] == "home" for card in judged])
    assert found.n_in_sample_excluded == sum(card["in_sample"] and card["outcome"] is not None for card in cards)
    assert found.n_open_value_bets == sum(
        card["status"] == "upcoming" and bool(card["money"]) and card["money"]["is_value"] for card in cards
    )


async def test_accuracy_of_matches_without_odds_has_no_market_beside_it(serve: Serve, tmp_path: Path) -> None:
    client = await serve(artifacts_uri=str(write_artifacts(tmp_path / "bare", odds_share=0)))
    finished = [c for c in await cards_of(client) if c["status"] == "finished" and not c["in_sample"]]
    found = RoiOut.model_validate(await json_of(client, "/predict/roi/"), strict=False)
    assert (found.n_predicted, found.accuracy_market) == (len(finished), None)
    assert found.accuracy == mean([card["hit"] for card in finished])
    assert found.accuracy_home == mean([card["outcome"] == "home" for card in finished])


def mean(values: list[bool]) -> object:
    return pytest.approx(sum(values) / len(values)) if values else None


async def test_too_few_bets_say_so_instead_of_a_number(serve: Serve) -> None:
    few = await json_of(await serve(min_bets=300), "/predict/roi/")
    assert (few["too_few"], few["roi_pct"], few["roi_ci_low"]) == (True, None, None)
    assert few["n_bets"] > 0
    enough = await json_of(await serve(min_bets=2), "/predict/roi/")
    assert enough["roi_ci_low"] < enough["roi_pct"] < enough["roi_ci_high"]


async def test_higher_threshold_makes_fewer_value_bets(serve: Serve) -> None:
    some = await json_of(await serve(value_edge=0.05), "/predict/roi/")
    fewer = await json_of(await serve(value_edge=0.2), "/predict/roi/")
    assert (some["value_edge"], fewer["value_edge"]) == (0.05, 0.2)
    assert 0 < fewer["n_bets"] < some["n_bets"]


async def test_region_roi_shows_the_newest_row_of_each_region(client: Client) -> None:
    listed = RegionRoiListOut.model_validate(await json_of(client, "/predict/region-roi/"), strict=False)
    assert [item.region for item in listed.items] == ["England", "Italy", "Scotland"]
    assert listed.bookmaker == "Bet365 (pre-match)"
    for item in listed.items:
        assert item.too_few == (item.n_bets < listed.min_bets)
        assert (item.roi_pct is None) == item.too_few
        over_cards = await json_of(client, "/predict/roi/", region=item.region)
        for name in ("n_bets", "hit_rate", "profit", "roi_pct", "roi_ci_low", "max_drawdown", "n_clv", "clv_pct"):
            assert getattr(item, name) == pytest.approx(over_cards[name]), name
    assert (listed.ci_method, listed.in_sample) == ("normal", True)
