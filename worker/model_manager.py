"""The models a worker process holds, by alias; follows the aliases of the registry."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

from app.errors import ModelNotFound
from worker.predictors import LoadedModel, ModelRefused

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0


class ModelSource(Protocol):
    """Where models come from; its calls may block."""

    def version_of(self, alias: str) -> str | None:
        """The version that an alias names now."""
        ...

    def load(self, alias: str, version: str) -> LoadedModel:
        """Load, warm up and verify a version."""
        ...


@dataclass(frozen=True, slots=True)
class _Retry:
    """A version whose load failed for a reason that may pass, and when it is tried again."""

    version: str
    pause_s: float
    due: float


class ModelManager:
    """Which model answers for an alias. A swap is one assignment: a batch keeps the model it began with."""

    def __init__(self, aliases: tuple[str, ...], *, on_change: Callable[[], None] = lambda: None) -> None:
        self._aliases = aliases
        self._on_change = on_change
        self._models: dict[str, LoadedModel] = {}
        self._retries: dict[str, _Retry] = {}
        self.refused: dict[str, str] = {}
        self._refused_version: dict[str, str] = {}
        self._first_look_done = False
        self.is_away = False  # whether the registry could not be read at the last look

    @property
    def is_ready(self) -> bool:
        """Every alias was looked at, and some model can answer."""
        return self._first_look_done and bool(self._models)

    @property
    def models(self) -> list[LoadedModel]:
        """What is held now."""
        return list(self._models.values())

    def get(self, alias: str) -> LoadedModel:
        """The model of an alias, or ModelNotFound."""
        try:
            return self._models[alias]
        except KeyError:
            raise ModelNotFound(f"This worker holds no model under the alias {alias!r}.") from None

    async def fill(self, source: ModelSource, executor: Executor) -> None:
        """Load the first models; waits for the registry as long as it takes."""
        pause_s = FIRST_PAUSE_S
        while not self.is_ready:
            await self.look(source, executor)
            if not self.is_ready:
                log.warning("no model yet; looking again in %.1f s", pause_s)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def follow(self, source: ModelSource, executor: Executor, *, poll_s: float) -> None:
        """Look for moved aliases, for ever."""
        while True:
            await asyncio.sleep(poll_s)
            await self.look(source, executor)

    async def look(self, source: ModelSource, executor: Executor) -> None:
        """Look once at every alias; a registry that is away changes nothing."""
        for alias in self._aliases:
            try:
                await asyncio.get_running_loop().run_in_executor(executor, self._look_at, source, alias)
            except Exception:
                log.exception("the registry cannot be read for alias %s; serving on with what is held", alias)
                self.is_away = True
                return
        self.is_away = False
        self._first_look_done = True

    def _look_at(self, source: ModelSource, alias: str) -> None:
        version = source.version_of(alias)
        held = self._models.get(alias)
        if held is not None and held.info.version == version:
            self._accept(alias)
        elif version is None:
            self._drop(alias)
        elif version != self._refused_version.get(alias) and self._is_due(alias, version):
            self._load(source, alias, version)

    def _load(self, source: ModelSource, alias: str, version: str) -> None:
        try:
            model = source.load(alias, version)
        except ModelRefused as error:
            self._refuse(alias, version, str(error))
        except Exception as error:  # noqa: BLE001  # _postpone logs it
            # the artifact store away, a full disk: nothing that tells against the version itself
            self._postpone(alias, version, f"{type(error).__name__}: {error}")
        else:
            self._models[alias] = model
            self._accept(alias)
            log.info("version %s answers for %s", version, alias)
            self._on_change()

    def _is_due(self, alias: str, version: str) -> bool:
        retry = self._retries.get(alias)
        return retry is None or retry.version != version or monotonic() >= retry.due

    def _postpone(self, alias: str, version: str, reason: str) -> None:
        last = self._retries.get(alias)
        is_again = last is not None and last.version == version
        pause_s = min(2 * last.pause_s, LONGEST_PAUSE_S) if last is not None and is_again else FIRST_PAUSE_S
        self._retries[alias] = _Retry(version, pause_s, monotonic() + pause_s)
        self.refused[alias] = f"version {version} cannot be loaded yet: {reason}"
        log.warning(
            "version %s of %s cannot be loaded, trying again in %.1f s: %s",
            version,
            alias,
            pause_s,
            reason,
            exc_info=not is_again,  # one traceback is enough
        )

    def _accept(self, alias: str) -> None:
        self._retries.pop(alias, None)
        self._refused_version.pop(alias, None)
        self.refused.pop(alias, None)

    def _refuse(self, alias: str, version: str, reason: str) -> None:
        self._refused_version[alias] = version
        self.refused[alias] = f"version {version} is refused: {reason}"
        log.error("version %s of %s is refused, the old one serves on: %s", version, alias, reason)
        self._on_change()

    def _drop(self, alias: str) -> None:
        self._accept(alias)
        if self._models.pop(alias, None) is not None:
            log.warning("alias %s is gone from the registry; its model is dropped", alias)
            self._on_change()
