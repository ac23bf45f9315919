"""Opens the artifacts of the settings, for the service and for the operator's scripts alike."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from app.settings import Settings
from app.store.gate import Gate
from app.store.money import MoneyRules
from app.store.objects import source_of
from app.store.private import PrivateFolders
from app.store.snapshot import OpenRules
from app.store.snapshots import OnSwap, Snapshots
from app.store.source import Source


@asynccontextmanager
async def open_snapshots(settings: Settings, gate: Gate, on_swap: Iterable[OnSwap] = ()) -> AsyncIterator[Snapshots]:
    """The artifacts, watched until the end; what they need on disk lies in the cache of TOUCHLINE_HOME."""
    cache = settings.touchline_home / "cache"
    private = await asyncio.to_thread(PrivateFolders, cache / "snapshots")
    try:
        source, rules = _source(settings, cache), _open_rules(settings, cache, gate)
        async with Snapshots.open(
            source, private, rules, poll_s=settings.artifact_poll_s, on_swap=on_swap
        ) as snapshots:
            yield snapshots
    finally:
        await asyncio.to_thread(private.remove)


def _source(settings: Settings, cache: Path) -> Source:
    limit_bytes = int(settings.artifact_cache_gb * 10**9)
    return source_of(settings.artifacts_uri, cache, limit_bytes=limit_bytes, silence_s=settings.artifact_silence_s)


def _open_rules(settings: Settings, cache: Path, gate: Gate) -> OpenRules:
    return OpenRules(
        money=MoneyRules(
            settings.value_edge,
            settings.kelly_fraction,
            settings.kelly_cap,
            settings.min_bets,
            settings.min_history,
        ),
        query_threads=settings.query_threads,
        query_memory=settings.query_memory,
        query_timeout_s=settings.query_timeout_s,
        gate=gate,
        feature_cache=cache / "features",
    )
