"""What there is to filter by."""

from app.store.listing import Listing, struct


def all_facets() -> Listing:
    """Every region and tournament, and how many cards each has."""
    row = struct(region="region", tournament="tournament", n="n")
    source = "(SELECT region, tournament, count(*) AS n FROM cards GROUP BY ALL) ORDER BY region, tournament"
    return Listing(row, "region, tournament, n", source)
