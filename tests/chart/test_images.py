"""Each image carries what its process loads: the entry points import without anything that is not in their lock."""

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pyarrow
import pytest

from tests.chart.chart import ROOT

pytestmark = pytest.mark.timeout(600)
ENTRIES = {
    "api": "app.main app.__main__",
    "worker": "worker.main worker.registry worker.healthcheck worker.pool",
    "drift": "worker.main worker.registry worker.healthcheck worker.pool worker.pipeline.drift.__main__ "
    "evidently duckdb aiobotocore",
    "pipeline": "worker.pipeline.schedule worker.pipeline.refresh worker.registry worker.pipeline.training.registry "
    "worker.pipeline.simulation.simulator evidently",
    "dashboards": "dashboards.server dashboards.pages dashboards.__main__",
}
# stands in for an environment that holds the lock's packages alone
_IMPORT = """
import importlib, sys
absent = set(sys.argv[1].split(","))
class Present:
    def __init__(self, finder):
        self._finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in absent else self._finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self._finder, name)
sys.meta_path[:] = [Present(finder) for finder in sys.meta_path]
for entry in sys.argv[2:]:
    importlib.import_module(entry)
"""

_USE = """
import pathlib
import botocore.session, numpy, pyarrow as pa, pyarrow.csv, pyarrow.dataset, pyarrow.ipc, pyarrow.parquet
print(pathlib.Path(pa.__file__).parents[1])
session = botocore.session.get_session()
for service in ("s3", "sts"):
    print(session.create_client(service, region_name="eu-west-1").meta.service_model.service_name)
"""


def normal(name: str) -> str:
    """A distribution's name as locks write it, without its extras."""
    return re.sub(r"[-_.]+", "-", name.partition("[")[0]).lower()


def locked(name: str) -> set[str]:
    """The packages of a lock."""
    lines = (ROOT / "infra" / "requirements" / f"{name}.txt").read_text().splitlines()
    return {normal(line.split("==")[0]) for line in lines if "==" in line}


def absent(name: str) -> set[str]:
    """Top-level modules of this environment that an image would not have."""
    here = locked(name)
    distributions = importlib.metadata.packages_distributions()
    ours = {"app", "worker", "dashboards", "infra", "tests"}
    return {module for module, owners in distributions.items() if not here & set(map(normal, owners))} - ours


def imported(name: str, without: set[str]) -> subprocess.CompletedProcess[str]:
    """The entry points of a process in an interpreter that lacks some modules."""
    command = [sys.executable, "-c", _IMPORT, ",".join(without), *ENTRIES[name].split()]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)


@pytest.mark.parametrize("name", ENTRIES)
def test_a_process_starts_with_what_its_lock_names(name: str) -> None:
    answer = imported(name, absent(name))
    assert answer.returncode == 0, answer.stderr[-1500:]


def test_a_package_that_is_missing_would_be_noticed() -> None:
    assert "No module named 'duckdb'" in imported("api", {*absent("api"), "duckdb"}).stderr


def test_no_lock_carries_another_processes_packages() -> None:
    assert not locked("api") & {"mlflow-skinny", "xgboost-cpu", "panel", "scikit-learn"}
    assert not locked("worker") & {"panel", "duckdb", "botocore", "mlflow", "evidently"}
    assert not locked("dashboards") & {"mlflow-skinny", "duckdb", "pyarrow", "botocore", "arq"}


def test_what_is_trimmed_nobody_misses(tmp_path: Path) -> None:
    """Arrow and the bucket's client lose the most, and still do all that we ask of them."""
    site = Path(pyarrow.__file__).parents[1]
    for package in [*site.glob("pyarrow*"), *site.glob("botocore*"), *site.glob("numpy*")]:
        copy = ["cp", "--recursive", package, tmp_path]
        subprocess.run(copy, check=True)
    before = sum(path.stat().st_size for path in tmp_path.rglob("*"))
    subprocess.run([ROOT / "infra" / "docker" / "trim", tmp_path], check=True)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*")) < 0.8 * before
    environment = {"PYTHONPATH": str(tmp_path), "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    answer = subprocess.run(
        [sys.executable, "-c", _USE], env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert answer.stdout.split() == [str(tmp_path), "s3", "sts"], answer.stderr[-1500:]
