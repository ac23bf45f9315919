"""The job that moves an alias of the registry; the other workers follow it as they follow any move."""

import asyncio
import logging
import time
from concurrent.futures import Executor
from typing import Any, Protocol, runtime_checkable

from app.queue.jobs import Payload
from worker.predictors import ModelRefused

log = logging.getLogger(__name__)

ALIASES = "aliases"  # the place of the mover in arq's context


@runtime_checkable
class AliasRegistry(Protocol):
    """A source of models whose aliases can be moved."""

    def version_of(self, alias: str) -> str | None:
        """Return the version that an alias names now; None when the registry has no such alias."""
        ...

    def move_alias(self, alias: str, version: str, *, expected: str | None) -> None:
        """Let an alias name another version; ModelRefused when workers would not serve it, or it names another now."""
        ...


class AliasMover:
    """One per worker process; the registry's thread does the work."""

    def __init__(self, source: object, thread: Executor) -> None:
        self._source = source
        self._thread = thread

    async def answer(self, wish: Payload) -> Payload:
        """Move the alias, or without a version only look; `refused` says why not."""
        try:
            version = await asyncio.get_running_loop().run_in_executor(self._thread, self._answer, wish)
        except ModelRefused as error:
            log.warning("alias.not_moved: %s to version %s: %s", wish["alias"], wish["version"], error)
            return {"version": None, "refused": str(error)}
        except Exception as error:
            log.exception("registry.unreachable: alias %s is neither read nor moved", wish["alias"])
            return {"version": None, "refused": f"the registry does not answer: {type(error).__name__}"}
        return {"version": version, "refused": None}

    def _answer(self, wish: Payload) -> str | None:
        source, alias, version = self._source, wish["alias"], wish["version"]
        if not isinstance(source, AliasRegistry):
            raise ModelRefused("this worker's models come from no registry")
        if time.time() > wish["deadline_at"]:
            raise ModelRefused("nobody waits for it any more")
        if version is None:
            return source.version_of(alias)
        source.move_alias(alias, version, expected=wish["expected"])
        log.info("alias.moved: %s names version %s", alias, version)
        return str(version)


async def move_alias(ctx: dict[Any, Any], wish: Payload) -> Payload:
    """The job."""
    mover: AliasMover = ctx[ALIASES]
    return await mover.answer(wish)
