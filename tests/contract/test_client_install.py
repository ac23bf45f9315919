"""The client installs from a checkout without what the service needs, and works there."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.tools.sbom import ROOT

pytestmark = pytest.mark.timeout(900)  # packages come over the network
NOT_THERE = ("arq", "asyncpg", "duckdb", "mlflow", "mlflow-skinny", "numpy", "pandas", "panel", "pyarrow", "redis")
USE = """
import asyncio, json, sys
from app.client import ApiFailure, TouchlineClient
from app.schemas import CardsQuery

async def main():
    async with TouchlineClient(sys.argv[1], key=sys.argv[2]) as client:
        cards = [card.match_id async for card in client.iter_cards(CardsQuery(limit=11))]
        frame = await client.fetch_cards_frame(CardsQuery(limit=25, fields="match_id"))
        try:
            frame.to_arrow()
            told = ""
        except ImportError as error:
            told = error.name
        try:
            columns = frame.to_polars()["match_id"].to_list()
        except ImportError as error:
            columns = error.name
        print(json.dumps([cards, told, columns]))

asyncio.run(main())
"""


WITHOUT_HASHES = ("env", "--unset=UV_REQUIRE_HASHES")


def find_uv() -> str:
    """Return the path of uv, installing it where there is none."""
    return subprocess.run([ROOT / "scripts" / "setup", "uv"], capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The Python of an environment that holds `touchline[client]` and nothing else."""
    folder = tmp_path_factory.mktemp("client")
    # without the folders that building leaves in a checkout
    subprocess.run(["git", "clone", "--quiet", ROOT, folder / "checkout"], check=True)
    for path in ("setup.cfg", "app"):  # as they are now, committed or not
        subprocess.run(["cp", "-r", ROOT / path, folder / "checkout"], check=True)
    uv = find_uv()
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder / "env"], check=True)
    python = folder / "env" / "bin" / "python"
    # a checkout has no hash, which the locks of our own environments must have
    install = [*WITHOUT_HASHES, uv, "pip", "install", "--quiet", "--python", python, f"{folder / 'checkout'}[client]"]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "extra" not in done.stderr
    yield python
    listed = subprocess.run(
        [uv, "pip", "list", "--quiet", "--format", "json", "--python", python], capture_output=True, check=True
    )
    assert not {package["name"] for package in json.loads(listed.stdout)} & set(NOT_THERE)


def use(python: Path, service: tuple[str, str], folder: Path) -> tuple[list[int], str, str | list[int]]:
    """Return ids of cards, and of their frame in Arrow and Polars, or which package that lacks."""
    # -P and a folder of its own: what is imported is what was installed
    command = [python, "-P", "-c", USE, *service]
    environment = {"PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    ids, arrow, polars = json.loads(done.stdout)
    return ids, arrow, polars


def test_the_client_works_where_nothing_else_of_ours_is_installed(
    python: Path, keyed_url: tuple[str, str], tmp_path: Path
) -> None:
    ids, *missing = use(python, keyed_url, tmp_path)
    assert len(ids) == len(set(ids)) > 11
    assert missing == ["pyarrow", "polars"]


def test_a_frame_of_polars_needs_polars_alone(python: Path, keyed_url: tuple[str, str], tmp_path: Path) -> None:
    subprocess.run([*WITHOUT_HASHES, find_uv(), "pip", "install", "--quiet", "--python", python, "polars"], check=True)
    ids, arrow, polars = use(python, keyed_url, tmp_path)
    assert (arrow, polars) == ("pyarrow", ids)
