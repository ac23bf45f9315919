"""Every pin of the lock that `scripts/run` installs has a wheel on each platform and Python that the docs promise."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "infra/requirements/run.txt"
PLATFORMS = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28", "aarch64-apple-darwin")
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
# pure Python, published as a source archive alone; it builds anywhere with nothing but setuptools
SOURCE_ALONE = "quantile-python"

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def uv() -> str:
    found = subprocess.run([ROOT / "scripts/setup", "uv"], capture_output=True, text=True, check=True)
    return found.stdout.strip()


def resolve(uv: str, target: Path, platform: str, python: str, *options: str) -> "subprocess.CompletedProcess[str]":
    where = ["--python-platform", platform, "--python-version", python, "--target", str(target)]
    strict = ["--no-deps", "--require-hashes", "--only-binary", ":all:", *options]
    argv = [uv, "pip", "install", "--dry-run", *where, *strict, "-r", str(LOCK)]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("python", PYTHONS)
def test_every_pin_has_a_wheel(uv: str, tmp_path: Path, platform: str, python: str) -> None:
    found = resolve(uv, tmp_path / "target", platform, python, "--no-binary", SOURCE_ALONE)
    assert found.returncode == 0, found.stderr
    # the CPU build has no wheels for macOS
    booster = "xgboost" if platform.endswith("darwin") else "xgboost-cpu"
    assert f" + {booster}==" in found.stderr


def test_a_pin_without_a_wheel_is_noticed(uv: str, tmp_path: Path) -> None:
    found = resolve(uv, tmp_path / "target", PLATFORMS[0], PYTHONS[0])
    assert found.returncode != 0
    assert SOURCE_ALONE in found.stderr
