"""The scheduled check: starts and bounds the process that makes the report, and hands it to every API process."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from app.artifacts import contract
from app.domain.drift import CheckState
from app.queue.drift_reports import DriftReports
from app.queue.jobs import Payload
from app.settings import Settings
from worker.model_manager import ModelManager

log = logging.getLogger(__name__)

TIMEOUT_S = 600.0
CHECK_TIMEOUT_S = TIMEOUT_S + 60.0  # of the job: the process has its own deadline before
DRIFT = "drift"  # the place of the check in arq's context
_DETAIL_CHARACTERS = 500


class DriftCheck:
    """One per worker process; of all workers one check runs at a time."""

    def __init__(self, settings: Settings, reports: DriftReports, models: ModelManager) -> None:
        self._artifacts = settings.artifacts_uri
        self._out = settings.touchline_home
        self._reports = reports
        self._models = models

    async def run(self, owner: str) -> Payload:
        """Check, unless another does; the state and a sentence. The model's thread has no part in it."""
        if not await self._reports.begin(owner, CHECK_TIMEOUT_S):
            return {"state": CheckState.BUSY.value, "detail": ""}
        try:
            state, detail = await self._made()
            if state is CheckState.DONE:
                await self._publish()
            await self._reports.note(state.value, detail)
        finally:
            await self._reports.end(owner)
        log.info("drift check: %s. %s", state, detail)
        return {"state": state.value, "detail": detail}

    async def _made(self) -> tuple[CheckState, str]:
        trained_until, features = self._training()
        options = ["--with-parent", "--artifacts", self._artifacts, "--out", str(self._out)]
        options += ["--trained-until", trained_until.isoformat()] if trained_until else []
        options += ["--features-on-stdin"] if features else []
        return await run_bounded(
            [sys.executable, "-m", "worker.pipeline.drift", *options], "\n".join(features), TIMEOUT_S
        )

    def _training(self) -> tuple[datetime | None, tuple[str, ...]]:
        champions = [model for model in self._models.models if model.info.alias == "champion"]
        return (champions[0].info.trained_until, champions[0].names) if champions else (None, ())

    async def _publish(self) -> None:
        report, page = await asyncio.to_thread(_read, self._out)
        await self._reports.publish(report, page)


async def check_drift(ctx: dict[Any, Any]) -> Payload:
    """The job: check, and say what came of it."""
    check: DriftCheck = ctx[DRIFT]
    return await check.run(ctx["job_id"])


def _read(folder: Path) -> tuple[bytes, bytes]:
    return (folder / contract.DRIFT).read_bytes(), (folder / contract.DRIFT_HTML).read_bytes()


async def run_bounded(argv: list[str], stdin: str, timeout_s: float) -> tuple[CheckState, str]:
    """Run a process and read its state off its end; it is killed at the deadline, and when we are cancelled."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=pipe, stdout=asyncio.subprocess.DEVNULL, stderr=pipe, start_new_session=True
    )
    try:
        async with asyncio.timeout(timeout_s):
            _, stderr = await process.communicate(stdin.encode())
    except TimeoutError:
        return CheckState.TIMED_OUT, f"It took more than {timeout_s:.0f} s."
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    lines = stderr.decode(errors="replace").strip().splitlines() or [""]
    return CheckState.of_exit(process.returncode or 0), lines[-1][:_DETAIL_CHARACTERS]
