"""Health of a process, and the one shape of a failure."""

from typing import Literal

from pydantic import ConfigDict, Field

from app.schemas.base import Out, Params


class PartOut(Out):
    """Health of one part."""

    name: str
    ok: bool
    detail: str


class ReadyQuery(Params):
    """Ready for what."""

    need: Literal["all", "reads"] = Field("all", description="reads: without Redis and workers, precomputed answers")


class ReadyOut(Out):
    """Whether this process should get traffic."""

    ready: bool
    degraded: bool
    parts: list[PartOut]


class LiveOut(Out):
    """The event loop turns."""

    status: Literal["alive"]


class HealthOut(Out):
    """Process and database."""

    status: Literal["ok", "degraded"]
    version: str
    pid: int
    uptime_s: float
    memory_mb: float | None
    database: Literal["connected", "unreachable", "not_configured"]
    journal_fault: str | None = Field(
        None, description="why the ledger's rows wait in memory and not on disk; null while the disk takes them"
    )


class ProblemOut(Out):
    """RFC 9457 problem; `code` is stable."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str | None = None
