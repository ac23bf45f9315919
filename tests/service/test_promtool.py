"""Prometheus' own tools, as the rules, the metrics and the scrape test need them."""

import subprocess
from pathlib import Path

import pytest

from infra.local.children import LocalError
from infra.tools import promtool as tools

pytestmark = pytest.mark.timeout(300)  # the first run downloads them


def test_both_programs_run(promtool: Path) -> None:
    for program in (promtool, tools.prometheus()):
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
        assert "version 2" in answer.stdout or "version 3" in answer.stdout


def test_metrics_that_are_not_prometheus_text_are_refused(promtool: Path) -> None:
    check = [promtool, "check", "metrics"]
    wrong = subprocess.run(check, input=b"no metrics at all\n", capture_output=True, check=False)
    assert wrong.returncode != 0


def test_machine_without_apt_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LocalError, match="install promtool and prometheus yourself"):
        tools.promtool(tmp_path)
