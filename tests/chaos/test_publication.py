"""A publication that fails leaves the served models in their places."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from app.artifacts.contract import PREDICTIONS
from app.settings import Settings
from tests.service.test_build import home
from worker.pipeline.build import main
from worker.pipeline.simulation.simulator import simulate

__all__ = ["home"]


@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")
def test_aliases_move_only_when_the_artifacts_are_published(home: Path) -> None:
    """Workers go on with the models behind the artifacts that are served."""
    from worker.registry import ModelRegistry as Shelf  # noqa: PLC0415 - seconds of import

    data, out = home / "data", home / "artifacts"
    simulate(data, seed=3, now=datetime(2026, 3, 4, 12, tzinfo=UTC), n_seasons=5)
    for file in [*data.rglob("new/*.csv"), *data.rglob("main/**/*.csv")]:
        if not file.name.startswith("AV"):
            file.unlink()
    assert main(["--data", str(data)]) == 0
    shelf = Shelf(Settings())
    served = {alias: shelf.version_of(alias) for alias in ("champion", "candidate")}
    assert served == {"champion": "1", "candidate": "2"}
    assert set(pq.read_table(out / PREDICTIONS)["model_version"].to_pylist()) >= {"1"}

    # a file where a folder must be: the next publication fails
    shutil.rmtree(out)
    out.mkdir()
    (out / "predictions").touch()
    with pytest.raises(OSError, match="predictions"):
        main(["--data", str(data)])
    assert shelf.load("champion", "3").info.version == "3"
    assert {alias: shelf.version_of(alias) for alias in served} == served
