"""The ledger is settled by real artifacts in a real database, corrected by later ones, and scored over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import SecretStr

from app import appkeys
from app.artifacts.contract import ODDS, PREDICTIONS
from app.domain.outcomes import Outcome
from app.domain.results import MatchResult
from app.ledger.ledger import Ledger
from app.ledger.rows import LedgerRow, ShadowRow
from app.ledger.settlement import predicted_matches, settle
from app.settings import Settings
from app.store.results import find_results
from tests.support.build_artifacts import FIRST_ID, NOW, write_artifacts
from tests.support.build_ledger import a_ledger_row, a_shadow_row
from tests.support.serving import Serve, json_of, until

N_FINISHED, N = 48, 60
KICKOFF = datetime(2026, 8, 1, 14, tzinfo=UTC)
RESULT = MatchResult(7, KICKOFF, True, Outcome.HOME, 2, 1, (2.0, 3.5, 4.0))


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return Settings(touchline_home=tmp_path, database_url=SecretStr(database_url))


@pytest.fixture
async def ledger(settings: Settings) -> AsyncIterator[Ledger]:
    async with Ledger.open(settings) as ledger:
        assert isinstance(ledger, Ledger)
        yield ledger


async def write(ledger: Ledger, *rows: LedgerRow) -> asyncpg.Pool:
    for row in rows:
        ledger.record(row)
    await ledger.flush()
    return await ledger.database.pool()


async def revisions(pool: asyncpg.Pool) -> list[tuple[Any, ...]]:
    query = "SELECT revision, outcome, home_score, snapshot_id FROM prediction_settlements ORDER BY ledger_id, revision"
    return [tuple(row) for row in await pool.fetch(query)]


async def test_a_result_settles_every_row_of_its_match_once(ledger: Ledger) -> None:
    pool = await write(ledger, a_ledger_row(), a_ledger_row(), a_ledger_row(match_id=8))
    assert await settle(pool, [RESULT], "s1", NOW) == 2
    assert await settle(pool, [RESULT], "s2", NOW + timedelta(days=1)) == 0
    assert await revisions(pool) == [(1, 0, 2, "s1")] * 2


async def test_a_corrected_result_supersedes_and_the_first_stays(ledger: Ledger) -> None:
    pool = await write(ledger, a_ledger_row())
    corrected = replace(RESULT, outcome=Outcome.DRAW, home_score=1)
    withdrawn = replace(RESULT, outcome=None, home_score=None, away_score=None, closing=None)
    for day, result in enumerate([RESULT, corrected, withdrawn, withdrawn]):
        await settle(pool, [result], f"s{day}", NOW + timedelta(days=day))
    assert await revisions(pool) == [(1, 0, 2, "s0"), (2, 1, 1, "s1"), (3, None, None, "s2")]
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await pool.execute("UPDATE prediction_settlements SET outcome = 2")


async def test_older_artifacts_do_not_take_a_correction_back(ledger: Ledger) -> None:
    pool = await write(ledger, a_ledger_row())
    await settle(pool, [replace(RESULT, outcome=Outcome.AWAY)], "new", NOW)
    assert await settle(pool, [RESULT], "old", NOW - timedelta(days=1)) == 0


async def test_a_match_without_a_result_settles_nothing(ledger: Ledger) -> None:
    pool = await write(ledger, a_ledger_row())
    assert await settle(pool, [replace(RESULT, outcome=None), replace(RESULT, match_id=99)], "s1", NOW) == 0
    assert await settle(pool, [], "s1", NOW) == 0


async def test_processes_that_settle_at_the_same_time_settle_once(ledger: Ledger) -> None:
    pool = await write(ledger, *[a_ledger_row() for _ in range(20)])
    settled = await asyncio.gather(*[settle(pool, [RESULT], f"s{n}", NOW) for n in range(3)])
    assert sorted(settled) == [0, 0, 20]


async def test_predicted_matches_come_once_each_in_portions(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.ledger.settlement.PORTION", 2)
    pool = await write(ledger, *[a_ledger_row(match_id=n % 5) for n in range(10)])
    assert [portion async for portion in predicted_matches(pool)] == [[0, 1], [2, 3], [4]]


async def test_a_snapshot_tells_results_and_closing_prices(serve: Serve) -> None:
    client = await serve()
    async with client.app[appkeys.SNAPSHOTS].reading() as snapshot:  # type: ignore[union-attr]  # it serves an application
        found = {
            each.match_id - FIRST_ID: each for each in await find_results(snapshot, range(FIRST_ID, FIRST_ID + 99))
        }
    assert found.keys() == set(range(N))
    assert all(found[n].outcome is not None for n in range(N_FINISHED))
    assert sum(found[n].closing is not None for n in range(N_FINISHED)) > N_FINISHED / 2
    assert (found[59].outcome, found[59].home_score, found[59].closing) == (None, None, None)


async def test_artifacts_without_closing_prices_settle_too(serve: Serve, artifacts: Path) -> None:
    def without(table: pa.Table) -> pa.Table:
        return table.drop_columns([name for name in table.column_names if name.startswith("closing")])

    write_artifacts(artifacts, edit={ODDS: without})
    client = await serve()
    async with client.app[appkeys.SNAPSHOTS].reading() as snapshot:  # type: ignore[union-attr]
        (found,) = await find_results(snapshot, [FIRST_ID])
    assert found.outcome is not None
    assert found.closing is None


async def n_settled(pool: asyncpg.Pool, condition: str = "true") -> int:
    return int(await pool.fetchval(f"SELECT count(*) FROM prediction_settlements WHERE {condition}"))


def rows_before_kickoff(artifacts: Path) -> list[LedgerRow]:
    """A prediction of every match of the artifacts, ten minutes before it began."""
    matches = pq.read_table(artifacts / PREDICTIONS).to_pylist()
    return [
        a_ledger_row(
            match_id=match["match_id"],
            task_id=f"t{match['match_id']}",
            answered_at=match["kickoff_utc"] - timedelta(minutes=10),
            odds_home=3.0,
            odds_draw=3.5,
            odds_away=3.2,
        )
        for match in matches
    ]


def shadows_of(rows: list[LedgerRow]) -> list[ShadowRow]:
    return [a_shadow_row(task_id=row.task_id, match_id=row.match_id, computed_at=row.answered_at) for row in rows]


@pytest.mark.timeout(600)
async def test_quality_of_what_a_new_snapshot_settles(serve: Serve, artifacts: Path, database_url: str) -> None:
    client = await serve(database_url=database_url)
    ledger = client.app[appkeys.LEDGER]  # type: ignore[union-attr]
    rows = rows_before_kickoff(artifacts)
    late = replace(a_ledger_row(match_id=FIRST_ID, proba_home=1.0), answered_at=NOW + timedelta(days=90))
    pool = await write(ledger, *rows, late)
    await ledger.store_shadows(shadows_of(rows))
    # the same artifacts, built a day later: the process that opens them settles
    write_artifacts(artifacts, now=NOW + timedelta(hours=1))
    await client.app[appkeys.SNAPSHOTS].refresh()  # type: ignore[union-attr]

    async def is_settled() -> bool:
        return await n_settled(pool) == N_FINISHED + 1

    await until(is_settled, timeout_s=60)
    found = await json_of(client, "/monitoring/quality", days=3650)
    assert (found["state"], found["n_late"], found["n_waiting"]) == ("ok", 1, N - N_FINISHED)
    assert 0 <= found["settled_age_s"] < 60
    (answered, shadow), (comparison,) = found["items"], found["comparisons"]
    outcomes = np.array([match["outcome"] for match in pq.read_table(artifacts / PREDICTIONS).to_pylist()[:N_FINISHED]])
    expected = -np.log(np.array([0.5, 0.3, 0.2])[outcomes.astype(int)]).mean()
    assert (answered["role"], answered["n"], answered["log_loss"]["value"]) == (
        "answered", N_FINISHED, pytest.approx(expected),
    )  # fmt: skip
    assert answered["ece_floor"] == pytest.approx(floor_of_one_forecast(0.5, 0.3, 0.2))
    # 0.5 at 3.0 is the best edge of every match
    assert (answered["money"]["n_bets"], answered["money"]["n_wins"]) == (N_FINISHED, int((outcomes == 0).sum()))
    assert answered["money"]["n_closing"] > N_FINISHED / 2
    assert answered["money"]["closing_value_pct"]["low"] < answered["money"]["closing_value_pct"]["high"]
    assert (shadow["role"], shadow["model_version"], shadow["n"]) == ("shadow", "2", N_FINISHED)
    value = comparison["log_loss"]["value"]
    assert (comparison["n"], value) == (N_FINISHED, pytest.approx(shadow["log_loss"]["value"] - expected))


def floor_of_one_forecast(*probabilities: float) -> float:
    """The same forecast of every match: three bins with one outcome each."""
    deviations = [np.sqrt(p * (1 - p) / N_FINISHED) for p in probabilities]
    return float(np.sqrt(2 / np.pi) * np.mean(deviations))


@pytest.mark.timeout(600)
async def test_a_corrected_score_in_a_later_snapshot_changes_the_scores(
    serve: Serve, artifacts: Path, database_url: str, settings: Settings
) -> None:
    async with Ledger.open(settings) as ledger:
        assert isinstance(ledger, Ledger)
        pool = await write(ledger, *rows_before_kickoff(artifacts))
        # a process that starts settles too
        client = await serve(database_url=database_url)

        async def is_settled() -> bool:
            return await n_settled(pool) == N_FINISHED

        async def is_corrected() -> bool:
            return await n_settled(pool, "revision = 2 AND home_score = 9") == 1

        await until(is_settled, timeout_s=60)
        write_artifacts(artifacts, now=NOW, edit={PREDICTIONS: with_home_win})
        await client.app[appkeys.SNAPSHOTS].refresh()  # type: ignore[union-attr]
        await until(is_corrected, timeout_s=60)
        assert await n_settled(pool) == N_FINISHED + 1


def with_home_win(table: pa.Table) -> pa.Table:
    """The first match ended 9:0."""
    for name, value in (("home_score", 9), ("away_score", 0), ("outcome", 0)):
        place = table.column_names.index(name)
        values = [value, *table[name].to_pylist()[1:]]
        table = table.set_column(place, name, pa.array(values, table.schema.field(name).type))
    return table


async def test_too_few_matches_say_so(serve: Serve, database_url: str, ledger: Ledger) -> None:
    await write(ledger, a_ledger_row(answered_at=KICKOFF - timedelta(hours=1)))
    await settle(await ledger.database.pool(), [RESULT], "s1", NOW)
    (found,) = (await json_of(await serve(database_url=database_url), "/monitoring/quality", days=3650))["items"]
    assert (found["state"], found["n"], found["log_loss"], found["bins"]) == ("too_few", 1, None, [])


@pytest.mark.parametrize(("url", "state"), [(None, "not_configured"), ("there", "no_data")])
async def test_nothing_to_score_is_a_state(serve: Serve, database_url: str, url: str | None, state: str) -> None:
    client = await serve(database_url=url and database_url)
    found = await json_of(client, "/monitoring/quality")
    assert (found["state"], found["items"], found["comparisons"]) == (state, [], [])
    assert found["settled_at"] is None


async def test_a_database_that_is_away_is_a_problem(serve: Serve) -> None:
    client = await serve(database_url="postgresql://nobody@127.0.0.1:1/nowhere")
    async with client.get("/monitoring/quality") as response:
        assert response.status == 503
        assert (await response.json())["code"] == "ledger-unavailable"


@pytest.mark.parametrize("query", ["days=0", "min_n=1", "days=x", "unknown=1"])
async def test_a_window_that_is_none_is_refused(serve: Serve, query: str) -> None:
    client = await serve()
    async with client.get(f"/monitoring/quality?{query}") as response:
        assert response.status == 422
