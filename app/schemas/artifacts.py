"""What became of a look for new artifacts."""

from pydantic import Field

from app.schemas.wire import Out


class RefreshOut(Out):
    """What is served after the look."""

    snapshot_id: str | None = Field(description="what is served now; null when nothing could be opened yet")
    changed: bool = Field(description="whether this look brought a new snapshot")
    fault: str | None = Field(description="why the newest artifacts are not the ones served; null when they are")
