"""Match cards over HTTP: the money beside them, filters, order and pages."""

from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from app import appkeys
from app.artifacts.contract import ODDS, PREDICTIONS, ROI_BY_REGION
from app.domain import odds as odds_of
from app.domain.roi import PRIOR_BETS
from app.domain.staking import kelly_stake
from app.domain.vocabulary import Devig
from app.schemas import CardsOut
from app.store import cards, selection
from app.store.selection import Selection
from tests.support.build_artifacts import NOW, stamp, write_artifacts
from tests.support.serving import Client, Serve, json_of

SIDES = ("home", "draw", "away")
UTC_TIMES = pa.timestamp("us", "UTC")


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
        late = pa.array([NOW] * len(odds), pa.timestamp("us", "UTC"))  # after every kick-off that has a result
        return odds.set_column(odds.schema.get_field_index("captured_at"), "captured_at", late)

    folder = write_artifacts(tmp_path / "late", edit={ODDS: too_late})
    client = await serve(artifacts_uri=str(folder))
    assert all(card["money"]["profit"] is None for card in await cards_of(client) if card["money"])
    assert (await json_of(client, "/predict/roi/"))["n_bets"] == 0


@pytest.fixture
async def crowded(serve: Serve, tmp_path: Path) -> Client:
    """Sixty matches at three kick-offs, with five different prices: most keys are equal."""

    def three_times(table: pa.Table) -> pa.Table:
        kickoffs = table["kickoff_utc"].to_pylist()
        return table.set_column(1, "kickoff_utc", pa.array([kickoffs[n // 20 * 20] for n in range(60)], UTC_TIMES))

    def five_prices(table: pa.Table) -> pa.Table:
        for side in SIDES:
            place = table.schema.get_field_index(f"odds_{side}")
            table = table.set_column(place, f"odds_{side}", pa.array([2.0 + n % 5 for n in range(len(table))]))
        return table

    def three_chances(table: pa.Table) -> pa.Table:
        table = three_times(table)
        for side, proba in zip(SIDES, (0.5, 0.3, 0.2), strict=True):
            place = table.schema.get_field_index(f"proba_{side}")
            table = table.set_column(place, f"proba_{side}", pa.array([proba] * len(table)))
        place = table.schema.get_field_index("predicted_class")
        return table.set_column(place, "predicted_class", pa.array([0] * len(table), pa.int8()))

    edit = {PREDICTIONS: three_chances, ODDS: five_prices}
    return await serve(artifacts_uri=str(write_artifacts(tmp_path / "crowded", edit=edit)))


@pytest.fixture(params=["as few rows lie", "as many rows lie"])
async def laid_out(request: pytest.FixtureRequest, crowded: Client, monkeypatch: pytest.MonkeyPatch) -> Client:
    """Pages are also found and read as they are of a large table: the best seven apart, rows by the index."""
    snapshot = crowded.app[appkeys.SNAPSHOTS].current
    assert snapshot is not None
    if request.param == "as many rows lie":
        monkeypatch.setattr(cards, "_FAR_APART", 0)
        best = "CREATE OR REPLACE TABLE best_cards AS FROM cards ORDER BY edge_rank DESC, match_id DESC LIMIT 7"
        await snapshot.database.run(lambda cursor: cursor.execute(best))
    return crowded


@pytest.mark.timeout(600)
@examples(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sort=st.sampled_from(["kickoff", "-kickoff", "edge", "-edge"]),
    limits=st.lists(st.integers(1, 25), min_size=1, max_size=5),
    region=st.sampled_from([None, ["England"], ["England", "Italy"]]),
    min_edge=st.sampled_from([None, 0, 0.6]),
)
async def test_pages_joined_are_one_big_page(
    laid_out: Client, sort: str, limits: list[int], region: list[str] | None, min_edge: float | None
) -> None:
    """Whatever the order, the filter and the sizes of pages, which may change on the way; most keys are equal."""
    query = {"sort": sort, "region": region, "min_edge": min_edge}
    params = [(name, str(each)) for name, value in query.items() for each in listed(value)]
    whole = await page_of(laid_out, params, limit=1000)
    joined: list[dict[str, Any]] = []
    cursor: list[tuple[str, str]] = []
    for limit in cycle(limits):
        page = await page_of(laid_out, params + cursor, limit=limit)
        assert page["total"] == len(whole["items"])
        joined += page["items"]
        if page["next_cursor"] is None:
            break
        cursor = [("cursor", page["next_cursor"])]
    assert joined == whole["items"]


async def page_of(client: Client, params: list[tuple[str, str]], *, limit: int) -> Any:
    response = await client.get("/predict/cards/", params=[*params, ("limit", str(limit))])
    assert response.status == 200, await response.text()
    return await response.json()


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


async def test_order_is_what_was_asked(client: Client) -> None:
    kickoffs = [card["kickoff_utc"] for card in await cards_of(client)]
    assert kickoffs == sorted(kickoffs)
    for sort, last in (("-edge", -2), ("edge", 99)):
        edges = [card["money"]["best_edge"] if card["money"] else last for card in await cards_of(client, sort=sort)]
        assert edges == sorted(edges, reverse=sort == "-edge")
        assert edges[-1] == last  # no odds: at the end, whichever way


FILTERS: list[tuple[dict[str, object], Any]] = [
    ({"region": "England"}, lambda card: card["region"] == "England"),
    ({"tournament": "Serie A"}, lambda card: card["tournament"] == "Serie A"),
    ({"status": "upcoming"}, lambda card: card["status"] == "upcoming"),
    ({"from": "2026-08-10T00:00:00Z"}, lambda card: card["kickoff_utc"] >= "2026-08-10T00:00:00"),
    ({"to": "2026-08-10T02:00:00+02:00"}, lambda card: card["kickoff_utc"] < "2026-08-10T00:00:00"),
    ({"from": "0001-01-01T00:00:00+14:00", "to": "9999-12-31T23:59:59-05:00"}, lambda _: True),
    ({"min_edge": 0.1}, lambda card: card["money"] and card["money"]["best_edge"] >= 0.1),
    ({"q": "sCOTLÁND home 1"}, lambda card: "Scotland Home 1" in card["home_team"]),
    ({"q": "100%_'; --"}, lambda _: False),
    ({"q": ""}, lambda _: True),
    ({"value": "true"}, lambda card: card["money"] and card["money"]["is_value"]),
    ({"value": "false"}, lambda _: True),
    ({"region": ["England", "Italy"]}, lambda card: card["region"] in {"England", "Italy"}),
    (
        {"status": ["live", "finished"], "region": "Italy"},
        lambda card: (card["status"], card["region"]) == ("finished", "Italy"),
    ),
    ({"tournament": ["Serie A", "Championship"]}, lambda card: card["tournament"] in {"Serie A", "Championship"}),
]


@pytest.mark.parametrize(("params", "passes"), FILTERS, ids=[str(params) for params, _ in FILTERS])
async def test_filter_keeps_exactly_what_passes(client: Client, params: dict[str, object], passes: Any) -> None:
    expected = [card for card in await cards_of(client) if passes(card)]
    asked = [(name, str(each)) for name, value in params.items() for each in listed(value)]
    found = await page_of(client, asked, limit=1000)
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


@pytest.mark.parametrize("changed", [{"sort": "-edge"}, {"region": "Italy"}, {"value": "true"}], ids=str)
async def test_cursor_of_another_question_is_refused(client: Client, changed: dict[str, str]) -> None:
    cursor = (await json_of(client, "/predict/cards/", limit=5))["next_cursor"]
    response = await client.get("/predict/cards/", params={"limit": "5", "cursor": cursor} | changed)
    assert response.status == 422
    assert "The cursor belongs to" in (await response.json())["detail"]


QUERIES = (
    {},
    {"devig": "shin"},
    {"q": "scotland"},
    {"q": "a", "region": "Italy"},
    {"region": "Italy", "status": "finished"},
    {"region": "Italy", "devig": "shin"},
)
WAYS = ((cards, "_FAR_APART"), (selection, "_INDEXED_ROWS"), (selection, "_INDEXED_FIXTURES"))


@pytest.mark.parametrize("sort", ["kickoff", "-kickoff", "edge", "-edge"])
@pytest.mark.parametrize(
    ("query", "other"),
    [(query, way) for query in QUERIES for way in WAYS if query.keys() - {"devig"} or way[0] is cards],
    ids=str,
)
async def test_way_to_the_rows_changes_no_answer(
    client: Client, monkeypatch: pytest.MonkeyPatch, sort: str, query: dict[str, object], other: tuple[Any, ...]
) -> None:
    """By the index or by a scan, rows by their places or by their matches."""
    plain = await json_of(client, "/predict/cards/", sort=sort, limit=500, **query)
    monkeypatch.setattr(*other, 0)
    assert plain["items"]
    # another limit, for the answer to the first is kept, and another filter, for so is the number of matches
    again = await json_of(client, "/predict/cards/", sort=sort, limit=499, **query | {"from": "1990-01-01T00:00:00Z"})
    assert (again["items"], again["total"]) == (plain["items"], plain["total"])


@pytest.mark.parametrize(
    "query",
    [{"region": "Atlantis"}, {"tournament": "Atlantis"}, {"q": "atlantis"}, {"q": "a", "region": "Atlantis"}],
    ids=str,
)
async def test_of_what_there_is_not_there_are_no_cards(client: Client, query: dict[str, str]) -> None:
    for more in ({}, {"sort": "-edge"}, {"status": "finished"}, {"devig": "shin"}):
        page = await json_of(client, "/predict/cards/", **query, **more)
        assert (page["items"], page["total"], page["next_cursor"]) == ([], 0, None)


async def test_number_of_matches_of_fixtures_is_that_of_their_cards(client: Client) -> None:
    """It is the same summed over fixtures or places, by the index or counted."""
    for query, regions in (("region=Italy&region=Scotland", {"Italy", "Scotland"}), ("q=scotland", {"Scotland"})):
        chosen = [card for card in await cards_of(client, limit=1000) if card["region"] in regions]
        for more in ("", "&from=1990-01-01T00:00:00Z"):
            page = await json_of(client, f"/predict/cards/?{query}{more}", limit=3)
            assert page["total"] == len(chosen) > 0


async def test_few_rows_come_by_an_index(client: Client) -> None:
    """Else a list of numbers written out would be compared with every row."""
    snapshot = client.app[appkeys.SNAPSHOTS].current
    assert snapshot is not None
    [(match_id, fixture_no)] = await snapshot.database.fetch("SELECT match_id, fixture_no FROM cards LIMIT 1")
    of_fixture, _params = selection.Fixtures(np.array([fixture_no]), n_matches=1, last=fixture_no).condition()
    for condition in (of_fixture, f"match_id IN ({match_id}, {match_id + 1})"):
        [(_kind, plan)] = await snapshot.database.fetch(f"EXPLAIN ANALYZE SELECT * FROM cards WHERE {condition}")
        assert "Index Scan" in plan


async def test_total_is_counted_once_a_filter(client: Client) -> None:
    """However many pages: the count of a filter costs more than a page."""
    page = await json_of(client, "/predict/cards/", limit=5, region="Italy")
    snapshot = client.app[appkeys.SNAPSHOTS].current
    assert snapshot is not None
    snapshot.count_cache.put(Selection(region=("Italy",)), 7)
    following = await json_of(client, "/predict/cards/", limit=5, region="Italy", cursor=page["next_cursor"])
    assert (page["total"], following["total"]) == (15, 7)


async def test_facets_count_what_choosing_otherwise_would_give(client: Client) -> None:
    cards = await cards_of(client, limit=1000)
    facets = await json_of(client, "/predict/facets/", region="Italy", status="finished", min_edge=0)
    passing = [card for card in cards if card["money"] and card["money"]["best_edge"] >= 0]
    finished = [card for card in passing if card["status"] == "finished"]
    both = [card for card in finished if card["region"] == "Italy"]
    assert facets["total"] == len(both)
    assert facets["n_value"] == sum(card["money"]["is_value"] for card in both)
    assert {row["region"]: row["n"] for row in facets["items"] if row["region"] != "England"} == {
        region: sum(card["region"] == region for card in finished) for region in ("Italy", "Scotland")
    }
    in_italy = [card for card in passing if card["region"] == "Italy"]
    assert {row["status"]: row["n"] for row in facets["statuses"]} == {
        status: sum(card["status"] == status for card in in_italy) for status in ("finished", "upcoming")
    }


async def test_facets_of_everything_add_up(client: Client) -> None:
    facets = await json_of(client, "/predict/facets/")
    assert facets["total"] == sum(row["n"] for row in facets["items"]) == sum(row["n"] for row in facets["statuses"])


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
    """The newest row settled by the kick-off counts, drawn towards the ROI of all regions at the kick-off."""
    early, between, late = (f"2026-08-{day}T00:00:00+00:00" for day in (10, 12, 15))
    rows = [
        ("England", early, 100, 12.0),
        ("Italy", early, 300, -4.0),
        ("Italy", between, 400, 20.0),  # England's own figure stands, that of all regions does not
        ("England", late, 200, -30.0),
    ]
    write_region_roi(artifacts, rows)
    client = await serve()
    ages = set()
    for card in await cards_of(client, region="England"):
        known = {region: (n_bets, roi) for region, until, n_bets, roi in rows if until <= card["kickoff_utc"]}
        ages.add(sum(until <= card["kickoff_utc"] for _, until, _, _ in rows))
        found = card["region_roi"]
        if not known:
            assert found is None
            continue
        n_bets, roi = known["England"]
        overall = sum(n * each for n, each in known.values()) / sum(n for n, _ in known.values())
        expected = (n_bets * roi + PRIOR_BETS * overall) / (n_bets + PRIOR_BETS)
        assert (found["n_bets"], found["roi_pct"]) == (n_bets, pytest.approx(expected))
        assert found["ci_low"] < found["roi_pct"] < found["ci_high"]
    assert ages == {0, 2, 3, 4}


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


async def test_card_without_odds_says_why(serve: Serve, tmp_path: Path) -> None:
    """The reason stands only where there are no odds; artifacts that know none give none."""

    def reasons(predictions: pa.Table) -> pa.Table:
        return predictions.append_column("no_odds_reason", pa.array(["no_opening_price"] * len(predictions)))

    client = await serve(artifacts_uri=str(write_artifacts(tmp_path / "why", edit={PREDICTIONS: reasons})))
    cards = await cards_of(client)
    assert {(card["money"] is None, card["no_odds_reason"]) for card in cards} == {
        (True, "no_opening_price"),
        (False, None),
    }
    plain = await serve(artifacts_uri=str(write_artifacts(tmp_path / "plain")))
    assert {card["no_odds_reason"] for card in await cards_of(plain)} == {None}
