"""The models a worker process holds, by alias; follows the aliases of the registry."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Protocol

from app.errors import ModelNotFound
from worker.loaded import LoadedModel, ModelRefused

log = logging.getLogger(__name__)

LOAD_ATTEMPTS = 3  # a load may fail for a reason that passes; past this the version is refused
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


class Shelf:
    """Which model answers for an alias. A swap is one assignment: a batch keeps the model it began with."""

    def __init__(self, aliases: tuple[str, ...], *, on_change: Callable[[], None] = lambda: None) -> None:
        self._aliases = aliases
        self._on_change = on_change
        self._models: dict[str, LoadedModel] = {}
        self._failures: Counter[tuple[str, str]] = Counter()
        self.refused: dict[str, str] = {}
        self._refused_version: dict[str, str] = {}
        self._first_look_done = False

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
                return
        self._first_look_done = True

    def _look_at(self, source: ModelSource, alias: str) -> None:
        version = source.version_of(alias)
        held = self._models.get(alias)
        if held is not None and held.info.version == version:
            self._accept(alias)
        elif version is None:
            self._drop(alias)
        elif version != self._refused_version.get(alias):
            self._load(source, alias, version)

    def _load(self, source: ModelSource, alias: str, version: str) -> None:
        try:
            model = source.load(alias, version)
        except ModelRefused as error:
            self._refuse(alias, version, str(error))
        except Exception as error:
            self._failures[alias, version] += 1
            log.exception("version %s of %s cannot be loaded", version, alias)
            if self._failures[alias, version] >= LOAD_ATTEMPTS:
                self._refuse(alias, version, f"it cannot be loaded ({type(error).__name__}: {error})")
        else:
            self._models[alias] = model
            self._accept(alias)
            log.info("version %s answers for %s", version, alias)
            self._on_change()

    def _accept(self, alias: str) -> None:
        self._refused_version.pop(alias, None)
        self.refused.pop(alias, None)

    def _refuse(self, alias: str, version: str, reason: str) -> None:
        self._refused_version[alias] = version
        self.refused[alias] = f"version {version} is refused: {reason}"
        log.error("version %s of %s is refused, the old one serves on: %s", version, alias, reason)
        self._on_change()

    def _drop(self, alias: str) -> None:
        if self._models.pop(alias, None) is not None:
            log.warning("alias %s is gone from the registry; its model is dropped", alias)
            self._on_change()
