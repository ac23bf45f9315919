"""The series of the performance view: every figure computed here again from cards and ROI."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from app.artifacts.contract import ODDS
from app.domain import scoring
from app.schemas import PerformanceOut
from tests.support.build_artifacts import write_artifacts
from tests.support.serving import Client, Serve, json_of

FILTERS: list[dict[str, object]] = [{}, {"region": "England"}, {"min_edge": 0.15}, {"status": "upcoming"}]
SIDES = ("home", "draw", "away")


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    """Enough matches for an interval."""
    return write_artifacts(tmp_path / "artifacts", n_matches=600, n_in_sample=50)


async def performance(client: Client, **params: object) -> PerformanceOut:
    return PerformanceOut.model_validate(await json_of(client, "/predict/performance/", **params), strict=False)


async def judged_cards(client: Client, **params: object) -> list[dict[str, Any]]:
    cards = (await json_of(client, "/predict/cards/", limit=1000, **params))["items"]
    return [card for card in cards if card["status"] == "finished" and not card["in_sample"]]


@pytest.mark.parametrize("staking", ["flat", "kelly"])
@pytest.mark.parametrize("params", FILTERS, ids=str)
async def test_the_curve_ends_where_roi_says(client: Client, params: dict[str, object], staking: str) -> None:
    roi = await json_of(client, "/predict/roi/", staking=staking, **params)
    found = await performance(client, staking=staking, **params)
    assert found.n_bets == roi["n_bets"]
    if not roi["n_bets"]:
        assert found.curve == []
        return
    last = found.curve[-1]
    assert (last.n_bets, last.profit) == (roi["n_bets"], pytest.approx(roi["profit"]))
    assert max(point.drawdown for point in found.curve) == pytest.approx(roi["max_drawdown"])
    assert [point.day for point in found.curve] == sorted({point.day for point in found.curve})
    if staking == "flat":
        assert last.expected == pytest.approx(roi["mean_edge_pct"] / 100 * roi["n_bets"])
    for groups in (found.regions, found.edges):
        assert sum(group.n_bets for group in groups) <= roi["n_bets"]
    assert sum(group.profit for group in found.edges) == pytest.approx(roi["profit"])


@pytest.mark.parametrize("params", FILTERS, ids=str)
async def test_regions_are_judged_as_roi_judges_them(client: Client, params: dict[str, object]) -> None:
    found = await performance(client, **params)
    for group in found.regions:
        roi = await json_of(client, "/predict/roi/", **(params | {"region": group.name}))
        assert group.n_bets == roi["n_bets"] >= 30
        assert (group.roi_pct, group.roi_ci_low) == (pytest.approx(roi["roi_pct"]), pytest.approx(roi["roi_ci_low"]))
    rois = [group.roi_pct or 0 for group in found.regions]
    assert rois == sorted(rois, reverse=True)
    assert bool(found.regions) == ("status" not in params)


async def test_reliability_counts_all_three_outcomes_of_matches_out_of_sample(client: Client) -> None:
    cards = await judged_cards(client)
    proba = np.array([[card["probabilities"][side] for side in SIDES] for card in cards]).ravel()
    happened = np.array([[card["outcome"] == side for side in SIDES] for card in cards]).ravel().astype(float)
    found = await performance(client)
    assert found.n_judged == len(cards)
    for bin_ in found.reliability:
        inside = (proba >= bin_.low) & (proba < bin_.high)
        assert bin_.n == inside.sum() >= 20
        assert bin_.forecast == pytest.approx(proba[inside].mean())
        assert bin_.frequency == pytest.approx(happened[inside].mean())
        assert bin_.frequency_low < bin_.frequency < bin_.frequency_high


async def test_model_and_market_are_scored_on_the_same_matches(client: Client) -> None:
    cards = [card for card in await judged_cards(client) if card["money"]]
    outcome = np.array([SIDES.index(card["outcome"]) for card in cards])
    found = (await performance(client)).market
    assert found.n == len(cards)
    assert sum(n for _, _, n in found.cells) == 3 * len(cards)
    for scores, of in ((found.model, lambda card: card["probabilities"]), (found.market, lambda c: c["money"]["fair"])):
        assert scores is not None
        proba = np.array([[of(card)[side] for side in SIDES] for card in cards])
        assert scores.log_loss == pytest.approx(scoring.log_loss(proba, outcome))


async def test_the_threshold_parts_the_edges(client: Client) -> None:
    cards = (await json_of(client, "/predict/cards/", limit=1000))["items"]
    edges = [card["money"]["best_edge"] for card in cards if card["money"] and not card["in_sample"]]
    found = await performance(client)
    assert sum(bar.n for bar in found.edge_bars) == len(edges)
    value = [bar.n for bar in found.edge_bars if bar.low is not None and bar.low >= found.value_edge]
    assert sum(value) == sum(edge >= found.value_edge for edge in edges)


async def test_closing_line_value_is_the_edge_over_the_fair_closing_price(client: Client) -> None:
    found = await performance(client)
    assert found.closing.n == found.n_bets > 20
    assert found.closing.mean_pct is not None
    assert found.closing.ci_low is not None
    assert found.closing.ci_low < found.closing.mean_pct < 5
    assert sum(bar.n for bar in found.closing.bars) == found.closing.n


async def test_without_closing_odds_there_is_no_closing_line_value(serve: Serve, tmp_path: Path) -> None:
    def bare(table: pa.Table) -> pa.Table:
        return table.drop_columns([f"closing_{side}" for side in SIDES])

    client = await serve(artifacts_uri=str(write_artifacts(tmp_path / "bare", n_matches=200, edit={ODDS: bare})))
    found = await performance(client)
    assert found.n_bets > 0
    assert (found.closing.n, found.closing.mean_pct, found.closing.bars) == (0, None, [])


async def test_without_odds_only_the_model_is_judged(serve: Serve, tmp_path: Path) -> None:
    client = await serve(artifacts_uri=str(write_artifacts(tmp_path / "bare", n_matches=200, odds_share=0)))
    found = await performance(client)
    assert (found.n_bets, found.curve, found.market.n, found.market.model) == (0, [], 0, None)
    assert found.reliability
