"""SQL from outside."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class SqlIn(BaseModel):
    """One query."""

    model_config = ConfigDict(strict=True, extra="forbid")

    sql: str = Field(min_length=1, max_length=20_000, description="one SELECT, FROM or EXPLAIN")
    format: Literal["json", "csv", "arrow"] | None = Field(None, description="instead of the Accept header")
