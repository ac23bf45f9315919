"""What every list of rows can be asked for: its form, and which fields."""

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from app.schemas.wire import AsOfQuery, SnapshotOut


class FormatName(StrEnum):
    """A form by a short name, for those who cannot set a header."""

    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"
    ARROW = "arrow"
    PARQUET = "parquet"


class ListQuery(AsOfQuery):
    """The form of a list and the fields of its rows."""

    fields: str | None = Field(
        None,
        max_length=500,
        pattern="^[A-Za-z0-9_, ]*$",
        description="members or columns to give, separated by commas; all when left out",
    )
    format: FormatName | None = Field(None, description="the form of the answer, in place of the Accept header")

    def named(self) -> tuple[str, ...]:
        """The fields, each once, in the order in which they were named."""
        words = (word.strip() for word in (self.fields or "").split(","))
        return tuple(dict.fromkeys(word for word in words if word))


class PickedOut(BaseModel):
    """A list of rows that hold only what `fields` named."""

    model_config = ConfigDict(extra="allow", frozen=True)

    snapshot: SnapshotOut
    items: list[dict[str, Any]]
