"""Model versions over HTTP: what is served, what was compared, and a promotion by whoever may."""

from dataclasses import asdict

import asyncpg
from aiohttp import web

from app import appkeys
from app.errors import LedgerUnavailable, NoWorker, PromotionRefused
from app.ledger.database import AWAY
from app.ledger.promotions import (
    Promotion,
    StoredComparison,
    carry_out_promotion,
    find_comparison,
    find_earlier_version,
    list_comparisons,
    list_objections,
    list_promotions,
    plan_promotion,
)
from app.schemas import ModelComparisonOut, ModelInfoOut, ModelVersionsOut, PromoteIn, PromotionOut

CHAMPION = "champion"
_SHOWN_COMPARISONS, _SHOWN_PROMOTIONS = 20, 50
_RETRY_AFTER_S = 5.0


async def list_model_versions(request: web.Request) -> ModelVersionsOut:
    """The versions that are served, comparisons of versions on the same matches, and the promotions with their reasons.

    `scripts/models compare` and `scripts/models promote` make the comparisons.
    """
    served = [ModelInfoOut(**asdict(model)) for model in await request.app[appkeys.QUEUE].models()]
    if request.app[appkeys.LEDGER].database is None:
        return ModelVersionsOut(state="not_configured", served=served, comparisons=[], promotions=[])
    name = request.app[appkeys.SETTINGS].model_name
    try:
        pool = await _open_pool(request)
        comparisons = await list_comparisons(pool, name, _SHOWN_COMPARISONS)
        promotions = await list_promotions(pool, name, _SHOWN_PROMOTIONS)
    except AWAY as error:
        raise _ledger_away(error) from error
    return ModelVersionsOut(
        state="ok",
        served=served,
        comparisons=[_present_comparison(each) for each in comparisons],
        promotions=[_present_promotion(each) for each in promotions],
    )


async def promote_version(request: web.Request, body: PromoteIn) -> PromotionOut:
    """Let `champion` name another version: who, when and why is kept, and the workers follow by themselves.

    A version must have passed a comparison with the champion in the last 7 days, or come with a reason in `because`.
    A version that workers would not serve is refused whatever the reason. `rollback` names the one before.
    """
    try:
        pool = await _open_pool(request)
        current = await _find_current(request)
        if body.version is None:
            promotion = await _plan_rollback(request, pool, current, body.because)
        else:
            promotion = await _plan(request, pool, current, body.version, body.because)
        done = await carry_out_promotion(pool, promotion, lambda wish: _move(request, wish))
    except AWAY as error:
        raise _ledger_away(error) from error
    if not done.has_moved:
        raise PromotionRefused(f"The alias has not moved: {done.detail}.", objections=[done.detail])
    return _present_promotion(done)


async def _plan(
    request: web.Request, pool: asyncpg.Pool, current: str | None, version: str, because: str | None
) -> Promotion:
    name = request.app[appkeys.SETTINGS].model_name
    if version == current:
        raise PromotionRefused(f"{CHAMPION} is version {version} already.", objections=[])
    comparison = await find_comparison(pool, name, current, version)
    objections = list_objections(comparison, current, version)
    if objections and because is None:
        raise PromotionRefused(f"Version {version} has not passed: {'; '.join(objections)}.", objections=objections)
    return plan_promotion(
        name, CHAMPION, current, version, actor=_name_actor(request), because=because, comparison=comparison
    )


async def _plan_rollback(
    request: web.Request, pool: asyncpg.Pool, current: str | None, because: str | None
) -> Promotion:
    name = request.app[appkeys.SETTINGS].model_name
    earlier = await find_earlier_version(pool, name, CHAMPION, current)
    if earlier is None:
        raise PromotionRefused(f"No promotion says what {CHAMPION} named before version {current}.", objections=[])
    actor = _name_actor(request)
    return plan_promotion(name, CHAMPION, current, earlier, actor=actor, because=because, action="rollback")


async def _move(request: web.Request, promotion: Promotion) -> str | None:
    moves = request.app[appkeys.QUEUE].aliases
    return await moves.move(promotion.alias, promotion.to_version, expected=promotion.from_version)


async def _find_current(request: web.Request) -> str | None:
    """Return the version that the registry's alias names; what workers hold may be older by a few seconds."""
    queue = request.app[appkeys.QUEUE]
    if not await queue.workers():
        raise NoWorker("No worker is alive to look into the registry.")
    version, refused = await queue.aliases.find_version(CHAMPION)
    if refused is not None:
        raise PromotionRefused(f"The alias cannot be read: {refused}.", objections=[refused])
    return version


async def _open_pool(request: web.Request) -> asyncpg.Pool:
    database = request.app[appkeys.LEDGER].database
    if database is None:
        raise LedgerUnavailable("No database is configured to keep who promoted what, and why.")
    return await database.pool()


def _name_actor(request: web.Request) -> str:
    key = request.get(appkeys.CALLER)
    return f"key {key}" if key else request[appkeys.CLIENT]


def _ledger_away(error: BaseException) -> LedgerUnavailable:
    detail = f"The ledger's database cannot be reached ({type(error).__name__})."
    return LedgerUnavailable(detail, retry_after_s=_RETRY_AFTER_S)


def _present_comparison(found: StoredComparison) -> ModelComparisonOut:
    # a later version of this program may have kept more
    members = found.document | {"actor": found.actor, "has_passed": found.has_passed}
    return ModelComparisonOut.model_validate(members, extra="ignore")


def _present_promotion(promotion: Promotion) -> PromotionOut:
    return PromotionOut.model_validate(asdict(promotion), extra="ignore")
