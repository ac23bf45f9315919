"""`scripts/models list | compare | promote | rollback`: versions of the model, and which of them may answer.

A module of its own, as it is a command: the pool never imports it.
"""

import argparse
import asyncio
import getpass
import logging
import socket
import sys
import tempfile
import warnings
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg

from app.artifacts import contract
from app.artifacts.folder import open_source
from app.artifacts.source import ArtifactsUnreachable, CannotStore, Version
from app.domain.statistics import Estimate
from app.ledger.database import AWAY, LedgerDatabase
from app.ledger.evaluation import fetch_settled
from app.ledger.promotions import (
    ModelComparison,
    PairedScores,
    Promotion,
    StoredComparison,
    VersionFacts,
    carry_out_promotion,
    find_comparison,
    find_earlier_version,
    list_objections,
    list_promotions,
    plan_promotion,
    store_comparison,
)
from app.settings import Settings
from worker.model_comparison import compare_versions
from worker.predictors import ModelRefused
from worker.registry import REGISTRY_ERRORS, ModelRegistry

REFUSED, UNREACHABLE = 1, 2  # exit codes
CHAMPION = "champion"
LIVE_WINDOW = timedelta(days=365)
_SHOWN_PROMOTIONS = 10


class PromotionStopped(Exception):
    """A promotion that is not done; the message says why."""


@dataclass(frozen=True, slots=True)
class ModelCommands:
    """What the commands work with."""

    settings: Settings
    registry: ModelRegistry
    pool: asyncpg.Pool
    actor: str

    async def list_all(self) -> list[str]:
        """Return the versions and the last promotions as lines."""
        versions = await asyncio.to_thread(self.registry.list_versions)
        lines = ["version  aliases               registered        trained until  log-loss"]
        for each in versions:
            trained_until = each.tags.get("trained_until", "")[:10]
            log_loss = each.metrics.get("log_loss")
            lines.append(
                f"{each.version:<8} {', '.join(each.aliases) or '-':<21} {each.registered_at:%Y-%m-%d %H:%M}"
                f"  {trained_until or '-':<13}  {'-' if log_loss is None else f'{log_loss:.4f}'}"
            )
        promotions = await list_promotions(self.pool, self.settings.model_name, _SHOWN_PROMOTIONS)
        return [*lines, *(["", "promotions, newest first"] if promotions else []), *map(_write_promotion, promotions)]

    async def compare(self, champion: str, candidate: str) -> tuple[ModelComparison, StoredComparison]:
        """Compare two versions and keep what was found."""
        settled = await fetch_settled(self.pool, datetime.now(UTC) - LIVE_WINDOW)
        async with _fetch_artifacts(self.settings) as folder:
            found = await asyncio.to_thread(compare_versions, self.registry, (champion, candidate), folder, settled)
        return found, await store_comparison(self.pool, found, self.actor)

    async def promote(self, version: str, because: str | None) -> Promotion:
        """Let `champion` name a version that has passed, or any that can be served where a reason is given."""
        current = await asyncio.to_thread(self.registry.version_of, CHAMPION)
        if current == version:
            raise PromotionStopped(f"{CHAMPION} names version {version} already.")
        comparison = await find_comparison(self.pool, self.settings.model_name, current, version)
        if comparison is None and current is not None and because is None:
            _, comparison = await self.compare(current, version)
        objections = list_objections(comparison, current, version)
        if objections and not because:
            raise PromotionStopped(f"Version {version} has not passed: {'; '.join(objections)}.")
        return await self._move(
            plan_promotion(
                self.settings.model_name,
                CHAMPION,
                current,
                version,
                actor=self.actor,
                because=because,
                comparison=comparison,
            )
        )

    async def roll_back(self, because: str | None) -> Promotion:
        """Let `champion` name the version before its last promotion."""
        current = await asyncio.to_thread(self.registry.version_of, CHAMPION)
        name = self.settings.model_name
        earlier = await find_earlier_version(self.pool, name, CHAMPION, current)
        if earlier is None:
            raise PromotionStopped(f"No promotion says what {CHAMPION} named before version {current}.")
        return await self._move(
            plan_promotion(name, CHAMPION, current, earlier, actor=self.actor, because=because, action="rollback")
        )

    async def _move(self, promotion: Promotion) -> Promotion:
        def move() -> str | None:
            try:
                self.registry.move_alias(promotion.alias, promotion.to_version, expected=promotion.from_version)
            except ModelRefused as error:
                return str(error)
            return None

        done = await carry_out_promotion(self.pool, promotion, lambda _: asyncio.to_thread(move))
        if not done.has_moved:
            raise PromotionStopped(f"{done.detail}.")
        return done


@asynccontextmanager
async def _fetch_artifacts(settings: Settings) -> AsyncIterator[Path]:
    """A private folder with the predictions and features that are served."""
    work = settings.touchline_home / "work"
    await asyncio.to_thread(work.mkdir, parents=True, exist_ok=True)
    source = open_source(settings.artifacts_uri, settings.touchline_home / "cache" / "models")
    version = await source.look()
    needed = (contract.PREDICTIONS, contract.FEATURES)
    files = {name: version.files[name] for name in needed if name in version.files}
    if len(files) < len(needed):
        raise PromotionStopped(f"{settings.artifacts_uri} has no predictions or no features to compare with.")
    with tempfile.TemporaryDirectory(prefix="models-", dir=work) as name:
        await source.fetch(Version(manifest=version.manifest, files=files), Path(name))
        yield Path(name)


def describe_comparison(found: ModelComparison) -> list[str]:
    """Return a comparison as lines for people."""
    champion, candidate = found.champion, found.candidate
    since = f"kicked off since {found.hold_out_since:%Y-%m-%d}" if found.hold_out_since else "of no known time"
    rows = [
        ("trained until", *map(_write_day, (champion.trained_until, candidate.trained_until))),
        ("features", str(champion.n_features), str(candidate.n_features)),
        ("golden rows", str(champion.n_golden_rows), str(candidate.n_golden_rows)),
        ("drift (PSI, last year)", _write_psi(champion), _write_psi(candidate)),
        ("one row, ms", f"{champion.ms_one_row:.3f}", f"{candidate.ms_one_row:.3f}"),
        ("64 rows, ms", f"{champion.ms_64_rows:.3f}", f"{candidate.ms_64_rows:.3f}"),
        ("memory of a copy, MB", f"{champion.memory_mb:.1f}", f"{candidate.memory_mb:.1f}"),
    ]
    return [
        f"{found.model_name}: champion {champion.version}, candidate {candidate.version}",
        *_describe_scores(f"hold-out, {found.hold_out.n} matches {since}", found.hold_out),
        *_describe_scores(f"settled live predictions, {found.live.n} matches", found.live),
        f"{'':<26}{'champion':>12}{'candidate':>12}",
        *(f"  {name:<24}{ours:>12}{theirs:>12}" for name, ours, theirs in rows),
        "passed" if found.has_passed else "not passed:",
        *(f"  - {objection}" for objection in found.objections),
    ]


def _describe_scores(title: str, found: PairedScores) -> list[str]:
    lines = [f"{title}: {found.verdict}"]
    if found.champion is None or found.candidate is None:
        return lines
    for name in ("log_loss", "brier", "rps"):
        values = getattr(found.champion, name), getattr(found.candidate, name)
        difference: Estimate = getattr(found, name)
        lines.append(
            f"  {name:<24}{values[0]:>12.4f}{values[1]:>12.4f}   {difference.value:+.4f} "
            f"(95 %: {difference.low:+.4f} to {difference.high:+.4f})"
        )
    calibration = [f"{each.ece:.4f}/{each.ece_floor:.4f}" for each in (found.champion, found.candidate)]
    return [*lines, f"  {'ece/by chance alone':<24}{calibration[0]:>16}{calibration[1]:>16}"]


def _write_day(instant: datetime | None) -> str:
    return "-" if instant is None else f"{instant:%Y-%m-%d}"


def _write_psi(facts: VersionFacts) -> str:
    return "-" if facts.drift_psi is None else f"{facts.drift_psi:.4f}"


def _write_promotion(promotion: Promotion) -> str:
    came = {True: "", False: f" NOT DONE: {promotion.detail}", None: " (nobody knows what came of it)"}
    because = f" because {promotion.because}" if promotion.because else ""
    return (
        f"{promotion.asked_at:%Y-%m-%d %H:%M} {promotion.action} {promotion.alias} {promotion.from_version or '-'} -> "
        f"{promotion.to_version} by {promotion.actor}{because}{came[promotion.has_moved]}"
    )


async def run_command(settings: Settings, chosen: argparse.Namespace) -> list[str]:
    """Do what the command line says; what to print."""
    if settings.database_url is None:
        raise PromotionStopped("No database is configured: DATABASE_URL is not set, and scripts/run is not running.")
    database = LedgerDatabase(settings.database_url.get_secret_value())
    actor = f"{getpass.getuser()}@{socket.gethostname()}"
    try:
        registry = await asyncio.to_thread(ModelRegistry, settings)
        commands = ModelCommands(settings, registry, await database.pool(), actor)
        match chosen.action:
            case "list":
                return await commands.list_all()
            case "compare":
                found, _ = await commands.compare(chosen.champion, chosen.candidate)
                return describe_comparison(found)
            case "promote":
                return [_write_promotion(await commands.promote(chosen.version, chosen.because))]
            case _:
                return [_write_promotion(await commands.roll_back(chosen.because))]
    finally:
        await database.close()


def _parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/models", description="Compare versions of the model, and promote.")
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("list", help="versions with their aliases and scores, and the last promotions")
    compare = actions.add_parser("compare", help="both on the same matches: hold-out and settled live predictions")
    compare.add_argument("champion", help="version")
    compare.add_argument("candidate", help="version")
    promote = actions.add_parser("promote", help="let champion name a version that has passed")
    promote.add_argument("version")
    back = actions.add_parser("rollback", help="let champion name the version before its last promotion")
    for action in (promote, back):
        action.add_argument("--because", help="the reason; with one, a version that has not passed is promoted too")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says; the exit code."""
    chosen = _parse_arguments(argv)
    warnings.simplefilter("ignore")
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    try:
        lines = asyncio.run(run_command(Settings(), chosen))
    except (PromotionStopped, ModelRefused) as error:
        sys.stderr.write(f"{error}\n")
        return REFUSED
    except AWAY as error:
        sys.stderr.write(f"The ledger's database or the registry cannot be reached: {error}\n")
        return UNREACHABLE
    except (*REGISTRY_ERRORS, ArtifactsUnreachable, CannotStore) as error:
        sys.stderr.write(f"The registry or the artifacts cannot be read: {error}\n")
        return UNREACHABLE
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
