"""Every package of ours turns the telemetry of its libraries off before it imports them."""

import subprocess
import sys

import pytest

NAMES = ("DO_NOT_TRACK", "MLFLOW_DISABLE_TELEMETRY", "EVIDENTLY_DISABLE_TELEMETRY")


@pytest.mark.timeout(600)  # starts a process
@pytest.mark.parametrize("package", ["app", "worker", "dashboards"])
def test_telemetry_is_off_unless_somebody_says_otherwise(package: str) -> None:
    code = f"import {package}, os; print(*(os.environ[name] for name in {NAMES}))"
    command = ["env", *(f"--unset={name}" for name in NAMES), sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == ["1", "true", "1"]
    kept = ["env", "MLFLOW_DISABLE_TELEMETRY=false", sys.executable, "-c", code]
    assert subprocess.run(kept, capture_output=True, text=True, check=True).stdout.split()[1] == "false"
