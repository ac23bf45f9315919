"""Cards: prediction, odds and edge of a match in one row; filtered, ordered and paged."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from app.domain.odds import Devig, fair
from app.store import predictions
from app.store.cursor import Cursor, Order, digest
from app.store.lake import Connection, columns
from app.store.listing import Listing
from app.store.selection import Condition, Fixtures, Selection
from app.store.shape import OUTCOMES, Shape, by_outcome, each, group, instant, plain, struct, times
from app.store.snapshot import Snapshot

_OF_PAGE = (
    "(SELECT * FROM cards WHERE kickoff_utc BETWEEN make_timestamptz(?) AND make_timestamptz(?) "
    "AND match_id IN (SELECT unnest(?::BIGINT[])))"
)
_ALL, _BEST = "cards", "best_cards"
_OF_BEST = "(SELECT * FROM best_cards WHERE match_id IN (SELECT unnest(?::BIGINT[])))"
# rows that lie anywhere come by the index, which DuckDB asks for numbers written out and not for a list that is bound
_OF_PAGE_ANYWHERE = "(SELECT * FROM cards WHERE match_id IN ({}))"
# `cards` holds the fair probabilities of one method; those of another are computed for the rows of a page alone
_OF_PAGE_FAIR = """(
    SELECT cards.* REPLACE (other.home AS fair_home, other.draw AS fair_draw, other.away AS fair_away)
    FROM cards JOIN (
        SELECT unnest(?::BIGINT[]) AS match_id, unnest(?::DOUBLE[]) AS home, unnest(?::DOUBLE[]) AS draw,
            unnest(?::DOUBLE[]) AS away
    ) AS other USING (match_id)
)"""
_ODDS_OF = """
SELECT match_id, odds_home, odds_draw, odds_away FROM cards WHERE match_id IN (SELECT unnest(?::BIGINT[]))
"""
_FAR_ROWS = 100_000  # about where a scan from the first row of a page to its last costs what the index does
_FEW_FIXTURES = 2000  # so many DuckDB filters by while it scans; see `dynamic_or_filter_threshold`
# sort key as a cursor has it, match_id, kick-off in microseconds, place in the table, and of how many where counted
_Row = tuple[Any, int, int, int, int | None]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PRICED = ("edge_home", "edge_draw", "edge_away", "best_edge", "best_outcome", "is_value", "kelly_stake", "profit")
_MONEY_JSON = struct(
    odds=by_outcome("odds"),
    bookmaker="bookmaker",
    event_url="event_url",
    captured_at=instant("captured_at"),
    odds_age_s="odds_age_s",
    overround="overround",
    implied=by_outcome("implied"),
    fair=by_outcome("fair"),
    **{name: name for name in _PRICED},
)
_MONEY = (
    each("odds")
    | plain("bookmaker", "event_url")
    | times("captured_at")
    | plain("odds_age_s", "overround")
    | each("implied")
    | each("fair")
    | plain(*_PRICED)
)
_REGION_ROI_JSON = struct(
    roi_pct="region_roi_pct", n_bets="region_n_bets", ci_low="region_roi_ci_low", ci_high="region_roi_ci_high"
)
_REGION_ROI = plain("region_roi_pct", "region_n_bets", "region_roi_ci_low", "region_roi_ci_high")
SHAPE: Shape = (
    predictions.SHAPE
    | plain("too_little_history", "hit")
    | group("money", f"CASE WHEN best_edge IS NOT NULL THEN {_MONEY_JSON} END", _MONEY)
    | group("region_roi", f"CASE WHEN region_n_bets IS NOT NULL THEN {_REGION_ROI_JSON} END", _REGION_ROI)
)


@dataclass(frozen=True, slots=True)
class _Key:
    """What an order sorts by: a column as it is, so that DuckDB skips row groups; in a cursor; and the direction."""

    column: str
    in_cursor: str
    beyond: str
    direction: str


_KICKOFF_US = "epoch_us(kickoff_utc)"  # exact in a double
_LAST = "coalesce(best_edge, 1e300)"  # a match without odds comes last, whichever way
_KEYS = {
    Order.KICKOFF: _Key("kickoff_utc", _KICKOFF_US, ">", "ASC"),
    Order.KICKOFF_DESC: _Key("kickoff_utc", _KICKOFF_US, "<", "DESC"),
    Order.EDGE: _Key(_LAST, _LAST, ">", "ASC"),
    Order.EDGE_DESC: _Key("edge_rank", "edge_rank", "<", "DESC"),
}


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
    known = snapshot.totals.find(selection)
    found = await snapshot.lake.run(lambda cursor: _find(cursor, selection, page, known))
    snapshot.totals.keep(selection, found.total)
    return found


def written(selection: Selection, order: Order, limit: int | None) -> str:
    """SQL over the table `cards` that gives the flat columns of these cards in this order, whoever runs it."""
    lines = [
        f"SELECT {SHAPE.columns(is_short=True)}",
        "FROM cards",
        f"WHERE {selection.written()}",
        _order_by(order),
        *([f"LIMIT {limit:d}"] if limit is not None else []),
    ]
    return "\n".join(lines)


def _find(cursor: Connection, selection: Selection, page: Page, total: int | None) -> CardPage:
    few = _few_fixtures(cursor, selection)
    where, params = selection.where(few)
    selected = digest(selection)
    if page.after:
        after, bounds = _beyond(Cursor.decode(page.after, page.order, selected))
    else:
        after, bounds = "true", []
    # the best cards have no index, so rows that `cards` has by one are looked for there alone
    is_best = page.order is Order.EDGE_DESC and not (few and few.are_indexed)
    # of few fixtures one look gives the number of matches with the first page
    is_counted = few is not None and total is None and not page.after and not is_best
    if total is None and not is_counted:
        total = cursor.execute(f"SELECT count(*) FROM cards WHERE {where}", params).fetchall()[0][0]  # noqa: S608
    condition = f"{where} AND {after}", [*params, *bounds]
    tables = (_BEST, _ALL) if is_best else (_ALL,)
    table, found = _found(cursor, page, tables, condition, is_counted=is_counted)
    if total is None:
        total = (found[0][4] or 0) if found else 0
    shown = found[: page.limit]
    next_cursor = Cursor(page.order, selected, *shown[-1][:2]).encode() if len(found) > page.limit else None
    if page.devig is not Devig.POWER:
        source, bound = _fair_rows_of(cursor, shown, page.devig)
    else:
        source, bound = _rows_of(table, shown)
    return CardPage(total, next_cursor, Listing(SHAPE, f"{source} {_order_by(page.order)}", bound))


def _found(
    cursor: Connection, page: Page, tables: Sequence[str], condition: Condition, *, is_counted: bool
) -> tuple[str, list[_Row]]:
    """What `_Row` says of each row of a page and of one more, and the first table that has so many."""
    where, params = condition
    n = "count(*) OVER ()" if is_counted else "NULL"
    for table in tables:
        # keys first, whole rows after: sorting 45 columns for the sake of 200 rows takes ten times as long
        found = cursor.execute(
            f"SELECT {_KEYS[page.order].in_cursor}, match_id, {_KICKOFF_US}, rowid, {n} FROM {table} "  # noqa: S608
            f"WHERE {where} {_order_by(page.order)} LIMIT {page.limit + 1:d}",
            params,
        ).fetchall()
        if len(found) > page.limit:
            break  # the best of the best are the best of all
    return table, found


def _order_by(order: Order) -> str:
    key = _KEYS[order]
    return f"ORDER BY {key.column} {key.direction}, match_id {key.direction}"


def _few_fixtures(cursor: Connection, selection: Selection) -> Fixtures | None:
    """The fixtures with a text, found once for count and page; None when there is none, or too many."""
    query = selection.fixtures(_FEW_FIXTURES + 1)
    found = cursor.execute(*query).fetchall() if query is not None else []
    if query is None or len(found) > _FEW_FIXTURES:
        return None
    return Fixtures([number for number, _ in found], sum(n for _, n in found))


def _beyond(last: Cursor) -> tuple[str, list[Any]]:
    """The condition of coming after a row; its first half is a bare comparison, by which row groups are skipped."""
    key = _KEYS[last.order]
    is_time = key.column == "kickoff_utc"
    value = _EPOCH + timedelta(microseconds=last.key) if is_time else last.key
    condition = f"{key.column} {key.beyond}= ? AND ({key.column} {key.beyond} ? OR match_id {key.beyond} ?)"
    return condition, [value, value, last.match_id]


def _rows_of(table: str, rows: list[_Row]) -> tuple[str, list[Any]]:
    match_ids = [row[1] for row in rows]
    if table == _BEST:
        return _OF_BEST, [match_ids]
    places = [row[3] for row in rows] or [0]
    if max(places) - min(places) < _FAR_ROWS:
        # nothing outside the first and last kick-off need be looked at
        kickoffs = [row[2] for row in rows]
        return _OF_PAGE, [min(kickoffs, default=0), max(kickoffs, default=0), match_ids]
    return _OF_PAGE_ANYWHERE.format(", ".join(f"{match_id:d}" for match_id in match_ids)), []


def _fair_rows_of(cursor: Connection, rows: list[_Row], devig: Devig) -> tuple[str, list[Any]]:
    match_ids = [row[1] for row in rows]
    found = columns(cursor, _ODDS_OF, [match_ids])
    other = fair(np.column_stack([np.ma.filled(found[f"odds_{outcome}"], np.nan) for outcome in OUTCOMES]), devig)
    lists = [pa.array(values, from_pandas=True).to_pylist() for values in other.T]
    return _OF_PAGE_FAIR, [found["match_id"].tolist(), *lists]
