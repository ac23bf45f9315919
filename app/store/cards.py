"""Match cards: prediction, odds and edge in one row; filtered, ordered, a page at a time."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import blake2b
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from app.domain.odds import fair
from app.domain.vocabulary import Devig
from app.errors import InvalidRequest
from app.store import predictions
from app.store import selection as store_selection
from app.store.database import Connection, fetch_columns, to_bitstring
from app.store.fields import (
    OUTCOMES,
    Listing,
    Shape,
    columns,
    computed_field,
    instant,
    instants,
    outcome_columns,
    per_outcome,
    struct,
    struct_column,
)
from app.store.row_files import RowFile, row_source
from app.store.selection import Condition, Selection
from app.store.snapshot import Snapshot

# the years 1 to 9999 in microseconds since 1970
_FIRST_US, _LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999


class Order(StrEnum):
    """Order of cards; every order ends with the match id, so that it is total."""

    KICKOFF = "kickoff"
    KICKOFF_DESC = "-kickoff"
    EDGE = "edge"
    EDGE_DESC = "-edge"


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position in one order of one selection."""

    order: Order
    selected: str
    key: float  # a whole number of microseconds, or an edge
    match_id: int

    def encode(self) -> str:
        """As it goes into a URL."""
        word = orjson.dumps([self.order, self.selected, self.key, self.match_id])
        return urlsafe_b64encode(word).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str, order: Order, selected: str) -> "Cursor":
        """Read one; InvalidRequest when it is none, or of another order or selection."""
        try:
            found, of, key, match_id = orjson.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            cursor = cls(Order(found), str(of), _number(key, Order(found)), int(match_id))
        except (ValueError, TypeError) as error:
            raise InvalidRequest("The cursor is not one that this service gave.") from error
        if cursor.order is not order:
            raise InvalidRequest(f"The cursor belongs to sort={cursor.order.value}, not {order.value}.")
        if cursor.selected != selected:
            raise InvalidRequest("The cursor belongs to another filter. Leave it out to begin at the first page.")
        return cursor


def digest(selection: Selection) -> str:
    """A short word that tells one selection from another."""
    return blake2b(selection.to_sql().encode(), digest_size=6).hexdigest()


def _number(value: object, order: Order) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("not a number")
    if order in {Order.KICKOFF, Order.KICKOFF_DESC} and not (isinstance(value, int) and _FIRST_US <= value <= _LAST_US):
        raise ValueError("not a time")
    return value


# rows by their places in a table, one bit for each from the first to the last, and none for those outside
_OF_PAGE = """(
    SELECT * FROM {table} WHERE rowid BETWEEN {first:d} AND {last:d}
        AND CASE WHEN rowid BETWEEN {first:d} AND {last:d} THEN get_bit(?::BIT, (rowid - {first:d})::INTEGER) = 1 END
)"""
_ALL, _BEST = "cards", "best_cards"
# rows that lie anywhere come by the index, which DuckDB asks for numbers written out and not for a list that is bound
_OF_PAGE_ANYWHERE = "(SELECT * FROM cards WHERE match_id IN ({}))"
_OF_NO_MATCH = "(SELECT * FROM cards LIMIT 0)"
# `cards` holds the fair probabilities of one method; those of another are computed for the rows of a page alone
_WITH_FAIR = """(
    SELECT page.* REPLACE (other.home AS fair_home, other.draw AS fair_draw, other.away AS fair_away)
    FROM {source} AS page JOIN (
        SELECT unnest(?::BIGINT[]) AS match_id, unnest(?::DOUBLE[]) AS home, unnest(?::DOUBLE[]) AS draw,
            unnest(?::DOUBLE[]) AS away
    ) AS other USING (match_id)
)"""
_ODDS_OF = "SELECT match_id, odds_home, odds_draw, odds_away FROM {source}"
_FAR_APART = 400  # rows from one of a page to its next: about where a scan from first to last costs what the index does
# sort key as a cursor has it, match_id, place in the table, and of how many where that is counted
_Row = tuple[Any, int, int, int]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PRICED = (
    *(f"{name}_{outcome}" for name in ("edge", "model_edge") for outcome in OUTCOMES),
    *("best_edge", "best_outcome", "is_value", "kelly_stake", "profit"),
)
_AT_BEST = ("edge_at_best", "outcome_at_best", "is_value_at_best", "profit_at_best")
_MONEY_JSON = struct(
    odds=outcome_columns("odds"),
    bookmaker="bookmaker",
    event_url="event_url",
    captured_at=instant("captured_at"),
    odds_age_s="odds_age_s",
    overround="overround",
    implied=outcome_columns("implied"),
    fair=outcome_columns("fair"),
    **{name: name for name in _PRICED},
    best_odds=outcome_columns("best_odds"),
    best_bookmaker=outcome_columns("best_bookmaker"),
    **{name: name for name in _AT_BEST},
)
_MONEY = (
    per_outcome("odds")
    | columns("bookmaker", "event_url")
    | instants("captured_at")
    | columns("odds_age_s", "overround")
    | per_outcome("implied")
    | per_outcome("fair")
    | columns(*_PRICED)
    | per_outcome("best_odds")
    | per_outcome("best_bookmaker")
    | columns(*_AT_BEST)
)
_MINUS = {f"model_minus_market_{outcome}": f"proba_{outcome} - market_{outcome}" for outcome in OUTCOMES}
_REGION_ROI_JSON = struct(
    roi_pct="region_roi_pct", n_bets="region_n_bets", ci_low="region_roi_ci_low", ci_high="region_roi_ci_high"
)
_REGION_ROI = columns("region_roi_pct", "region_n_bets", "region_roi_ci_low", "region_roi_ci_high")


def _optional_triple(name: str, parts: Shape, by: Iterable[str] = ()) -> Shape:
    """An object with a member for each outcome, or null."""
    values = [*by] or [f"{name}_{outcome}" for outcome in OUTCOMES]
    json = struct(**dict(zip(OUTCOMES, values, strict=True)))
    return struct_column(name, f"CASE WHEN {values[0]} IS NOT NULL THEN {json} END", parts)


SHAPE: Shape = (
    predictions.SHAPE
    | columns("too_little_history", "hit", "no_odds_reason")
    | _optional_triple("market", per_outcome("market"))
    | _optional_triple("consensus", per_outcome("consensus"))
    | _optional_triple("model_minus_market", computed_field(**_MINUS), by=_MINUS.values())
    | struct_column("money", f"CASE WHEN best_edge IS NOT NULL THEN {_MONEY_JSON} END", _MONEY)
    | struct_column("region_roi", f"CASE WHEN region_n_bets IS NOT NULL THEN {_REGION_ROI_JSON} END", _REGION_ROI)
)
_ROWS = "cards"
ROW_SOURCE = row_source("cards", **{predictions.ROWS: predictions.SHAPE.json(), _ROWS: SHAPE.json()})


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
    """Which part of which order, how its fair probabilities are found, and whether all fields are wanted."""

    order: Order = Order.KICKOFF
    limit: int = 200
    after: str | None = None
    devig: Devig = Devig.POWER
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class CardPage:
    """One page: how many cards pass the filter, where the next begins, and the rows as a listing.

    `written` are the same rows as JSON with commas between them, where they were at hand.
    """

    total: int
    next_cursor: str | None
    rows: Listing
    written: bytes | None = None


async def find_page(snapshot: Snapshot, selection: Selection, page: Page) -> CardPage:
    """Find the page; its rows are read when the listing is rendered."""
    known = snapshot.count_cache.get(selection)
    is_default = page.is_whole and page.devig is Devig.POWER
    written = snapshot.row_file(_ROWS) if is_default else None
    found = await snapshot.database.run(lambda cursor: _find(cursor, selection, page, known, written))
    snapshot.count_cache.put(selection, found.total)
    return found


def write_cards_sql(selection: Selection, order: Order, limit: int | None) -> str:
    """SQL over the table `cards` that gives the flat columns of these cards in this order, whoever runs it."""
    lines = [
        f"SELECT {SHAPE.columns(is_short=True)}",
        "FROM cards",
        f"WHERE {selection.to_sql()}",
        _order_by(order),
        *([f"LIMIT {limit:d}"] if limit is not None else []),
    ]
    return "\n".join(lines)


def _find(cursor: Connection, selection: Selection, page: Page, total: int | None, written: RowFile | None) -> CardPage:
    of = store_selection.find_fixtures(cursor, selection)
    is_indexed = of is not None and of.are_indexed
    where, params = selection.where(of.condition() if of else None)
    selected = digest(selection)
    after, bounds = _after(page, selected)
    if total is None and of and not selection.of_match()[0]:
        total = of.n_matches
    # the first page of few fixtures comes with their number
    if total is None and (page.after or not is_indexed):
        total = cursor.execute(f"SELECT count(*) FROM cards WHERE {where}", params).fetchall()[0][0]  # noqa: S608
    table, found = _found(cursor, page, (f"{where} AND {after}", [*params, *bounds]), is_indexed=is_indexed)
    if total is None:
        total = found[0][3] if found else 0
    shown = found[: page.limit]
    next_cursor = Cursor(page.order, selected, *shown[-1][:2]).encode() if len(found) > page.limit else None
    source, bound = _rows_of(table, shown)
    if page.devig is not Devig.POWER:
        source, bound = _with_fair(cursor, source, bound, page.devig)
    rows = Listing(SHAPE, f"{source} {_order_by(page.order)}", bound)
    gathered = written.gather([row[1] for row in shown]) if written is not None else None
    return CardPage(total, next_cursor, rows, gathered)


def _found(cursor: Connection, page: Page, condition: Condition, *, is_indexed: bool) -> tuple[str, list[_Row]]:
    """What `_Row` says of each row of a page and of one more, and the first table that has so many."""
    where, params = condition
    # the best cards have no index, so rows that `cards` has by one are looked for there alone
    tables = (_BEST, _ALL) if page.order is Order.EDGE_DESC and not is_indexed else (_ALL,)
    # counting keeps DuckDB from looking the rows of the index up twice
    n = "count(*) OVER ()" if is_indexed else "0"
    # the first that a scan meets: `cards` lies in the order of kick-off, and DuckDB keeps the order of a table
    ordered = "" if page.order is Order.KICKOFF and not is_indexed else _order_by(page.order)
    for table in tables:
        # keys first, whole rows after: sorting 45 columns for the sake of 200 rows takes ten times as long
        found = cursor.execute(
            f"SELECT {_KEYS[page.order].in_cursor}, match_id, rowid, {n} FROM {table} "  # noqa: S608
            f"WHERE {where} {ordered} LIMIT {page.limit + 1:d}",
            params,
        ).fetchall()
        if len(found) > page.limit:
            break  # the best of the best are the best of all
    return table, found


def _order_by(order: Order) -> str:
    key = _KEYS[order]
    return f"ORDER BY {key.column} {key.direction}, match_id {key.direction}"


def _after(page: Page, selected: str) -> Condition:
    """The condition of coming after a row; its first half is a bare comparison, by which row groups are skipped."""
    if not page.after:
        return "true", []
    key, last = _KEYS[page.order], Cursor.decode(page.after, page.order, selected)
    is_time = key.column == "kickoff_utc"
    value = _EPOCH + timedelta(microseconds=last.key) if is_time else last.key
    condition = f"{key.column} {key.beyond}= ? AND ({key.column} {key.beyond} ? OR match_id {key.beyond} ?)"
    return condition, [value, value, last.match_id]


def _rows_of(table: str, rows: list[_Row]) -> tuple[str, list[Any]]:
    """What follows FROM for these rows, and its parameters."""
    if not rows:
        return _OF_NO_MATCH, []
    places = np.array([row[2] for row in rows])
    first, last = places.min(), places.max()
    if last - first < _FAR_APART * len(rows):
        source = _OF_PAGE.format(table=table, first=first, last=last)
        return source, [to_bitstring(places - first, last - first + 1)]
    return _OF_PAGE_ANYWHERE.format(", ".join(f"{row[1]:d}" for row in rows)), []


def _with_fair(cursor: Connection, source: str, bound: list[Any], devig: Devig) -> tuple[str, list[Any]]:
    """The same rows with the fair probabilities of another method."""
    found = fetch_columns(cursor, _ODDS_OF.format(source=source), bound)
    other = fair(np.column_stack([np.ma.filled(found[f"odds_{outcome}"], np.nan) for outcome in OUTCOMES]), devig)
    lists = [pa.array(values, from_pandas=True).to_pylist() for values in other.T]
    return _WITH_FAIR.format(source=source), [*bound, found["match_id"].tolist(), *lists]
