"""Match cards: prediction, odds and edge of a match in one.

Alone because each resource of the API has its handler module.
"""

from aiohttp import web

from app.api.responses import Content, bulk_read
from app.api.selections import read_selection
from app.errors import InvalidRequest
from app.schemas import CardsQuery, CardsSqlOut, CardsSqlQuery
from app.store import cards
from app.store.cards import Order
from app.store.snapshot import Snapshot

TOTAL_HEADER = "X-Total-Count"


@bulk_read()
async def list_cards(request: web.Request, snapshot: Snapshot, query: CardsQuery) -> Content:
    """Predictions with odds and edge: filtered, ordered, a page at a time."""
    names = query.field_names()
    page = cards.Page(Order(query.sort.value), query.limit, query.cursor, query.devig, is_whole=not names)
    card_page = await cards.find_page(snapshot, read_selection(query), page)
    members = {
        "value_edge": snapshot.rules.value_edge,
        "edge_from": snapshot.edge_from.value,
        "devig": query.devig.value,
        "total": card_page.total,
        "next_cursor": card_page.next_cursor,
    }
    headers = {TOTAL_HEADER: str(card_page.total)}
    if card_page.next_cursor:
        # only JSON has a place for it in the body
        headers["Link"] = f'<{request.rel_url.update_query(cursor=card_page.next_cursor)}>; rel="next"'
    return Content(members, card_page.rows.select(names), headers, card_page.written)


async def get_cards_sql(request: web.Request, query: CardsSqlQuery) -> CardsSqlOut:
    """The SQL that gives these cards in scripts/sql and at POST /sql."""
    if query.as_of is not None:
        raise InvalidRequest("query as_of: SQL asks the snapshot as it is now.")
    return CardsSqlOut(sql=cards.write_cards_sql(read_selection(query), Order(query.sort.value), query.limit))
