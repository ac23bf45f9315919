"""Match cards over HTTP: the money beside them, filters, order and pages."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from app.domain import odds as odds_of
from app.domain.odds import Devig
from app.domain.roi import PRIOR_BETS
from app.domain.staking import kelly_stake
from app.schemas import CardsOut
from app.store.contract import ODDS, PREDICTIONS, ROI_BY_REGION
from tests.build_artifacts import stamp, write_artifacts
from tests.serving import Client, Serve, json_of

SIDES = ("home", "draw", "away")


async def cards_of(client: Client, **params: object) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await json_of(client, "/predict/cards/", **params))["items"]
    return items


def written(folder: Path) -> dict[int, dict[str, Any]]:
    """Rows of predictions and odds as the pipeline wrote them, by match."""
    rows = {row["match_id"]: row for row in pq.read_table(folder / PREDICTIONS).to_pylist()}
    for row in pq.read_table(folder / ODDS).to_pylist():
        rows[row["match_id"]] |= row
    return rows


async def test_money_of_a_card_is_what_the_domain_says(client: Client, artifacts: Path) -> None:
    """Computed here again from the files, one match at a time."""
    rows = written(artifacts)
    listed = CardsOut.model_validate_json(await (await client.get("/predict/cards/")).read())
    with_odds = [card for card in listed.items if card.money]
    assert {card.match_id for card in with_odds} == {match for match, row in rows.items() if "odds_home" in row}
    for card in with_odds:
        row, money = rows[card.match_id], card.money
        assert money is not None
        prices = np.array([[row[f"odds_{side}"] for side in SIDES]])
        edges = odds_of.edge(np.array([[row[f"proba_{side}"] for side in SIDES]]), prices)
        index, best = odds_of.best_edge(edges)
        assert [money.edge_home, money.edge_draw, money.edge_away] == pytest.approx(edges[0])
        assert (money.best_outcome, money.best_edge) == (SIDES[index[0]], pytest.approx(best[0]))
        assert list(money.fair.model_dump().values()) == pytest.approx(odds_of.fair(prices)[0])
        assert money.is_value == (best[0] >= 0.05)
        assert money.kelly_stake == pytest.approx(kelly_stake(best, prices[:, index[0]])[0])


async def test_profit_counts_only_value_bets_that_could_have_been_made(client: Client, artifacts: Path) -> None:
    """In sample, unfinished or worthless: no profit; else the price less the stake, or the stake lost."""
    rows = written(artifacts)
    counted = 0
    for card in await cards_of(client):
        money, row = card["money"], rows[card["match_id"]]
        if money is None:
            continue
        if not money["is_value"] or card["in_sample"] or card["status"] != "finished":
            assert money["profit"] is None
            continue
        counted += 1
        is_won = money["best_outcome"] == card["outcome"]
        assert money["profit"] == pytest.approx(row[f"odds_{money['best_outcome']}"] - 1 if is_won else -1)
    assert counted > 5


async def test_price_from_after_the_kickoff_settles_nothing(serve: Serve, tmp_path: Path) -> None:
    def too_late(odds: pa.Table) -> pa.Table:
        late = pa.array([datetime(2027, 1, 1, tzinfo=UTC)] * len(odds), pa.timestamp("us", "UTC"))
        return odds.set_column(odds.schema.get_field_index("captured_at"), "captured_at", late)

    folder = write_artifacts(tmp_path / "late", edit={ODDS: too_late})
    client = await serve(artifacts_uri=str(folder))
    assert all(card["money"]["profit"] is None for card in await cards_of(client) if card["money"])
    assert (await json_of(client, "/predict/roi/"))["n_bets"] == 0


@pytest.mark.parametrize("sort", ["kickoff", "-kickoff", "-edge"])
@pytest.mark.parametrize("limit", [1, 7, 20, 60, 61])
async def test_pages_joined_are_one_big_page(client: Client, sort: str, limit: int) -> None:
    whole = await cards_of(client, sort=sort, limit=1000)
    joined: list[dict[str, Any]] = []
    cursor: dict[str, object] = {}
    while True:
        page = await json_of(client, "/predict/cards/", sort=sort, limit=limit, **cursor)
        joined += page["items"]
        assert page["total"] == 60
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert joined == whole
    assert len(whole) == 60


async def test_order_is_what_was_asked(client: Client) -> None:
    kickoffs = [card["kickoff_utc"] for card in await cards_of(client)]
    assert kickoffs == sorted(kickoffs)
    edges = [card["money"]["best_edge"] if card["money"] else -2 for card in await cards_of(client, sort="-edge")]
    assert edges == sorted(edges, reverse=True)


FILTERS: list[tuple[dict[str, object], Any]] = [
    ({"region": "England"}, lambda card: card["region"] == "England"),
    ({"tournament": "Serie A"}, lambda card: card["tournament"] == "Serie A"),
    ({"status": "upcoming"}, lambda card: card["status"] == "upcoming"),
    ({"from": "2026-08-10T00:00:00Z"}, lambda card: card["kickoff_utc"] >= "2026-08-10T00:00:00"),
    ({"to": "2026-08-10T02:00:00+02:00"}, lambda card: card["kickoff_utc"] < "2026-08-10T00:00:00"),
    ({"min_edge": 0.1}, lambda card: card["money"] and card["money"]["best_edge"] >= 0.1),
    ({"q": "sCOTLÁND home 1"}, lambda card: "Scotland Home 1" in card["home_team"]),
    ({"q": "100%_'; --"}, lambda _: False),
]


@pytest.mark.parametrize(("params", "passes"), FILTERS, ids=[str(params) for params, _ in FILTERS])
async def test_filter_keeps_exactly_what_passes(client: Client, params: dict[str, object], passes: Any) -> None:
    expected = [card for card in await cards_of(client) if passes(card)]
    found = await json_of(client, "/predict/cards/", **params)
    assert found["items"] == expected
    assert found["total"] == len(expected)


@pytest.mark.parametrize(
    "params",
    [
        {"limit": "0"},
        {"limit": "1001"},
        {"sort": "name"},
        {"status": "never"},
        {"from": "2026-08-10T00:00:00"},
        {"min_edge": "NaN"},
        {"regoin": "England"},
        {"cursor": "nonsense"},
        {"cursor": "WzEsMiwzXQ"},
    ],
    ids=str,
)
async def test_wrong_parameter_is_named(client: Client, params: dict[str, str]) -> None:
    response = await client.get("/predict/cards/", params=params)
    body = await response.json()
    assert (response.status, body["code"]) == (422, "invalid-request")
    assert next(iter(params)) in body["detail"]


async def test_cursor_of_another_order_is_refused(client: Client) -> None:
    cursor = (await json_of(client, "/predict/cards/", limit=5))["next_cursor"]
    response = await client.get("/predict/cards/", params={"sort": "-edge", "limit": "5", "cursor": cursor})
    assert response.status == 422


def write_region_roi(folder: Path, rows: list[tuple[str, str, int, float]]) -> None:
    """Rows of region, settled until, bets so far and ROI so far."""
    table = pa.Table.from_pylist(
        [
            {
                "region": region,
                "settled_until": until,
                "n_matches": n_bets,
                "n_bets": n_bets,
                "n_wins": n_bets // 3,
                "hit_rate": (n_bets // 3) / n_bets,
                "staked": float(n_bets),
                "profit": n_bets * roi_pct / 100,
                "roi_pct": roi_pct,
                "roi_ci_low": roi_pct - 10,
                "roi_ci_high": roi_pct + 10,
            }
            for region, until, n_bets, roi_pct in rows
        ]
    )
    pa_csv.write_csv(table, folder / ROI_BY_REGION)
    stamp(folder)


async def test_region_roi_of_a_card_knows_nothing_later_than_its_kickoff(serve: Serve, artifacts: Path) -> None:
    """The newest row settled by the kick-off counts, drawn towards the ROI of all regions at that time."""
    early, late = "2026-08-10T00:00:00+00:00", "2026-08-15T00:00:00+00:00"
    write_region_roi(
        artifacts, [("England", early, 100, 12.0), ("Italy", early, 300, -4.0), ("England", late, 200, -30.0)]
    )
    client = await serve()
    overall_early = (100 * 12.0 + 300 * -4.0) / 400
    overall_late = (200 * -30.0 + 300 * -4.0) / 500
    for card in await cards_of(client, region="England"):
        found = card["region_roi"]
        if card["kickoff_utc"] < early:
            assert found is None
        elif card["kickoff_utc"] < late:
            expected = (100 * 12.0 + PRIOR_BETS * overall_early) / (100 + PRIOR_BETS)
            assert (found["n_bets"], found["roi_pct"]) == (100, pytest.approx(expected))
            assert found["ci_low"] < found["roi_pct"] < found["ci_high"]
        else:
            expected = (200 * -30.0 + PRIOR_BETS * overall_late) / (200 + PRIOR_BETS)
            assert (found["n_bets"], found["roi_pct"]) == (200, pytest.approx(expected))


async def test_min_region_roi_leaves_out_regions_with_too_few_bets(serve: Serve, artifacts: Path) -> None:
    start = "2026-01-01T00:00:00+00:00"
    write_region_roi(
        artifacts, [("England", start, 19, 50.0), ("Italy", start, 400, 9.0), ("Scotland", start, 400, -9.0)]
    )
    client = await serve()
    found = await cards_of(client, min_region_roi=0)
    assert {card["region"] for card in found} == {"Italy"}
    england = (await cards_of(client, region="England"))[0]["region_roi"]
    assert (england["n_bets"], england["roi_pct"], england["ci_low"]) == (19, None, None)


@pytest.mark.parametrize("method", Devig)
async def test_fair_probabilities_are_those_of_the_method_asked_for(client: Client, method: Devig) -> None:
    page = await json_of(client, "/predict/cards/", devig=method.value, sort="-edge")
    assert page["devig"] == method.value
    priced = [card["money"] for card in page["items"] if card["money"]]
    found = np.array([[money["fair"][side] for side in SIDES] for money in priced])
    odds = np.array([[money["odds"][side] for side in SIDES] for money in priced])
    assert found == pytest.approx(odds_of.fair(odds, method))
    assert len(priced) == (await json_of(client, "/predict/odds/"))["count"] < len(page["items"])


async def test_another_method_changes_the_fair_columns_alone(client: Client) -> None:
    power, shin = [await cards_of(client, devig=method) for method in ("power", "shin")]
    assert power != shin
    for card in (*power, *shin):
        if card["money"]:
            del card["money"]["fair"]
    assert power == shin


async def test_age_of_odds_is_that_at_kickoff_or_when_the_cards_were_made(client: Client) -> None:
    page = CardsOut.model_validate_json(await (await client.get("/predict/cards/")).read())
    ages = {"finished": 86_400.0}
    for card in page.items:
        if card.money:
            until = min(card.kickoff_utc, page.snapshot.built_at)
            assert card.money.odds_age_s == (until - card.money.captured_at).total_seconds()
            assert card.money.odds_age_s == ages.get(card.status, card.money.odds_age_s)


async def test_match_of_teams_without_history_is_no_value_bet(serve: Serve, tmp_path: Path) -> None:
    def newcomers(predictions: pa.Table) -> pa.Table:
        n = pa.array([3 if i % 2 else 12 for i in range(len(predictions))], pa.int16())
        return predictions.append_column("n_history_home", n).append_column("n_history_away", pa.nulls(len(n), n.type))

    client = await serve(artifacts_uri=str(write_artifacts(tmp_path / "new", edit={PREDICTIONS: newcomers})))
    cards = await cards_of(client)
    known, unknown = cards[0::2], cards[1::2]
    assert {card["too_little_history"] for card in known} == {False}
    assert {card["too_little_history"] for card in unknown} == {True}
    money = [card["money"] for card in unknown if card["money"]]
    assert max(each["best_edge"] for each in money) > 0.05
    assert {(each["is_value"], each["kelly_stake"], each["profit"]) for each in money} == {(False, 0.0, None)}
    assert any(card["money"]["is_value"] for card in known if card["money"])
