"""The models a worker process holds, by alias; follows the aliases of the registry."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

from app.errors import ModelNotFound
from app.runtime import Backoff
from worker.predictors import LoadedModel, ModelRefused

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0


class ModelSource(Protocol):
    """Where models come from; its calls may block."""

    def version_of(self, alias: str) -> str | None:
        """Return the version that an alias names now; None when the registry has no such alias."""
        ...

    def load(self, alias: str, version: str) -> LoadedModel:
        """Load, warm up and verify a version."""
        ...


@dataclass(slots=True)
class _Retry:
    """A version whose load failed for a reason that may pass, and when it is tried again."""

    version: str
    backoff: Backoff
    due: float


class ModelManager:
    """Which model answers for an alias. A swap is one assignment: a batch keeps the model it began with.

    An alias that vanishes from the registry keeps its model: the last verified one serves on, and `missing` names it.

    Args:
        aliases: the aliases to load.
        remembered: the version that each alias last named, from before this process; loaded when the alias is gone.
        on_change: called from a thread after models or refusals have changed.
    """

    def __init__(
        self,
        aliases: tuple[str, ...],
        *,
        remembered: Mapping[str, str] | None = None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._aliases = aliases
        self._remembered = dict(remembered or {})
        self._on_change = on_change
        self._models: dict[str, LoadedModel] = {}
        self._retries: dict[str, _Retry] = {}
        self._refused: dict[str, str] = {}
        self._refused_version: dict[str, str] = {}
        self._has_polled = False
        self.missing: dict[str, str] = {}  # aliases that the registry no longer has, and what serves on
        self.is_away = False  # whether the registry could not be read at the last poll

    @property
    def is_ready(self) -> bool:
        """Whether every alias was looked up, and some model can answer."""
        return self._has_polled and bool(self._models)

    @property
    def models(self) -> list[LoadedModel]:
        """The models held now."""
        return list(self._models.values())

    @property
    def refused(self) -> dict[str, str]:
        """Alias to the reason why its model is not what the registry names."""
        return self._refused | self.missing

    def get(self, alias: str) -> LoadedModel:
        """Return the model of an alias, or raise ModelNotFound."""
        try:
            return self._models[alias]
        except KeyError:
            raise ModelNotFound(f"This worker holds no model under the alias {alias!r}.") from None

    async def load_initial(self, source: ModelSource, executor: Executor) -> None:
        """Load the first models; wait for the registry as long as it takes."""
        backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        while not self.is_ready:
            await self.poll(source, executor)
            if not self.is_ready:
                pause_s = backoff.next_pause()
                log.warning("model.none_yet: polling again in %.1f s", pause_s)
                await asyncio.sleep(pause_s)

    async def follow_aliases(self, source: ModelSource, executor: Executor, *, poll_s: float) -> None:
        """Poll the registry for moved aliases, for ever."""
        while True:
            await asyncio.sleep(poll_s)
            await self.poll(source, executor)

    async def poll(self, source: ModelSource, executor: Executor) -> None:
        """Look every alias up once; a registry that is away changes nothing."""
        for alias in self._aliases:
            try:
                await asyncio.get_running_loop().run_in_executor(executor, self._poll_alias, source, alias)
            except Exception:
                log.exception("registry.unreachable: cannot read alias %s; the held models serve on", alias)
                self.is_away = True
                return
        self.is_away = False
        self._has_polled = True

    def _poll_alias(self, source: ModelSource, alias: str) -> None:
        version = source.version_of(alias)
        held = self._models.get(alias)
        if version is None:
            self._keep_last(source, alias, held)
            return
        if self.missing.pop(alias, None) is not None:
            log.info("alias.returned: %s names version %s", alias, version)
            self._on_change()
        if held is not None and held.info.version == version:
            self._clear_refusal(alias)
        else:
            self._load_when_due(source, alias, version)

    def _keep_last(self, source: ModelSource, alias: str, held: LoadedModel | None) -> None:
        """The registry has no such alias: hold on to the model that answered last."""
        last = held.info.version if held is not None else self._remembered.get(alias)
        if last is None:
            self._clear_refusal(alias)
            return
        if held is None:
            self._load_when_due(source, alias, last)
        serves = "serves on" if alias in self._models else "cannot be loaded"
        reason = f"the registry has no alias {alias} any more; version {last} {serves}"
        if self.missing.get(alias) != reason:
            self.missing[alias] = reason
            log.error("alias.missing: %s", reason)
            self._on_change()

    def _load_when_due(self, source: ModelSource, alias: str, version: str) -> None:
        retry = self._retries.get(alias)
        is_due = retry is None or retry.version != version or monotonic() >= retry.due
        if is_due and version != self._refused_version.get(alias):
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
            self._clear_refusal(alias)
            log.info("model.loaded: version %s answers for %s", version, alias)
            self._on_change()

    def _postpone(self, alias: str, version: str, reason: str) -> None:
        retry = self._retries.get(alias)
        is_again = retry is not None and retry.version == version
        if retry is None or not is_again:
            retry = _Retry(version, Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S), 0.0)
            self._retries[alias] = retry
        pause_s = retry.backoff.next_pause()
        retry.due = monotonic() + pause_s
        self._refused[alias] = f"version {version} cannot be loaded yet: {reason}"
        log.warning(
            "model.load_failed: version %s of %s, trying again in %.1f s: %s",
            version,
            alias,
            pause_s,
            reason,
            exc_info=not is_again,  # one traceback is enough
        )

    def _clear_refusal(self, alias: str) -> None:
        self._retries.pop(alias, None)
        self._refused_version.pop(alias, None)
        self._refused.pop(alias, None)

    def _refuse(self, alias: str, version: str, reason: str) -> None:
        self._refused_version[alias] = version
        self._refused[alias] = f"version {version} is refused: {reason}"
        log.error("model.refused: version %s of %s, the old one serves on: %s", version, alias, reason)
        self._on_change()
