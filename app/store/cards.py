"""Cards: prediction, odds and edge of a match in one row; filtered, ordered and paged."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from app.domain.odds import Devig, fair
from app.store import predictions
from app.store.cursor import Cursor, Order
from app.store.lake import Connection, columns
from app.store.listing import Listing, instant, struct
from app.store.selection import Selection
from app.store.snapshot import Snapshot

# sort key as SQL, the comparison that follows it, and its direction; kick-off as microseconds, exact in a double
_ORDERS = {
    Order.KICKOFF: ("epoch_us(kickoff_utc)", ">", "ASC"),
    Order.KICKOFF_DESC: ("epoch_us(kickoff_utc)", "<", "DESC"),
    Order.EDGE: ("edge_rank", "<", "DESC"),
}
_BY_MATCH = "(SELECT * FROM cards WHERE match_id IN (SELECT unnest(?::BIGINT[])))"
# `cards` holds the fair probabilities of one method; those of another are computed for the rows of a page alone
_BY_MATCH_FAIR = """(
    SELECT cards.* REPLACE (other.home AS fair_home, other.draw AS fair_draw, other.away AS fair_away)
    FROM cards JOIN (
        SELECT unnest(?::BIGINT[]) AS match_id, unnest(?::DOUBLE[]) AS home, unnest(?::DOUBLE[]) AS draw,
            unnest(?::DOUBLE[]) AS away
    ) AS other USING (match_id)
)"""
_ODDS_OF = """
SELECT match_id, odds_home, odds_draw, odds_away FROM cards WHERE match_id IN (SELECT unnest(?::BIGINT[]))
"""
_OUTCOMES = ("home", "draw", "away")


def _three(name: str) -> str:
    return struct(**{outcome: f"{name}_{outcome}" for outcome in _OUTCOMES})


_MONEY = struct(
    odds=_three("odds"),
    bookmaker="bookmaker",
    event_url="event_url",
    captured_at=instant("captured_at"),
    odds_age_s="odds_age_s",
    overround="overround",
    implied=_three("implied"),
    fair=_three("fair"),
    edge_home="edge_home",
    edge_draw="edge_draw",
    edge_away="edge_away",
    best_edge="best_edge",
    best_outcome="best_outcome",
    is_value="is_value",
    kelly_stake="kelly_stake",
    profit="profit",
)
_REGION_ROI = struct(
    roi_pct="region_roi_pct", n_bets="region_n_bets", ci_low="region_roi_ci_low", ci_high="region_roi_ci_high"
)
_JSON_ROW = struct(
    **predictions.MEMBERS,
    too_little_history="too_little_history",
    hit="hit",
    money=f"CASE WHEN best_edge IS NOT NULL THEN {_MONEY} END",
    region_roi=f"CASE WHEN region_n_bets IS NOT NULL THEN {_REGION_ROI} END",
)
_COLUMNS = (
    predictions.COLUMNS + ", too_little_history, hit, odds_home, odds_draw, odds_away, bookmaker, event_url, "
    "captured_at, odds_age_s, overround, "
    "implied_home, implied_draw, implied_away, fair_home, fair_draw, fair_away, edge_home, edge_draw, edge_away, "
    "best_edge, best_outcome, is_value, kelly_stake, profit, "
    "region_roi_pct, region_n_bets, region_roi_ci_low, region_roi_ci_high"
)


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of which order, and how its fair probabilities are found."""

    order: Order = Order.KICKOFF
    limit: int = 200
    after: str | None = None
    devig: Devig = Devig.POWER


@dataclass(frozen=True, slots=True)
class CardPage:
    """One page: how many cards pass the filter, where the next begins, and the rows as a listing."""

    total: int
    next_cursor: str | None
    rows: Listing


async def find_page(snapshot: Snapshot, selection: Selection, page: Page) -> CardPage:
    """Find the page; its rows are read when the listing is rendered."""
    return await snapshot.lake.run(lambda cursor: _find(cursor, selection, page))


def _find(cursor: Connection, selection: Selection, page: Page) -> CardPage:
    key, beyond, direction = _ORDERS[page.order]
    where, params = selection.where()
    counted = cursor.execute(f"SELECT count(*) FROM cards WHERE {where}", params).fetchall()  # noqa: S608
    if page.after:
        last = Cursor.decode(page.after, page.order)
        where, params = f"{where} AND ({key}, match_id) {beyond} (?, ?)", [*params, last.key, last.match_id]
    order = f"ORDER BY {key} {direction}, match_id {direction}"
    # keys first, whole rows after: sorting 45 columns for the sake of 200 rows takes ten times as long
    ends = f"SELECT {key}, match_id FROM cards WHERE {where} {order} LIMIT {page.limit + 1:d}"  # noqa: S608
    found = cursor.execute(ends, params).fetchall()
    shown = found[: page.limit]
    source, bound = _rows_of(cursor, [match_id for _, match_id in shown], page.devig)
    rows = Listing(_JSON_ROW, _COLUMNS, f"{source} {order}", bound)
    next_cursor = Cursor(page.order, *shown[-1]).encode() if len(found) > page.limit else None
    return CardPage(counted[0][0], next_cursor, rows)


def _rows_of(cursor: Connection, match_ids: list[int], devig: Devig) -> tuple[str, list[Any]]:
    if devig is Devig.POWER:
        return _BY_MATCH, [match_ids]
    found = columns(cursor, _ODDS_OF, [match_ids])
    other = fair(np.column_stack([np.ma.filled(found[f"odds_{outcome}"], np.nan) for outcome in _OUTCOMES]), devig)
    lists = [pa.array(values, from_pandas=True).to_pylist() for values in other.T]
    return _BY_MATCH_FAIR, [found["match_id"].tolist(), *lists]
