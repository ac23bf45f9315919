"""Write fonbet_odds.parquet, the price of the bookmaker one bets with, and prices.parquet, those of all bookmakers.

Alone because the pipeline has one module a file of the artifacts.
"""

from contextlib import closing
from pathlib import Path

import pyarrow as pa

from app.domain.prices import MARKET_AVERAGE, MARKET_BEST, NOT_TAKEN
from app.store.database import open_connection
from worker.pipeline.failures import BuildStopped

BOOKMAKER = "Bet365 (pre-match)"
_OWN_BOOKMAKER = "Bet365"
SIMULATED_BOOKMAKER = "Simulated bookmaker"

# A closing price is known only at kick-off, so it never stands in for a missing pre-match price; it is kept beside
# it to judge, afterwards, how good the price taken was. The market average is the sharper of the two closing prices.
# A pre-match price that was somebody's offer; predictions_file.py says why a match has none.
IS_PRICED = """(
        b365_home > 1 AND b365_draw > 1 AND b365_away > 1
        AND isfinite(b365_home) AND isfinite(b365_draw) AND isfinite(b365_away) AND odds_captured_at IS NOT NULL
    )"""
_ODDS = """
COPY (
    SELECT match_id, b365_home AS odds_home, b365_draw AS odds_draw, b365_away AS odds_away,
        $bookmaker AS bookmaker, NULL::VARCHAR AS event_url, odds_captured_at AS captured_at,
        CASE WHEN has_average THEN avgc_home WHEN has_own THEN b365c_home END AS closing_home,
        CASE WHEN has_average THEN avgc_draw WHEN has_own THEN b365c_draw END AS closing_draw,
        CASE WHEN has_average THEN avgc_away WHEN has_own THEN b365c_away END AS closing_away,
        CASE WHEN has_average THEN 'market average' WHEN has_own THEN $bookmaker END AS closing_source
    FROM (
        SELECT *, avgc_home > 1 AND avgc_draw > 1 AND avgc_away > 1 AS has_average,
            b365c_home > 1 AND b365c_draw > 1 AND b365c_away > 1 AS has_own
        FROM read_parquet($matches)
    )
    WHERE {is_priced}
        -- a price that the other books of its row contradict is nobody's offer
        AND odds_unsound IS NOT TRUE
    ORDER BY kickoff_utc, match_id
) TO '{out}' (FORMAT parquet, COMPRESSION zstd)
"""


# the same of another bookmaker than the usual one
_ODDS_OF = """
COPY (
    SELECT match_id, odds_home, odds_draw, odds_away, bookmaker, url AS event_url, captured_at,
        avgc_home AS closing_home, avgc_draw AS closing_draw, avgc_away AS closing_away,
        CASE WHEN avgc_home > 1 THEN 'market average' END AS closing_source
    FROM read_parquet($prices) JOIN read_parquet($matches) USING (match_id)
    WHERE bookmaker = $bookmaker AND kind = 'offer'
    ORDER BY kickoff_utc, match_id
) TO '{out}' (FORMAT parquet, COMPRESSION zstd)
"""
_PRICES = """
COPY (
    SELECT match_id, {bookmaker} AS bookmaker, odds_home, odds_draw, odds_away, captured_at, kind, url
    FROM prices JOIN (SELECT match_id, kickoff_utc FROM read_parquet($matches)) USING (match_id)
    ORDER BY kickoff_utc, match_id, kind, bookmaker
) TO '{out}' (FORMAT parquet, COMPRESSION zstd)
"""
# made-up prices never stand under the name of a real bookmaker alone
_SIMULATED_NAME = (
    f"CASE bookmaker WHEN '{_OWN_BOOKMAKER}' THEN '{SIMULATED_BOOKMAKER}' WHEN '{MARKET_AVERAGE}' THEN bookmaker "
    f"WHEN '{MARKET_BEST}' THEN bookmaker ELSE 'Simulated ' || bookmaker END"
)


def write_prices(prices: pa.Table, matches: Path, out: Path, *, simulated: bool) -> None:
    """Write the prices of all bookmakers, as the reader of result files gives them, to `out`."""
    sql = _PRICES.format(bookmaker=_SIMULATED_NAME if simulated else "bookmaker", out=_quoted(out))
    with closing(open_connection()) as connection:
        connection.register("prices", prices)
        connection.execute(sql, {"matches": str(matches)})


def write_odds(
    matches: Path, out: Path, *, simulated: bool, prices: Path | None = None, bookmaker: str | None = None
) -> int:
    """Write the odds of one bookmaker to `out`; the number of matches that have any.

    Without a bookmaker they are Bet365's; another's come from `prices`. BuildStopped when nobody there has that name.
    """
    parameters = {"matches": str(matches), "bookmaker": SIMULATED_BOOKMAKER if simulated else BOOKMAKER}
    sql = _ODDS.format(out=_quoted(out), is_priced=IS_PRICED)
    with closing(open_connection()) as connection:
        if prices is not None and bookmaker not in {None, _OWN_BOOKMAKER, parameters["bookmaker"]}:
            known = connection.execute(_KNOWN_BOOKMAKERS, {"prices": str(prices)}).fetchall()
            names = [name for (name,) in known if name not in NOT_TAKEN]
            if bookmaker not in names:
                raise BuildStopped(f"BOOKMAKER is {bookmaker}; the prices are those of {', '.join(names) or 'nobody'}.")
            sql = _ODDS_OF.format(out=_quoted(out))
            parameters |= {"prices": str(prices), "bookmaker": bookmaker}
        ((n_rows,),) = connection.execute(sql, parameters).fetchall()
    return int(n_rows)


_KNOWN_BOOKMAKERS = "SELECT DISTINCT bookmaker FROM read_parquet($prices) WHERE kind = 'offer' ORDER BY bookmaker"


def _quoted(path: Path) -> str:
    # COPY takes its target as a literal only
    return str(path).replace("'", "''")
