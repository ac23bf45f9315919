"""The artifacts as they were known at an earlier time: the same tables, built from the history up to then."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from app.artifacts import contract
from app.domain import running
from app.domain.consensus import PoolWeights, weights_at
from app.domain.outcomes import Flags
from app.domain.staking import flat_stake
from app.errors import AsOfUnknown
from app.store.database import Columns, Connection, DatabaseError, fetch_columns
from app.store.lru import CountCache
from app.store.money import MoneyRules, fill_money, money_table
from app.store.snapshot import Snapshot, count_matches
from app.store.tables import build_cards, read_table_sql

_BUILD_TIMEOUT_S = 60.0  # all tables anew, once a time: 4 s for 265,000 matches on two busy cores
_REGIONS = "SELECT DISTINCT region FROM predictions ORDER BY region"
_JUDGED = """
SELECT region, epoch_us(kickoff_utc + INTERVAL 2 HOUR) AS settled_us, profit, won, clv
FROM predictions JOIN money USING (match_id) WHERE is_judged ORDER BY settled_us, match_id
"""
_DATA_UNTIL = "SELECT max(kickoff_utc) FROM predictions WHERE status = 'finished'"
_FIRST_KNOWN = "SELECT filename, min(known_at) FROM read_parquet($files, filename = true) GROUP BY filename"


@asynccontextmanager
async def as_of_snapshot(snapshot: Snapshot, as_of: datetime | None) -> AsyncIterator[Snapshot]:
    """A snapshot, or what was known of it at a time; AsOfUnknown for one that its history does not reach.

    What is given for a time is the same from every later snapshot: its rows, and its id.
    """
    if as_of is None:
        yield snapshot
        return
    _refuse_unknown(snapshot, as_of)
    moment = as_of.astimezone(UTC)
    async with snapshot.as_of_cache.acquire(moment, lambda: _open(snapshot, moment), _close) as then:
        yield then


def _refuse_unknown(snapshot: Snapshot, as_of: datetime) -> None:
    until = snapshot.manifest.history_until
    if until is None:
        raise AsOfUnknown("These artifacts have no history.")
    if as_of > until:
        detail = f"What was known after {until.isoformat()} is not settled yet: the history ends there."
        raise AsOfUnknown(detail, known_until=until.isoformat())


async def _open(snapshot: Snapshot, moment: datetime) -> Snapshot:
    name = _schema_of(moment)
    return await snapshot.database.run(
        lambda cursor: _built(cursor, name, snapshot, moment), timeout_s=_BUILD_TIMEOUT_S
    )


async def _close(then: Snapshot) -> None:
    drop = f"DROP SCHEMA IF EXISTS {_schema_of(then.manifest.built_at)} CASCADE"
    await then.database.within(None).run(lambda cursor: cursor.execute(drop))


def _schema_of(moment: datetime) -> str:
    return f"as_of_{moment:%Y%m%d%H%M%S%f}"


def _built(cursor: Connection, name: str, snapshot: Snapshot, moment: datetime) -> Snapshot:
    cursor.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE; CREATE SCHEMA {name}; SET search_path = '{name},main'")
    try:
        _build(cursor, moment, snapshot.rules, snapshot.weights)
    except BaseException:
        with contextlib.suppress(DatabaseError):
            cursor.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")
        raise
    ((data_until,),) = cursor.execute(_DATA_UNTIL).fetchall()
    n_matches, n_odds, bookmaker = count_matches(cursor)
    return replace(
        snapshot,
        id=_content_id(cursor, snapshot, moment),
        manifest=snapshot.manifest.model_copy(update={"built_at": moment, "data_until": data_until}),
        database=snapshot.database.within(name),
        n_matches=n_matches,
        n_odds=n_odds,
        bookmaker=bookmaker,
        count_cache=CountCache(),
        row_files=None,
    )


def _build(cursor: Connection, moment: datetime, rules: MoneyRules, weights: Sequence[PoolWeights]) -> None:
    cursor.execute("SET VARIABLE seen_at = $at", {"at": moment})
    cursor.execute(read_table_sql("as_of"))
    cursor.execute(f"CREATE TABLE odds AS {read_table_sql('standing_odds')}")
    cursor.execute(f"CREATE TABLE prices AS {read_table_sql('standing_prices')}")
    cursor.register("money", money_table(cursor, rules, weights, moment))
    cursor.register("roi", _roi_by_region(cursor, moment, rules))
    cursor.execute("CREATE TABLE roi_by_region AS SELECT * FROM roi")
    build_cards(cursor, moment, rules)


def _roi_by_region(cursor: Connection, moment: datetime, rules: MoneyRules) -> pa.Table:
    """The table that the pipeline writes, of the bets settled by then."""
    regions = [region for (region,) in cursor.execute(_REGIONS).fetchall()]
    judged = fetch_columns(cursor, _JUDGED)
    until_us = int(moment.timestamp()) * 1_000_000 + moment.microsecond
    parts = [_of_region(judged, region, until_us, rules) for region in regions]
    return pa.concat_tables(parts) if parts else _of_region(judged, "", until_us, rules).slice(0, 0)


def _of_region(judged: Columns, region: str, until_us: int, rules: MoneyRules) -> pa.Table:
    mine: Flags = judged["region"] == region
    is_bet: Flags = mine & ~np.isnan(fill_money(judged, "profit"))
    profit = fill_money(judged, "profit")[is_bet]
    won = np.asarray(judged["won"][is_bet], dtype=np.bool_)
    bets = running.RegionBets(
        _times(judged, is_bet), flat_stake(profit), profit, won, fill_money(judged, "clv")[is_bet]
    )
    figures = running.by_day(bets, _times(judged, mine), until_us, rules.min_bets)
    settled_until = pa.array(figures.pop("settled_us")).cast(pa.timestamp("us", tz="UTC"))
    arrays = {column: pa.array(values, from_pandas=True) for column, values in figures.items()}
    return pa.table({"region": [region] * len(settled_until), "settled_until": settled_until, **arrays})


def _times(judged: Columns, chosen: Flags) -> npt.NDArray[np.int64]:
    return np.asarray(judged["settled_us"][chosen], dtype=np.int64)


def _content_id(cursor: Connection, snapshot: Snapshot, moment: datetime) -> str:
    """Of the time, the parts of the history and the weights that say anything of it: those added later do not."""
    stamps = {str(snapshot.folder / name): stamp.sha256 for name, stamp in snapshot.manifest.files.items()}
    parts = [path for path in stamps if contract.history_kind(Path(path).relative_to(snapshot.folder).as_posix())]
    found = cursor.execute(_FIRST_KNOWN, {"files": parts}).fetchall() if parts else []
    known = sorted(stamps[path] for path, first in found if first <= moment)
    weights = [repr(each) for each in weights_at(snapshot.weights, moment)] if snapshot.weights else []
    return blake2b("\0".join([moment.isoformat(), *known, *weights]).encode(), digest_size=8).hexdigest()
