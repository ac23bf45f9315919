"""Reads as of an earlier time over HTTP: only what was known then, and the same for ever."""

import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from app.schemas import CardsOut
from tests.service.test_history import UPCOMING, build, changed
from tests.support.build_artifacts import NOW, write_artifacts
from tests.support.build_keys import a_key, as_setting
from tests.support.serving import Client, Serve, json_of

READS = [
    "/predict/cards/",
    "/predict/cards/?status=finished&sort=-edge&limit=5&devig=shin",
    "/predict/odds/?format=csv",
    "/predict/predictions/?format=arrow",
    "/predict/facets/",
    "/predict/region-roi/",
    "/predict/roi/?region=England&staking=kelly",
    "/predict/performance/",
    f"/predict/precomputed/{UPCOMING}",
    f"/predict/odds/{UPCOMING}/history",
]


def at(path: str, moment: datetime) -> str:
    return f"{path}{'&' if '?' in path else '?'}as_of={moment.isoformat().replace('+00:00', 'Z')}"


async def answered(client: Client, url: str) -> tuple[bytes, str]:
    async with client.get(url) as response:
        body = await response.read()
        assert response.status == 200, body
        assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        return body, response.headers["ETag"]


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    """Published at NOW, with a history."""
    build(tmp_path / "artifacts", NOW)
    return tmp_path / "artifacts"


async def test_answers_about_the_past_are_the_same_from_every_later_snapshot(
    serve: Serve, artifacts: Path, tmp_path: Path
) -> None:
    """Between the two snapshots a model predicts anew, odds move, a result is corrected and a price comes late."""
    before = await serve()
    moments = [NOW, NOW - timedelta(days=5)]
    urls = [at(path, moment) for moment in moments for path in READS if moment == NOW or str(UPCOMING) not in path]
    first = [await answered(before, url) for url in urls]
    await asyncio.to_thread(
        build,
        artifacts,
        NOW + timedelta(days=1),
        predictions=lambda table: changed(2**62 + 30, home_score=9, away_score=0, outcome=0)(
            changed(UPCOMING, proba_home=0.8, proba_draw=0.1, proba_away=0.1, predicted_class=0)(table)
        ),
        odds=lambda table: changed(2**62 + 30, odds_home=9.5)(changed(UPCOMING, odds_home=1.5)(table)),
    )
    after = await serve(touchline_home=tmp_path / "other")
    assert [await answered(after, url) for url in urls] == first
    for _, tag in first[:1]:
        async with after.get(urls[0], headers={"If-None-Match": tag}) as response:
            assert response.status == 304
    # while the present is another one
    now = [await json_of(client, "/predict/cards/") for client in (before, after)]
    assert now[0]["snapshot"]["id"] != now[1]["snapshot"]["id"]
    assert now[0]["items"] != now[1]["items"]


async def test_cards_of_then_hold_nothing_that_came_later(serve: Serve) -> None:
    moment = NOW - timedelta(days=3, hours=1)
    page = CardsOut.model_validate(await json_of(await serve(), at("/predict/cards/", moment)), strict=False)
    assert 0 < page.total < 60
    assert (page.snapshot.built_at, page.snapshot.stale) == (moment, False)
    assert page.snapshot.data_until is not None
    assert page.snapshot.data_until + timedelta(hours=2) <= moment
    for card in page.items:
        assert (card.outcome is not None) == (card.kickoff_utc + timedelta(hours=2) <= moment)
        assert card.money is None or card.money.captured_at <= moment
        assert card.money is None or card.money.profit is None or card.outcome is not None


async def test_region_roi_of_then_is_out_of_sample_for_what_follows(serve: Serve) -> None:
    client = await serve(min_bets=2)
    then = await json_of(client, at("/predict/region-roi/", NOW - timedelta(days=5)))
    now = await json_of(client, "/predict/region-roi/")
    assert (then["in_sample"], now["in_sample"]) == (False, True)
    assert sum(row["n_bets"] for row in then["items"]) < sum(row["n_bets"] for row in now["items"])
    for row in then["items"]:
        same = await json_of(client, at(f"/predict/roi/?region={row['region']}", NOW - timedelta(days=5)))
        names = ("n_bets", "profit", "roi_pct", "max_drawdown", "n_clv", "clv_pct")
        assert [same[name] for name in names] == pytest.approx([row[name] for name in names])


async def test_history_of_a_match_ends_then(serve: Serve, artifacts: Path) -> None:
    later = changed(UPCOMING, odds_home=1.5, captured_at=NOW + timedelta(hours=9))
    await asyncio.to_thread(build, artifacts, NOW + timedelta(days=1), odds=later)
    client = await serve()
    path = f"/predict/odds/{UPCOMING}/history"
    offers = [await json_of(client, url) for url in (at(path, NOW), at(path, NOW + timedelta(hours=10)), path)]
    assert [sum(row["kind"] == "offer" for row in found["odds"]) for found in offers] == [1, 2, 2]


async def test_time_that_is_not_over_yet_is_refused(client: Client) -> None:
    async with client.get(at("/predict/cards/", NOW + timedelta(minutes=1))) as response:
        problem = await response.json()
    assert (response.status, problem["code"]) == (422, "as-of-unknown")
    assert problem["known_until"] == NOW.isoformat()


async def test_artifacts_without_a_history_know_only_now(serve: Serve, tmp_path: Path) -> None:
    client = await serve(artifacts_uri=str(write_artifacts(tmp_path / "plain")))
    async with client.get(at("/predict/cards/", NOW)) as response:
        assert (response.status, (await response.json())["code"]) == (422, "as-of-unknown")


@pytest.mark.parametrize("word", ["yesterday", "2026-08-01", "1754000000"])
async def test_time_must_be_a_time(client: Client, word: str) -> None:
    async with client.get("/predict/roi/", params={"as_of": word}) as response:
        assert (response.status, (await response.json())["code"]) == (422, "invalid-request")


async def test_same_time_in_another_zone_is_the_same_answer(serve: Serve) -> None:
    client = await serve()
    utc, there = [
        await answered(client, f"/predict/roi/?as_of=2026-08-18T{clock}") for clock in ("12:00:00Z", "14:00:00%2B02:00")
    ]
    assert utc == there


async def test_pages_of_then_joined_are_one_page(serve: Serve) -> None:
    client = await serve()
    url = at("/predict/cards/?limit=7", NOW - timedelta(days=2))
    joined: list[Any] = []
    cursor = ""
    while cursor is not None:
        page = await json_of(client, url + (f"&cursor={cursor}" if cursor else ""))
        joined += page["items"]
        cursor = page["next_cursor"]
    whole = await json_of(client, at("/predict/cards/?limit=1000", NOW - timedelta(days=2)))
    assert joined == whole["items"]
    assert len(joined) == whole["total"] > 7


async def test_arrow_of_then_has_the_columns_of_now(serve: Serve) -> None:
    client = await serve()
    schemas = []
    for url in ("/predict/cards/?format=arrow", at("/predict/cards/?format=arrow", NOW - timedelta(days=2))):
        async with client.get(url) as response:
            schemas.append(pa.ipc.open_stream(await response.read()).schema)
    assert schemas[0] == schemas[1]


async def test_no_shared_cache_keeps_what_a_key_was_needed_for(serve: Serve) -> None:
    text, key = a_key()
    client = await serve(api_keys=as_setting(key))
    response = await client.get(at("/predict/odds/", NOW), headers={"X-API-Key": text})
    assert response.status == 200
    assert response.headers["Cache-Control"] == "private, max-age=31536000, immutable"
