"""State of Redis, workers and database, probed every second, so that readiness is answered while one of them hangs."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Generic, TypeVar

import structlog

from app.errors import ServiceError
from app.ledger.database import DatabaseState
from app.ledger.ledger import Ledger, NoLedger
from app.queue.client import QueueClient
from app.queue.jobs import ModelInfo, QueueState, WorkerState
from app.queue.refreshes import LastRefresh
from app.runtime import cancel_and_wait, run_in_background
from app.telemetry.process import Usage, usage

log = structlog.get_logger(__name__)

T = TypeVar("T")
LOOK_EVERY_S = 1.0
LOOK_TIMEOUT_S = 1.0  # a dependency that takes longer counts as away
PATIENCE_S = 0.03  # a probe promises an answer within 50 ms
FRESH_S = 0.2


@dataclass(frozen=True, slots=True)
class LivePathStatus:
    """The live path, as Redis tells of it."""

    queues: Sequence[QueueState]
    workers: Sequence[WorkerState]
    models: Sequence[ModelInfo]
    jobs_per_s: float
    clock_skews: Mapping[str, float]  # seconds that a process is ahead of Redis
    last_refresh: LastRefresh | None = None  # of the artifacts

    def count_holders(self, alias: str) -> int:
        """Return how many workers hold a model of an alias; one without answers nothing."""
        return sum(alias in worker.models for worker in self.workers)

    @property
    def n_verified(self) -> int:
        """How many workers hold any model."""
        return sum(bool(worker.models) for worker in self.workers)

    @property
    def model_faults(self) -> list[str]:
        """Why workers do not serve what the registry names: each alias with its reason, once."""
        return sorted({f"{alias}: {why}" for worker in self.workers for alias, why in worker.refused.items()})


class Probe(Generic[T]):
    """One dependency: what it last said, or why it said nothing."""

    def __init__(self, name: str, ask: Callable[[], Awaitable[T]]) -> None:
        self._name = name
        self._ask = ask
        self.value: T | None = None
        self.fault: str | None = "not looked at yet"
        self._seen_at = -LOOK_EVERY_S
        self._look: asyncio.Task[None] | None = None

    async def refresh(self) -> None:
        """Look, unless somebody has just now; returns when a probe can wait no longer, whether or not it is done."""
        if monotonic() - self._seen_at > FRESH_S:
            await asyncio.wait({self._started()}, timeout=PATIENCE_S)

    async def follow(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.wait({self._started()})
            await asyncio.sleep(LOOK_EVERY_S)

    async def close(self) -> None:
        """End the look that is under way."""
        if self._look is not None:
            await cancel_and_wait(self._look)

    def _started(self) -> "asyncio.Task[None]":
        if self._look is None or self._look.done():
            self._look = asyncio.create_task(self._once(), name=f"look at {self._name}")
        return self._look

    async def _once(self) -> None:
        try:
            async with asyncio.timeout(LOOK_TIMEOUT_S):
                self.value, self.fault = await self._ask(), None
        except ServiceError as error:
            self._note(error.detail)
        except TimeoutError:
            self._note(f"no answer within {LOOK_TIMEOUT_S:g} s")
        except OSError as error:
            self._note(error.strerror or type(error).__name__)  # descriptors may have run out, or memory
        except Exception as error:
            # a probe that fails would have the process restarted, which mends nothing
            fault = type(error).__name__
            if fault != self.fault:
                log.exception("dependency.probe_failed", dependency=self._name)
            self._note(fault)
        self._seen_at = monotonic()

    def _note(self, fault: str) -> None:
        if self.fault is None:
            log.warning("dependency.unreachable", dependency=self._name, fault=fault)
        self.value, self.fault = None, fault


class DependencyMonitor:
    """Redis with the live path behind it, and the ledger's database."""

    def __init__(self, queue: QueueClient, ledger: Ledger | NoLedger) -> None:
        self._queue = queue
        # its own: names that cannot be resolved may fill the one that everybody shares
        self._thread = ThreadPoolExecutor(1, "dependencies")
        self.live = Probe("redis", self._ask_live)
        self.process = Probe("process", self._ask_process)
        self.database: Probe[DatabaseState] = Probe("database", ledger.database_state)

    @classmethod
    @asynccontextmanager
    async def open(cls, queue: QueueClient, ledger: Ledger | NoLedger) -> "AsyncIterator[DependencyMonitor]":
        """Look until the end."""
        monitor = cls(queue, ledger)
        async with AsyncExitStack() as stack:
            # it is idle by then, or the kernel is
            stack.callback(monitor._thread.shutdown, wait=False)
            for each in monitor._all:
                stack.push_async_callback(each.close)
                await stack.enter_async_context(run_in_background(each.follow()))
            yield monitor

    async def refresh(self) -> None:
        """What is known as of now, within PATIENCE_S."""
        await asyncio.gather(*(each.refresh() for each in self._all))

    @property
    def _all(self) -> "tuple[Probe[LivePathStatus], Probe[Usage], Probe[DatabaseState]]":
        return self.live, self.process, self.database

    @property
    def database_state(self) -> DatabaseState:
        """Of the ledger."""
        return self.database.value or "unreachable"

    async def _ask_process(self) -> Usage:
        return await asyncio.get_running_loop().run_in_executor(self._thread, usage)

    async def _ask_live(self) -> LivePathStatus:
        await self._queue.check_redis()
        queues, workers, models = (
            await self._queue.queues(),
            await self._queue.workers(),
            await self._queue.models(),
        )
        return LivePathStatus(
            queues,
            workers,
            models,
            await self._queue.jobs_per_s(),
            await self._queue.clock_skews(),
            await self._queue.last_refresh(),
        )
