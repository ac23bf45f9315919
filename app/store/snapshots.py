"""The snapshot that is served, and the watch that replaces it by a newer one."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Generic, Literal, Self, TypeVar

import structlog

from app.artifacts import unversioned
from app.artifacts.folder import open_source
from app.artifacts.manifest import MANIFEST
from app.artifacts.source import DISK_FULL, ArtifactsUnreachable, CannotStore, Source, Version
from app.artifacts.workspace import Workspace
from app.errors import SnapshotUnavailable
from app.settings import Settings
from app.store import cards, match_history
from app.store.database import DatabaseError, QueryLimiter
from app.store.money import MoneyRules
from app.store.snapshot import BrokenArtifacts, OpenRules, Snapshot, open_snapshot

T = TypeVar("T")


class CoalescedRefresh(Generic[T]):
    """Whoever asks gets the result of a look that began after the question.

    So nobody is told of a state older than what they know, and a thousand askers cost two looks at most: the one that
    is being made, and the one after it that they all wait for.
    """

    def __init__(self, look: Callable[[], Awaitable[T]], *, interval_s: float) -> None:
        self._look = look
        self._interval_s = interval_s
        self._next: asyncio.Task[T] | None = None
        self._running: asyncio.Task[T] | None = None
        self._not_before = 0.0

    async def ask(self) -> T:
        """The result of the next look; an asker who goes away does not end it for the others."""
        if self._next is None:
            self._next = asyncio.create_task(self._run(self._running), name="artifact-look")
        return await asyncio.shield(self._next)

    async def close(self) -> None:
        """End what is being done and what waits."""
        for task in (self._next, self._running):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def _run(self, before: asyncio.Task[T] | None) -> T:
        if before is not None:
            await asyncio.wait([before])
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._not_before - loop.time())
        # from here on a question is about what comes after this look
        self._running, self._next = self._next, None
        self._not_before = loop.time() + self._interval_s
        return await self._look()


log = structlog.get_logger(__name__)
FaultKind = Literal["unreachable", "broken", "storage", "unexpected"]
_RETRY_AFTER_S = 5.0
_FEATURES_WAIT_S = 30.0  # 2 GB of feature rows take about ten seconds
_LOOK_INTERVAL_S = 0.5  # between the beginnings of looks that were asked for


@dataclass(frozen=True, slots=True)
class SnapshotFault:
    """Why the artifacts that lie there are not served."""

    kind: FaultKind
    detail: str


@dataclass(frozen=True, slots=True)
class SnapshotChange:
    """The snapshot that is served, and the one that a follower knew before; both are open while it handles the change.

    `old` is None at first, and `new` again when only `is_stale` has changed. A follower that is slow gets the newest
    state alone: `n_swaps` says how many swaps lie between the two.
    """

    old: Snapshot | None
    new: Snapshot
    is_stale: bool
    n_swaps: int


@dataclass(slots=True)
class _Held:
    """A snapshot and how many read it."""

    snapshot: Snapshot
    readers: int = 0
    is_retired: bool = False


@dataclass(frozen=True, slots=True)
class RefreshResult:
    """What came of a look: what is served after it, whether that is new, and why not what lies there."""

    snapshot_id: str | None
    is_changed: bool
    fault: str | None


class Snapshots:
    """Serves the newest sound snapshot; a broken one never takes the place of a good one."""

    def __init__(self, source: Source, private: Workspace, rules: OpenRules) -> None:
        self._source = source
        self._private = private
        self._rules = rules
        self._held: _Held | None = None
        self._n_swaps = 0
        self._changed = asyncio.Event()
        self._fault: SnapshotFault | None = None
        self._turn = asyncio.Lock()
        self._asked = CoalescedRefresh(self.refresh, interval_s=_LOOK_INTERVAL_S)
        self._opener = ThreadPoolExecutor(1, thread_name_prefix="snapshot")

    @classmethod
    @asynccontextmanager
    async def open(cls, source: Source, private: Workspace, rules: OpenRules, *, poll_s: float) -> AsyncIterator[Self]:
        """Watch a source until the end; never fails because the artifacts are away or broken."""
        snapshots = cls(source, private, rules)
        watch = asyncio.create_task(snapshots._watch(poll_s), name="artifact-watch")
        try:
            yield snapshots
        finally:
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch
            await snapshots._asked.close()
            await snapshots._close()

    @property
    def current(self) -> Snapshot | None:
        """The snapshot being served, for facts about it; queries go through `reading`."""
        return self._held.snapshot if self._held else None

    @property
    def fault(self) -> str | None:
        """Why the newest artifacts are not the ones served; None when they are."""
        return self._fault.detail if self._fault else None

    @property
    def fault_kind(self) -> FaultKind | None:
        """Of which kind the fault is, for a metric; None when there is none."""
        return self._fault.kind if self._fault else None

    @property
    def is_stale(self) -> bool:
        """Whether newer artifacts could not be opened."""
        return self._held is not None and self._fault is not None

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Snapshot]:
        """The current snapshot, kept open until the reader is done; SnapshotUnavailable when there is none."""
        held = self._held
        if held is None:
            raise SnapshotUnavailable(self.fault or "The artifacts are being opened.", retry_after_s=_RETRY_AFTER_S)
        held.readers += 1
        try:
            yield held.snapshot
        finally:
            self._release(held)

    async def follow(self, handle: Callable[[SnapshotChange], Awaitable[None]]) -> None:
        """Call `handle` with the snapshot and with every change, for ever; after a failure, with the next one."""
        known: _Held | None = None
        was_stale, n_known = False, 0
        try:
            while True:
                held, is_stale, n_swaps, changed = self._held, self.is_stale, self._n_swaps, self._changed
                if held is None or (held is known and is_stale == was_stale):
                    await changed.wait()
                    continue
                old, known, was_stale = known, held, is_stale
                held.readers += 1
                try:
                    old_snapshot = old.snapshot if old else None
                    await handle(SnapshotChange(old_snapshot, held.snapshot, is_stale, n_swaps - n_known))
                except Exception:
                    log.exception("snapshot.handler_failed", snapshot=held.snapshot.id)
                finally:
                    n_known = n_swaps
                    if old is not None:
                        self._release(old)
        finally:
            if known is not None:
                self._release(known)

    def _tell_followers(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def ask(self) -> RefreshResult:
        """Look soon: shared with whoever else asks just now, and not too often."""
        return await self._asked.ask()

    async def refresh(self) -> RefreshResult:
        """Look now: open what is new, or note why it cannot be opened."""
        async with self._turn:
            before = self.current
            await self._try_to_look()
            self._tell_followers()
            now = self.current
            return RefreshResult(now.id if now else None, now is not before, self.fault)

    async def _try_to_look(self) -> None:
        try:
            await self._look()
        except BrokenArtifacts as error:
            self._note_fault("broken", f"artifacts are broken: {error}")
        except ArtifactsUnreachable as error:
            self._note_fault("unreachable", f"artifacts cannot be read: {error}")
        except CannotStore as error:
            self._note_fault("storage", f"artifacts cannot be stored: {error}")
        except (OSError, ValueError, DatabaseError) as error:
            if isinstance(error, OSError) and error.errno in DISK_FULL:
                self._note_fault("storage", f"artifacts cannot be stored: {error.strerror}")
            else:
                self._note_fault("broken", f"artifacts cannot be opened: {error}")
        except Exception as error:
            # whatever it is, the watch goes on: a later look may find artifacts that can be opened
            log.exception("artifacts.look_failed")
            self._note_fault("unexpected", f"artifacts cannot be taken: {type(error).__name__}: {error}")

    async def _watch(self, poll_s: float) -> None:
        async with self._turn:
            await self._open_kept()
        while True:
            await self.refresh()
            await self._source.wait_for_change(poll_s)

    async def _open_kept(self) -> None:
        """Serve what the last process could open until the place of the artifacts has been looked at."""
        version = None if self._held else await self._source.read_kept_version()
        if version is None:
            return
        try:
            self._swap(await self._open(version))
        except Exception:
            log.exception("artifacts.cached_rejected")
        else:
            self._fault = SnapshotFault("unreachable", "artifacts have not been looked at since the start")

    async def _look(self) -> None:
        version = await self._source.look()
        served = self.current
        if served is None or served.id != version.id:
            if version.manifest is None and served is not None and not served.manifest.is_derived:
                # who has written one will write the next; the files alone may be half of a new version
                raise ArtifactsUnreachable(f"{MANIFEST} has vanished")
            self._swap(await self._open(version))
            await self._source.keep(version)
        if self._fault is not None and served is not None:
            log.info("artifacts.accepted", serving=version.id)
        self._fault = None

    async def _open(self, version: Version) -> Snapshot:
        folder = await asyncio.to_thread(self._private.make, version.id)
        try:
            await self._source.fetch(version, folder)
            loop = asyncio.get_running_loop()
            snapshot = await loop.run_in_executor(self._opener, self._open_folder, version, folder)
        except BaseException as error:
            self._opener.submit(shutil.rmtree, folder, ignore_errors=True)
            if isinstance(error, BrokenArtifacts) and error.is_damage:
                await self._source.invalidate(version)
            raise
        try:
            if self._held is not None:
                # live predictions go on with the old rows until the new ones are loaded
                await snapshot.features.wait(_FEATURES_WAIT_S)
        except BaseException:
            self._opener.submit(snapshot.close)
            raise
        return snapshot

    def _open_folder(self, version: Version, folder: Path) -> Snapshot:
        unversioned.write_manifest(folder, version)
        return open_snapshot(version.id, folder, self._rules)

    def _swap(self, snapshot: Snapshot) -> None:
        old, self._held = self._held, _Held(snapshot)
        self._n_swaps += 1
        log.info("snapshot.opened", snapshot=snapshot.id, matches=snapshot.n_matches, source=snapshot.manifest.source)
        if old is not None:
            self._retire(old)
        self._tell_followers()

    def _retire(self, held: _Held) -> None:
        held.is_retired = True
        self._close_if_done(held)

    def _release(self, held: _Held) -> None:
        held.readers -= 1
        self._close_if_done(held)

    def _close_if_done(self, held: _Held) -> None:
        if held.is_retired and held.readers == 0:
            self._opener.submit(held.snapshot.close)

    def _note_fault(self, kind: FaultKind, detail: str) -> None:
        fault = SnapshotFault(kind, self._private.redact(detail).splitlines()[0])
        if fault != self._fault:
            # once for each fault, not at each look
            log.warning("artifacts.rejected", **asdict(fault), serving=self.current and self.current.id)
        self._fault = fault

    async def _close(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            self._retire(held)
        await asyncio.to_thread(self._opener.shutdown)


@asynccontextmanager
async def open_snapshots(settings: Settings, limiter: QueryLimiter) -> AsyncIterator[Snapshots]:
    """The artifacts, watched until the end; what they need on disk lies in the cache of TOUCHLINE_HOME."""
    cache = settings.touchline_home / "cache"
    private = await asyncio.to_thread(Workspace, cache / "snapshots")
    try:
        source, rules = _source(settings, cache), _open_rules(settings, cache, limiter)
        async with Snapshots.open(source, private, rules, poll_s=settings.artifact_poll_s) as snapshots:
            yield snapshots
    finally:
        await asyncio.to_thread(private.remove)


def _source(settings: Settings, cache: Path) -> Source:
    limit_bytes = int(settings.artifact_cache_gb * 10**9)
    return open_source(settings.artifacts_uri, cache, limit_bytes=limit_bytes, silence_s=settings.artifact_silence_s)


def _open_rules(settings: Settings, cache: Path, limiter: QueryLimiter) -> OpenRules:
    return OpenRules(
        money=MoneyRules.from_settings(settings),
        query_threads=settings.query_threads,
        query_memory=settings.query_memory,
        query_timeout_s=settings.query_timeout_s,
        limiter=limiter,
        feature_cache=cache / "features",
        row_sources=(cards.ROW_SOURCE, *match_history.ROW_SOURCES),
    )
