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

    def move_alias(self, alias: str, version: str, *, expected: str | None) -> None:
        """Let an alias name another version; ModelRefused when workers would not serve it, or it names another now."""
        ...


class AliasMover:
    """One per worker process; the registry's thread does the work."""

    def __init__(self, source: object, thread: Executor) -> None:
        self._source = source
        self._thread = thread

    async def move(self, wish: Payload) -> Payload:
        """Move the alias; `refused` says why not."""
        refused = await self._try(wish)
        log.info("alias move: %s to version %s, %s", wish["alias"], wish["version"], refused or "done")
        return {"refused": refused}

    async def _try(self, wish: Payload) -> str | None:
        source = self._source
        if not isinstance(source, AliasRegistry):
            return "this worker's models come from no registry"
        if time.time() > wish["deadline_at"]:
            return "nobody waits for it any more"

        def move() -> None:
            source.move_alias(wish["alias"], wish["version"], expected=wish["expected"])

        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, move)
        except ModelRefused as error:
            return str(error)
        except Exception as error:
            log.exception("registry.unreachable: the alias %s is not moved", wish["alias"])
            return f"the registry does not do it: {type(error).__name__}"
        return None


async def move_alias(ctx: dict[Any, Any], wish: Payload) -> Payload:
    """The job."""
    mover: AliasMover = ctx[ALIASES]
    return await mover.move(wish)
