"""Comparisons of model versions and promotions, in the ledger's database: what was found, who decided, and why."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import orjson

from app.domain.statistics import Estimate

VALID_FOR = timedelta(days=7)  # older evidence knows neither the newest matches nor the newest answers
# how much worse a mean log-loss may be, at the upper end of its interval, and still count as no worse
MARGIN_NATS = 0.002


class ComparisonVerdict(StrEnum):
    """What a paired difference of log-losses says of the candidate."""

    BETTER = "better"
    NOT_WORSE = "not_worse"
    WORSE = "worse"
    UNDECIDED = "undecided"
    TOO_FEW = "too_few"

    @classmethod
    def of_difference(cls, difference: Estimate | None) -> "ComparisonVerdict":
        """Judge candidate minus champion; None: there were too few matches."""
        if difference is None:
            return cls.TOO_FEW
        if difference.low > 0:
            return cls.WORSE
        if difference.high < 0:
            return cls.BETTER
        return cls.NOT_WORSE if difference.high <= MARGIN_NATS else cls.UNDECIDED


@dataclass(frozen=True, slots=True)
class MeanScores:
    """Mean scores of one version, smaller is better, and its calibration error beside that which chance alone gives."""

    log_loss: float
    brier: float
    rps: float
    ece: float
    ece_floor: float


@dataclass(frozen=True, slots=True)
class PairedScores:
    """Both versions on the same n matches; differences are candidate minus champion with their 95 % intervals."""

    n: int
    verdict: ComparisonVerdict
    champion: MeanScores | None = None  # None where there are too few matches
    candidate: MeanScores | None = None
    log_loss: Estimate | None = None
    brier: Estimate | None = None
    rps: Estimate | None = None


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """What a version is and costs."""

    version: str
    trained_until: datetime | None
    n_features: int
    n_golden_rows: int
    drift_psi: float | None  # of its probabilities in the last year beside those before; None: too few matches
    ms_one_row: float
    ms_64_rows: float
    memory_mb: float  # what one more copy takes in a worker


@dataclass(frozen=True, slots=True)
class ModelComparison:
    """A candidate beside the champion, and what speaks against its promotion."""

    model_name: str
    compared_at: datetime
    hold_out_since: datetime | None  # both versions know nothing from here on; None where that cannot be told
    hold_out: PairedScores
    live: PairedScores
    champion: VersionFacts
    candidate: VersionFacts
    objections: tuple[str, ...]

    @property
    def has_passed(self) -> bool:
        """Whether nothing speaks against a promotion."""
        return not self.objections


@dataclass(frozen=True, slots=True)
class StoredComparison:
    """A comparison as it lies in the database; `document` is the `ModelComparison`, as JSON."""

    id: UUID
    compared_at: datetime
    actor: str
    champion: str
    candidate: str
    has_passed: bool
    document: dict[str, Any]

    @property
    def objections(self) -> list[str]:
        """What speaks against the candidate."""
        return list(self.document["objections"])


@dataclass(frozen=True, slots=True)
class Promotion:
    """One move of an alias: who, when, why; `has_moved` is None while nobody knows what came of it."""

    id: UUID
    asked_at: datetime
    actor: str
    action: str
    model_name: str
    alias: str
    from_version: str | None
    to_version: str
    because: str | None
    comparison_id: UUID | None
    ended_at: datetime | None = None
    has_moved: bool | None = None
    detail: str | None = None


def plan_promotion(  # noqa: PLR0913  # the members of a promotion
    model_name: str,
    alias: str,
    from_version: str | None,
    to_version: str,
    *,
    actor: str,
    because: str | None,
    comparison: StoredComparison | None = None,
    action: str = "promote",
) -> Promotion:
    """Return a promotion that is asked for now."""
    return Promotion(
        id=uuid4(),
        asked_at=datetime.now(UTC),
        actor=actor,
        action=action,
        model_name=model_name,
        alias=alias,
        from_version=from_version,
        to_version=to_version,
        because=because,
        comparison_id=comparison.id if comparison else None,
    )


def list_objections(comparison: StoredComparison | None, champion: str | None, candidate: str) -> list[str]:
    """Return what the evidence says against a promotion; without evidence that is said."""
    if champion is None:
        return []  # nothing to be compared with
    if comparison is None:
        return [f"versions {champion} and {candidate} have not been compared in the last {VALID_FOR.days} days"]
    return comparison.objections


async def store_comparison(pool: asyncpg.Pool, comparison: ModelComparison, actor: str) -> StoredComparison:
    """Keep a comparison."""
    document = orjson.loads(orjson.dumps(asdict(comparison)))
    stored = StoredComparison(
        id=uuid4(),
        compared_at=comparison.compared_at,
        actor=actor,
        champion=comparison.champion.version,
        candidate=comparison.candidate.version,
        has_passed=comparison.has_passed,
        document=document,
    )
    await pool.execute(
        "INSERT INTO model_comparisons VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        stored.id, stored.compared_at, actor, comparison.model_name, stored.champion, stored.candidate,
        stored.has_passed, orjson.dumps(document).decode(),
    )  # fmt: skip
    return stored


async def find_comparison(
    pool: asyncpg.Pool, model_name: str, champion: str | None, candidate: str
) -> StoredComparison | None:
    """Return the newest comparison of two versions that still counts."""
    row = await pool.fetchrow(
        "SELECT id, compared_at, actor, champion, candidate, has_passed, document FROM model_comparisons"
        " WHERE model_name = $1 AND champion = $2 AND candidate = $3 AND compared_at > $4"
        " ORDER BY compared_at DESC LIMIT 1",
        model_name, champion, candidate, datetime.now(UTC) - VALID_FOR,
    )  # fmt: skip
    return None if row is None else _comparison(row)


async def list_comparisons(pool: asyncpg.Pool, model_name: str, limit: int) -> list[StoredComparison]:
    """Return the newest comparison of each pair of versions, newest first."""
    rows = await pool.fetch(
        "SELECT * FROM (SELECT DISTINCT ON (champion, candidate)"
        " id, compared_at, actor, champion, candidate, has_passed, document FROM model_comparisons"
        " WHERE model_name = $1 ORDER BY champion, candidate, compared_at DESC) newest"
        " ORDER BY compared_at DESC LIMIT $2",
        model_name, limit,
    )  # fmt: skip
    return [_comparison(row) for row in rows]


def _comparison(row: asyncpg.Record) -> StoredComparison:
    return StoredComparison(**{**row, "document": orjson.loads(row["document"])})


async def carry_out_promotion(
    pool: asyncpg.Pool, promotion: Promotion, move: Callable[[Promotion], Awaitable[str | None]]
) -> Promotion:
    """Write who wants the move and why, do it, and write what came of it; the promotion with that in it.

    Args:
        pool: connections of the ledger's database.
        promotion: what is wanted.
        move: moves the alias, and says why not where that is refused. When it raises, nobody knows what came of it.
    """
    names = [field.name for field in fields(Promotion)][:10]
    places = ", ".join(f"${place}" for place in range(1, len(names) + 1))
    insert = f"INSERT INTO model_promotions ({', '.join(names)}) VALUES ({places})"  # noqa: S608  # our own names
    await pool.execute(insert, *(getattr(promotion, name) for name in names))
    refused = await move(promotion)
    ended = replace(promotion, ended_at=datetime.now(UTC), has_moved=refused is None, detail=refused or "")
    insert = "INSERT INTO model_promotion_results VALUES ($1, $2, $3, $4)"
    await pool.execute(insert, ended.id, ended.ended_at, ended.has_moved, ended.detail)
    return ended


async def list_promotions(pool: asyncpg.Pool, model_name: str, limit: int) -> list[Promotion]:
    """Return the newest promotions first."""
    rows: Sequence[asyncpg.Record] = await pool.fetch(
        "SELECT asked.*, ended.ended_at, ended.has_moved, ended.detail FROM model_promotions asked"
        " LEFT JOIN model_promotion_results ended ON ended.promotion_id = asked.id"
        " WHERE model_name = $1 ORDER BY asked_at DESC LIMIT $2",
        model_name, limit,
    )  # fmt: skip
    return [Promotion(**row) for row in rows]


async def find_earlier_version(pool: asyncpg.Pool, model_name: str, alias: str, current: str | None) -> str | None:
    """Return the version that an alias named before the current one, where a promotion says so."""
    found: str | None = await pool.fetchval(
        "SELECT from_version FROM model_promotions asked LEFT JOIN model_promotion_results ended"
        " ON ended.promotion_id = asked.id WHERE model_name = $1 AND alias = $2 AND to_version = $3"
        " AND ended.has_moved IS NOT FALSE ORDER BY asked_at DESC LIMIT 1",
        model_name, alias, current,
    )  # fmt: skip
    return found
