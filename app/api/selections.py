"""From a filter in a URL to a selection of the store."""

from app.schemas import CardFilter
from app.store.selection import Selection


def read_selection(query: CardFilter) -> Selection:
    """The same question in the store's words."""
    return Selection(
        region=query.region,
        tournament=query.tournament,
        status=query.status,
        since=query.from_,
        until=query.to,
        min_edge=query.min_edge,
        min_region_roi=query.min_region_roi,
        text=query.q,
        value_only=query.value,
    )
