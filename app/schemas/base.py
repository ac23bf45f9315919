"""What every schema builds on: strictness, instants, and fields that many answers share."""

import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from app.domain.vocabulary import Label

Outcome = Label
Status = Literal["upcoming", "live", "awaiting_result", "finished", "postponed", "cancelled", "abandoned", "awarded"]
Probability = Annotated[float, Field(ge=0, le=1)]

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def _written_out(value: object) -> object:
    # pydantic would take "0.5" as half a second after 1970
    if isinstance(value, str) and not _RFC_3339.fullmatch(value):
        raise ValueError("must be an RFC 3339 time such as 2026-08-15T14:00:00Z")
    return value


Instant = Annotated[AwareDatetime, BeforeValidator(_written_out)]


def _whole(value: object) -> object:
    # JSON Schema takes 3.0 for an integer; past 2**53 a float stands for several of them
    if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53:
        return int(value)
    return value


WholeNumber = Annotated[int, BeforeValidator(_whole)]


class Out(BaseModel):
    """An answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class In(BaseModel):
    """A request body: strict, so that `false` is not accepted as 0."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Params(BaseModel):
    """Path or query parameters, which arrive as text; unknown ones are an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SnapshotOut(Out):
    """The artifacts behind an answer and their age."""

    id: str = Field(description="changes when any artifact changes")
    source: str | None = Field(description="where the results came from; null when the artifacts do not say")
    simulated: bool | None = Field(description="true when the matches are made up; null when the artifacts do not say")
    has_manifest: bool = Field(description="false when there was no manifest: then times are those of the files")
    built_at: datetime = Field(description="when the pipeline finished, UTC")
    data_until: datetime | None = Field(description="newest result the pipeline saw, UTC")
    stale: bool = Field(description="true when newer artifacts could not be opened")


class ModelRefOut(Out):
    """Which model made a number."""

    name: str
    version: str
    stage: str = Field(description="alias, or walk-forward for a model that saw only earlier matches")
    run_id: str


class ProbabilitiesOut(Out):
    """1X2 probabilities; they sum to one."""

    home: Probability
    draw: Probability
    away: Probability


class DifferencesOut(Out):
    """A difference of probabilities for each outcome."""

    home: float
    draw: float
    away: float


class Odds1X2Out(Out):
    """Decimal odds."""

    home: float = Field(gt=1)
    draw: float = Field(gt=1)
    away: float = Field(gt=1)


class AsOfQuery(Params):
    """A time, in place of now."""

    as_of: Instant | None = Field(
        None,
        description="answer only with what was known then, RFC 3339; such an answer never changes",
    )


class MatchPath(Params):
    """A match."""

    match_id: int = Field(ge=0, le=2**63 - 1)


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

    def field_names(self) -> tuple[str, ...]:
        """The fields, each once, in the order in which they were named."""
        words = (word.strip() for word in (self.fields or "").split(","))
        return tuple(dict.fromkeys(word for word in words if word))


class PickedOut(BaseModel):
    """A list of rows that hold only what `fields` named."""

    model_config = ConfigDict(extra="allow", frozen=True)

    snapshot: SnapshotOut
    items: list[dict[str, Any]]
