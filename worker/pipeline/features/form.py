"""The 508 features of a match: Elo, rolling form and rest days, all known before kick-off.

Form is computed as the state of a team after each day on which it played; a match takes the latest state of an
*earlier* day (an ASOF join), so matches of one day never see each other, and coming matches take the newest state.
"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from app.store.database import Connection, open_connection
from worker.pipeline.features.elo import compute_ratings
from worker.pipeline.progress import Advance, Progress

STATS = ("win", "draw", "loss", "goals_for", "goals_against", "coverage")
WINDOWS = (1, 2, 3, 5, 7, 10, 12)
SIDES = ("home", "away", "diff")
# scope -> what, beside the team, a match must share to count as history; venue 0: at home, 1: away
SCOPES = {"all": "0", "season": "season_id", "tournament": "tournament_id", "venue": "venue_id"}

# a pause longer than a month says nothing more: it is summer, or years out of the recorded divisions
_LONGEST_REST_DAYS = 30
_CHUNK_ROWS = 16_384


def feature_names() -> tuple[str, ...]:
    """All feature names in the order of the file and of the model's signature."""
    form = (
        f"form_{stat}_{scope}_{window}_{side}"
        for stat in STATS
        for scope in SCOPES
        for window in WINDOWS
        for side in SIDES
    )
    return ("elo_home", "elo_away", "elo_diff", *form, "rest_days_diff")


def build_features(matches: Path, out: Path, progress: Progress) -> None:
    """Write `out`: match_id and the features as float32, one row per row of `matches`, in its order."""
    table = pq.read_table(matches)
    with progress.step("Elo ratings", total=1) as advance:
        elo = _elo_table(table)
        advance(1)
    with closing(open_connection(memory="3GB")) as database:
        _load(database, table, elo)
        with progress.step("form by scope", total=len(SCOPES)) as advance:
            for scope in SCOPES:
                _compute_scope(database, scope)
                advance(1)
        with progress.step("writing features", total=table.num_rows) as advance:
            _write(database, table.num_rows, out, advance)


def _elo_table(matches: pa.Table) -> pa.Table:
    ratings = compute_ratings(matches)
    names = feature_names()[:3]
    return pa.table(
        {"idx": pa.array(range(len(ratings)), pa.int32())} | {n: ratings[:, i] for i, n in enumerate(names)}
    )


def _load(database: Connection, matches: pa.Table, elo: pa.Table) -> None:
    """Two rows per match, one for each team, with small integers as keys."""
    names = [
        "match_id",
        "kickoff_utc",
        "region",
        "tournament",
        "season",
        "home_team",
        "away_team",
        "status",
        "home_score",
        "away_score",
    ]
    database.register("matches_in", matches.select(names).append_column("idx", elo["idx"]))
    database.register("elo_in", elo)
    database.execute(_LOAD_SQL)


def _compute_scope(database: Connection, scope: str) -> None:
    database.execute(_STATE_SQL.format(scope_key=SCOPES[scope], sums=_sums()))
    home_key, away_key = ("0", "1") if scope == "venue" else (SCOPES[scope], SCOPES[scope])
    rates = {"home": _rates("h", scope, "home"), "away": _rates("a", scope, "away")}
    database.execute(_SCOPE_SQL.format(scope=scope, home_key=home_key, away_key=away_key, **rates))


def _sums() -> str:
    """Sums of whole numbers over the last matches: exact, whatever comes after."""
    sums = ("win", "draw", "goals_for", "goals_against")
    return ",\n".join(
        f"sum({stat}) OVER (team_matches ROWS {window - 1} PRECEDING) AS {stat}_{window}"
        for stat in sums
        for window in WINDOWS
    )


def _rates(state: str, scope: str, side: str) -> str:
    return ",\n".join(
        f"({_rate(state, stat, window)})::FLOAT AS form_{stat}_{scope}_{window}_{side}"
        for stat in STATS
        for window in WINDOWS
    )


def _rate(state: str, stat: str, window: int) -> str:
    # least() passes over NULL: a team without history must count as 0 matches, not as the whole window
    seen = f"least(coalesce({state}.n, 0), {window})"
    if stat == "coverage":
        return f"{seen} / {window}"
    if stat == "loss":
        return f"({seen} - {state}.win_{window} - {state}.draw_{window}) / {seen}"
    return f"{state}.{stat}_{window} / {seen}"


def _write(database: Connection, n_rows: int, out: Path, advance: Advance) -> None:
    query = _OUT_SQL.format(columns=",\n".join(_output_columns()), longest=_LONGEST_REST_DAYS)
    schema = pa.schema([("match_id", pa.int64()), *((name, pa.float32()) for name in feature_names())])
    with pq.ParquetWriter(out, schema, compression="zstd") as writer:
        for start in range(0, n_rows, _CHUNK_ROWS):
            chunk = database.sql(query, params=[start, start + _CHUNK_ROWS]).to_arrow_table()
            writer.write_table(chunk.cast(schema))
            advance(chunk.num_rows)


def _output_columns() -> Iterator[str]:
    """Every feature as float32, NaN where nothing is known."""
    for name in feature_names():
        stem = name.removesuffix("_diff")
        if name.startswith("form_") and name.endswith("_diff"):
            yield f"coalesce({stem}_home - {stem}_away, 'nan'::FLOAT)::FLOAT AS {name}"
        else:
            yield f"coalesce({name}, 'nan'::FLOAT)::FLOAT AS {name}"


_LOAD_SQL = """
CREATE TABLE elo AS SELECT * FROM elo_in ORDER BY idx;
CREATE TABLE teams AS
    SELECT region, team, row_number() OVER (ORDER BY region, team) AS team_id
    FROM (SELECT region, home_team AS team FROM matches_in UNION SELECT region, away_team FROM matches_in);
CREATE TABLE seasons AS
    SELECT season, row_number() OVER (ORDER BY season) AS season_id FROM (SELECT DISTINCT season FROM matches_in);
CREATE TABLE tournaments AS
    SELECT region, tournament, row_number() OVER (ORDER BY region, tournament) AS tournament_id
    FROM (SELECT DISTINCT region, tournament FROM matches_in);
CREATE TABLE meetings AS
    SELECT idx, match_id, kickoff_utc::DATE - DATE '1970-01-01' AS day, season_id, tournament_id,
        h.team_id AS home_id, a.team_id AS away_id, status = 'finished' AS played, home_score, away_score
    FROM matches_in AS m
    JOIN teams AS h ON h.region = m.region AND h.team = m.home_team
    JOIN teams AS a ON a.region = m.region AND a.team = m.away_team
    JOIN seasons AS s ON s.season = m.season
    JOIN tournaments AS t ON t.region = m.region AND t.tournament = m.tournament
    ORDER BY idx;
CREATE TABLE played AS
    SELECT idx, day, season_id, tournament_id, home_id AS team_id, 0 AS venue_id,
        home_score::INTEGER AS goals_for, away_score::INTEGER AS goals_against
    FROM meetings WHERE played
    UNION ALL
    SELECT idx, day, season_id, tournament_id, away_id, 1, away_score::INTEGER, home_score::INTEGER
    FROM meetings WHERE played;
"""

# only the last row of a day is kept: the state after all of that day's matches
_STATE_SQL = """
CREATE OR REPLACE TABLE state AS
    SELECT team_id, {scope_key} AS scope_key, day, row_number() OVER team_matches AS n,
        {sums}
    FROM (
        SELECT *, (goals_for > goals_against)::INTEGER AS win, (goals_for = goals_against)::INTEGER AS draw FROM played
    )
    WINDOW team_matches AS (PARTITION BY team_id, {scope_key} ORDER BY day, idx)
    QUALIFY lead(day) OVER team_matches IS DISTINCT FROM day;
"""

_SCOPE_SQL = """
CREATE TABLE scope_{scope} AS
    SELECT idx, h.day AS {scope}_home_day, a.day AS {scope}_away_day,
        {home},
        {away}
    FROM meetings
    ASOF LEFT JOIN state AS h ON h.team_id = home_id AND h.scope_key = {home_key} AND meetings.day > h.day
    ASOF LEFT JOIN state AS a ON a.team_id = away_id AND a.scope_key = {away_key} AND meetings.day > a.day
    ORDER BY idx;
"""

_OUT_SQL = """
SELECT match_id, {columns}
FROM (
    SELECT *, CASE WHEN all_home_day IS NOT NULL AND all_away_day IS NOT NULL
            THEN least(day - all_home_day, {longest}) - least(day - all_away_day, {longest}) END AS rest_days_diff
    FROM meetings
    JOIN elo USING (idx)
    JOIN scope_all USING (idx)
    JOIN scope_season USING (idx)
    JOIN scope_tournament USING (idx)
    JOIN scope_venue USING (idx)
    WHERE idx >= $1 AND idx < $2
)
ORDER BY idx
"""
