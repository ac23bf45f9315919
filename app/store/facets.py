"""Facets: what there is to filter by, and how many matches of a selection each choice has.

Alone because the store has one module a data set.
"""

from dataclasses import dataclass, replace
from typing import Any

from app.store import selection as store_selection
from app.store.database import Connection
from app.store.fields import Listing, columns
from app.store.selection import Selection
from app.store.snapshot import Snapshot

_SHAPE = columns("region", "tournament", "n")
# by number of fixture first: a text is compared once per fixture, not once per match
_PLACES = """
(SELECT region, tournament, sum(n)::BIGINT AS n
FROM (SELECT fixture_no, count(*) AS n FROM cards WHERE {where} GROUP BY fixture_no) JOIN fixtures USING (fixture_no)
GROUP BY ALL) ORDER BY region, tournament
"""
# not count_if, which is null where it meets nulls alone
_STATUSES = """
SELECT status, count(*), count(*) FILTER (is_value) FROM cards WHERE {where} GROUP BY status ORDER BY status
"""


@dataclass(frozen=True, slots=True)
class Facets:
    """Counts over a selection, each leaving out the filter of its own kind: what choosing otherwise would give."""

    members: dict[str, Any]
    places: Listing


async def selection_facets(snapshot: Snapshot, selection: Selection) -> Facets:
    """Count by status at once; by region and tournament when the listing is rendered."""
    return await snapshot.database.run(lambda cursor: _of(cursor, selection))


def _of(cursor: Connection, selection: Selection) -> Facets:
    anywhere, params = store_selection.fixtures_condition(cursor, replace(selection, region=(), tournament=()))
    return Facets(_by_status(cursor, selection), Listing(_SHAPE, _PLACES.format(where=anywhere), params))


def _by_status(cursor: Connection, selection: Selection) -> dict[str, Any]:
    where, params = store_selection.fixtures_condition(cursor, replace(selection, status=()))
    counted = cursor.execute(_STATUSES.format(where=where), params).fetchall()
    asked = [row for row in counted if not selection.status or row[0] in selection.status]
    return {
        "total": sum(n for _, n, _ in asked),
        "n_value": sum(n_value for _, _, n_value in asked),
        "statuses": [{"status": status, "n": n} for status, n, _ in counted],
    }
