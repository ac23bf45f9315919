"""Write fonbet_odds.parquet: the pre-match price that one could have taken, and the closing price.

Alone because the pipeline has one module a file of the artifacts.
"""

from pathlib import Path

from app.store.database import open_connection

BOOKMAKER = "Bet365 (pre-match)"
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


def write_odds(matches: Path, out: Path, *, simulated: bool) -> int:
    """Write the odds of the matches table to `out`; the number of matches that have any."""
    connection = open_connection()
    try:
        parameters = {"matches": str(matches), "bookmaker": SIMULATED_BOOKMAKER if simulated else BOOKMAKER}
        target = str(out).replace("'", "''")  # COPY takes its target as a literal only
        ((n_rows,),) = connection.execute(_ODDS.format(out=target, is_priced=IS_PRICED), parameters).fetchall()
    finally:
        connection.close()
    return int(n_rows)
