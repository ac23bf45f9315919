"""A look at what the service needs says each fault once, from the first look on."""

import pytest
from structlog.testing import capture_logs

from app.dependencies import Probe


async def test_probe_that_fails_says_so_once_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    faults: list[Exception] = [KeyError(), KeyError(), ZeroDivisionError(), KeyError()]

    async def ask() -> None:
        raise faults.pop(0)

    monkeypatch.setattr("app.dependencies.FRESH_S", -1.0)
    probe = Probe("a part", ask)
    with capture_logs() as logs:
        for expected in ("KeyError", "KeyError", "ZeroDivisionError", "KeyError"):
            await probe.refresh()
            assert probe.fault == expected
    assert [each["event"] for each in logs if each["log_level"] == "error"] == ["dependency.probe_failed"] * 3
