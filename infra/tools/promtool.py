"""Prometheus and its promtool: those on PATH, else the ones of Debian's package, unpacked without root."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from infra.local.children import LocalError

PACKAGE = "prometheus"
PROGRAMS = ("promtool", "prometheus")
FETCH_TIMEOUT_S = 300.0


def promtool(home: Path | None = None) -> Path:
    """The checker of metrics, rules and configurations; fetched into `home` when the machine has none."""
    return program("promtool", home)


def prometheus(home: Path | None = None) -> Path:
    """The server, as `promtool`."""
    return program("prometheus", home)


def program(name: str, home: Path | None = None) -> Path:
    """One of PROGRAMS, by its path."""
    found = shutil.which(name)
    return Path(found) if found else fetched(home or Path(os.environ.get("TOUCHLINE_HOME", "var"))) / name


def fetched(home: Path) -> Path:
    """The folder of both programs, downloaded once; apt checks the package against the signed index of its source."""
    target = (home / "tools" / PACKAGE).absolute()
    if not all((target / name).exists() for name in PROGRAMS):
        if missing := [tool for tool in ("apt-get", "dpkg-deb") if shutil.which(tool) is None]:
            raise LocalError(f"{PACKAGE} needs {missing[0]} to be fetched: install promtool and prometheus yourself")
        target.parent.mkdir(parents=True, exist_ok=True)
        _install(target)
    return target


def _install(target: Path) -> None:
    """Download, unpack, and only then put in place, so that two runs at once cannot see half of it."""
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        folder = Path(scratch)
        _run(["apt-get", *_own_state(folder), "--quiet", "update"], folder)
        _run(["apt-get", *_own_state(folder), "--quiet", "download", PACKAGE], folder)
        package = next(folder.glob(f"{PACKAGE}_*.deb"))
        _run(["dpkg-deb", "--extract", str(package), "root"], folder)
        target.mkdir(exist_ok=True)
        for name in PROGRAMS:
            (folder / "root/usr/bin" / name).replace(target / name)


def _own_state(folder: Path) -> list[str]:
    """Options with which apt keeps its lists in a folder of ours: the machine's own belong to root."""
    for part in ("lists/partial", "archives/partial"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    own = {
        "Dir::State::Lists": folder / "lists",
        "Dir::Cache": folder,
        "Dir::Cache::Archives": folder / "archives",
        # apt drops root for downloads, and that user cannot see the folder
        "APT::Sandbox::User": "",
        "Acquire::Languages": "none",
    }
    return [part for name, value in own.items() for part in ("-o", f"{name}={value}")]


def _run(command: list[str], folder: Path) -> None:
    answer = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S, check=False)
    if answer.returncode:
        raise LocalError(f"{PACKAGE} could not be fetched: {answer.stderr.strip()[-500:]}")
