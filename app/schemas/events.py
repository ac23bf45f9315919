"""What the change feed says, as the JSON of each event's data."""

from pydantic import AwareDatetime, BaseModel, Field


class SnapshotEventOut(BaseModel):
    """Event `snapshot`: these artifacts are being served from now on."""

    id: str
    built_at: AwareDatetime
    source: str
    stale: bool = Field(description="newer artifacts could not be opened")


class ModelEventOut(BaseModel):
    """Event `model`: the newest version that workers hold under an alias."""

    alias: str
    version: str | None = Field(description="null when no living worker holds one")


class MatchesEventOut(BaseModel):
    """Events `odds` and `predictions`: these matches differ from the snapshot before."""

    snapshot: str
    match_ids: list[int] = Field(description="matches to come first, by kick-off")
    total: int | None = Field(description="how many matches changed; null when they could not be compared")
    truncated: bool = Field(description="more matches changed than are listed")
