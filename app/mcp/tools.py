"""The tools: each asks one operation of the API that changes nothing, and says how old its answer is.

Live predictions are no tool: the service writes each into its ledger.
"""

from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Any, TypeVar

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import BaseModel, Field

from app import __version__
from app.client import ApiFailure, ApiRequest, TouchlineClient
from app.schemas import (
    AsOfQuery,
    CardFilter,
    CardSort,
    CardsQuery,
    FacetsQuery,
    ListQuery,
    QualityQuery,
    RoiQuery,
    SnapshotOut,
    SqlIn,
    SqlOut,
)

INSTRUCTIONS = """Football match predictions beside bookmakers' odds. Every answer has `age`: say how old the data is,
and whether it is simulated, when you use a number. Say intervals and numbers of bets beside ROI: null means too few.
`edge` is probability times odds minus 1, and `edge_from` says whose probability.
Times are UTC. `as_of` answers with what was known at that time.
Begin with list_facets for names of regions and tournaments. These are estimates, no advice to bet."""
MAX_SQL_ROWS = 200  # more fill an assistant's context and tell it nothing: it should aggregate
_READS = ToolAnnotations(readOnlyHint=True, destructiveHint=False, idempotentHint=True, openWorldHint=False)
M = TypeVar("M", bound=BaseModel)
Answer = dict[str, Any]


class CardsToolQuery(CardFilter):
    """Filter, order and page of cards."""

    sort: CardSort = CardSort.KICKOFF
    limit: int = Field(20, ge=1, le=100)
    cursor: str | None = Field(None, max_length=200, description="next_cursor of the page before, of the same filter")


class ReadOnlyTools:
    """The operations as methods; their docstrings and types are what an assistant reads."""

    def __init__(self, client: TouchlineClient) -> None:
        self._client = client

    async def list_facets(self, query: CardFilter | None = None) -> Answer:
        """List the regions, tournaments and statuses to filter by, with their numbers of matches."""
        return await _answer(self._client.list_facets(_convert(query, FacetsQuery)))

    async def list_cards(self, query: CardsToolQuery | None = None) -> Answer:
        """List matches with the model's forecast, the odds, edge, staking and the region's earlier ROI."""
        return await _answer(self._client.list_cards(_convert(query or CardsToolQuery(limit=20), CardsQuery)))

    async def get_forecast(self, match_id: int, as_of: datetime | None = None) -> Answer:
        """Get the precomputed forecast of one match: 1X2 probabilities, the model behind them, and when it was made."""
        return await _answer(self._client.get_precomputed(match_id, _at(as_of)))

    async def get_match_history(self, match_id: int, as_of: datetime | None = None) -> Answer:
        """Get the odds and forecasts of one match over time, oldest first, each with the time it was known."""
        return await _answer(self._client.get_history(match_id, _at(as_of)))

    async def get_roi(self, query: RoiQuery | None = None) -> Answer:
        """Get return on stakes of value bets over the selected finished matches, with its 95 % interval."""
        return await _answer(self._client.get_roi(query))

    async def list_region_roi(self, as_of: datetime | None = None) -> Answer:
        """List the ROI of each region with its 95 % interval and number of bets."""
        query = None if as_of is None else ListQuery(as_of=as_of)
        return await _answer(self._client.list_region_roi(query))

    async def get_quality(self, query: QualityQuery | None = None) -> Answer:
        """Get scores and calibration of settled live predictions by model version, with intervals."""
        return await _answer(self._client.get_quality(query))

    async def get_drift(self) -> Answer:
        """Get the newest drift report: whether recent matches differ from those that the model learned from."""
        return await _answer(self._client.get_drift())

    async def list_models(self) -> Answer:
        """List the models that are served, by alias, with their versions and training metrics."""
        return await _answer(self._client.list_models())

    async def get_status(self) -> Answer:
        """Get whether the service is ready, and what is wrong where it is not."""
        return await _answer(self._client.get_readyz())

    async def run_sql(self, sql: str) -> Answer:
        """Run one SELECT of DuckDB over the tables predictions, odds, cards, features and region_roi.

        At most 200 rows come back: aggregate, or use LIMIT. `SELECT * FROM cards LIMIT 1` shows the columns.
        """
        body = SqlIn(sql=sql).model_dump_json(exclude_none=True)
        try:
            reply = await self._client.send(ApiRequest("/sql", method="POST", body=body))
            snapshot = (await self._client.list_cards(CardsQuery(limit=1))).snapshot
        except ApiFailure as failure:
            raise ToolError(str(failure)) from failure
        rows = reply.parse(SqlOut).model_dump(mode="json")
        # published between the two calls: then nothing is known of the age of these rows
        age = _age_of(snapshot) if snapshot.id == reply.snapshot_id else {"snapshot_id": reply.snapshot_id}
        n_rows = len(rows["rows"])
        return {
            "age": age,
            "columns": rows["columns"],
            "rows": rows["rows"][:MAX_SQL_ROWS],
            "n_rows": n_rows,
            "truncated": n_rows > MAX_SQL_ROWS,
        }


TOOLS = (
    ReadOnlyTools.list_facets,
    ReadOnlyTools.list_cards,
    ReadOnlyTools.get_forecast,
    ReadOnlyTools.get_match_history,
    ReadOnlyTools.get_roi,
    ReadOnlyTools.list_region_roi,
    ReadOnlyTools.get_quality,
    ReadOnlyTools.get_drift,
    ReadOnlyTools.list_models,
    ReadOnlyTools.get_status,
    ReadOnlyTools.run_sql,
)


def build_server(client: TouchlineClient) -> MCPServer:
    """Return the server of these tools over a client of the API."""
    server = MCPServer("touchline", version=__version__, instructions=INSTRUCTIONS, log_level="WARNING")
    tools = ReadOnlyTools(client)
    for tool in TOOLS:
        server.add_tool(tool.__get__(tools), annotations=_READS)
    return server


async def _answer(call: Awaitable[BaseModel]) -> Answer:
    """Return an answer with its age; ToolError with the problem's words and code."""
    try:
        found = await call
    except ApiFailure as failure:
        raise ToolError(str(failure)) from failure
    snapshot = getattr(found, "snapshot", None)
    age = _age_of(snapshot) if isinstance(snapshot, SnapshotOut) else {"read_at": datetime.now(UTC).isoformat()}
    return {"age": age, **found.model_dump(mode="json", exclude={"snapshot"})}


def _age_of(snapshot: SnapshotOut) -> Answer:
    now = datetime.now(UTC)
    data_until = snapshot.data_until
    return {
        "read_at": now.isoformat(),
        "snapshot_id": snapshot.id,
        "built_at": snapshot.built_at.isoformat(),
        "built_age_h": round((now - snapshot.built_at).total_seconds() / 3600, 1),
        "newest_result_at": data_until and data_until.isoformat(),
        "newest_result_age_h": data_until and round((now - data_until).total_seconds() / 3600, 1),
        "source": snapshot.source,
        "simulated": snapshot.simulated,
        "stale": snapshot.stale,
    }


def _at(as_of: datetime | None) -> AsOfQuery | None:
    return None if as_of is None else AsOfQuery(as_of=as_of)


def _convert(query: BaseModel | None, model: type[M]) -> M:
    """Return what was set in a query of a tool as a query of the API."""
    return model(**{} if query is None else query.model_dump(by_alias=True, exclude_unset=True))
