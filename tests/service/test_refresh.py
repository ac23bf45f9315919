"""A refresh against a world of two days: what was said stays, what is to come is predicted by the champion of now."""

import csv
import io
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from app.artifacts.contract import DRIFT, FEATURES, MANIFEST, ODDS, PREDICTIONS, check, history_kind, read_manifest
from app.settings import Settings
from worker.pipeline.build import Plan, build
from worker.pipeline.failures import BuildStopped
from worker.pipeline.progress import SilentProgress
from worker.pipeline.refresh import is_retraining_due, load_champion, refresh, retrain
from worker.pipeline.simulation.simulator import simulate

FIRST = datetime(2026, 2, 20, 12, tzinfo=UTC)
LATER = datetime(2026, 3, 11, 12, tzinfo=UTC)
DATE = "%d/%m/%Y"
pytestmark = [pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore")]


def rewind(world: Path, folder: Path, moment: datetime) -> None:
    """The files of a world as they stood before: matches of the ten days after are coming ones, later ones unknown."""
    shutil.copytree(world, folder)
    coming: list[str] = []
    for path in [*folder.glob("main/*/*.csv"), *folder.glob("new/*.csv")]:
        text = path.read_text("utf-8-sig")
        header, *rows = list(csv.reader(io.StringIO(text)))
        day = header.index("Date")
        played = [row for row in rows if datetime.strptime(row[day], DATE).replace(tzinfo=UTC) < moment]
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows([header, *played])
        path.write_text(out.getvalue(), "utf-8")
        assert path.parts[-3] != "main" or header[0] == "Div"
        if header[0] == "Div":
            for row in rows:
                when = datetime.strptime(row[day], DATE).replace(tzinfo=UTC)
                if moment <= when < moment + timedelta(days=10):
                    named = dict(zip(header, row, strict=True))
                    kept = (named[name] for name in ("Div", "Date", "Time", "HomeTeam", "AwayTeam"))
                    coming.append(",".join(kept))
    for path in folder.glob("fixtures/*.csv"):
        path.unlink()
    listed = folder / "fixtures" / "fixtures.csv"
    listed.parent.mkdir(exist_ok=True)
    listed.write_text("\n".join(["Div,Date,Time,HomeTeam,AwayTeam", *coming, ""]))
    assert len(coming) > 5


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with artifacts of the first day, a folder `first` and a folder `later`."""
    home = tmp_path_factory.mktemp("home")
    simulate(home / "later", seed=3, now=LATER, n_seasons=5)
    for file in [*home.glob("later/new/*.csv"), *home.glob("later/main/*/*.csv")]:
        if not file.name.startswith("AV"):
            file.unlink()
    rewind(home / "later", home / "first", FIRST)
    build(plan_of(home, "first", FIRST), settings_of(home), SilentProgress(), Console(quiet=True))
    shutil.copytree(home / "artifacts", home / "published")
    return home


def settings_of(home: Path, **changes: object) -> Settings:
    values: dict[str, object] = {
        "touchline_home": home,
        "artifacts_uri": str(home / "artifacts"),
        "mlflow_tracking_uri": f"sqlite:///{home}/mlflow/mlflow.db",
    }
    return Settings(**values | changes)  # type: ignore[arg-type]  # pydantic checks them


def plan_of(home: Path, folder: str, now: datetime) -> Plan:
    return Plan(home / folder, home / "artifacts", 3, now)


@pytest.fixture
def home(world: Path) -> Path:
    """The world with the artifacts of the first day."""
    shutil.rmtree(world / "artifacts")
    shutil.copytree(world / "published", world / "artifacts")
    return world


def rows(home: Path, folder: str = "artifacts") -> dict[int, dict[str, object]]:
    return {row["match_id"]: row for row in pq.read_table(home / folder / PREDICTIONS).to_pylist()}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


SAID = (
    "proba_home",
    "proba_draw",
    "proba_away",
    "predicted_class",
    "model_version",
    "model_stage",
    "computed_at",
    "in_sample",
)


def test_what_was_said_stays_and_what_is_to_come_is_said_anew(home: Path) -> None:
    before, manifest = rows(home), read_manifest(home / "artifacts")
    summary = refresh(plan_of(home, "later", LATER), settings_of(home), SilentProgress())
    assert check(home / "artifacts") == ()
    after, published = rows(home), read_manifest(home / "artifacts")

    begun = [row for row in after.values() if row["kickoff_utc"] <= LATER]  # type: ignore[operator]
    assert len(begun) > 1000
    for row in begun:
        old = before.get(int(str(row["match_id"])))
        if old is not None:
            assert {name: row[name] for name in SAID} == {name: old[name] for name in SAID}
    # the results of the week between are in, and the forecasts that stood before them are still out of sample
    got = [
        id_
        for id_, row in after.items()
        if row["status"] == "finished" and before.get(id_, {}).get("status") == "upcoming"
    ]
    assert len(got) > 5
    assert not any(after[id_]["in_sample"] for id_ in got)
    assert summary.results == sum(r["status"] == "finished" for r in after.values()) - sum(
        r["status"] == "finished" for r in before.values()
    )
    coming = {id_: row for id_, row in after.items() if row["kickoff_utc"] > LATER}  # type: ignore[operator]
    assert len(coming) == summary.upcoming > 5
    assert {row["computed_at"] for row in coming.values()} == {LATER}
    assert published.history_until > manifest.history_until  # type: ignore[operator]
    # parts of the history that were there are the same bytes still
    for name in manifest.files:
        if history_kind(name):
            assert (home / "artifacts" / name).read_bytes() == (home / "published" / name).read_bytes()


def test_the_forecasts_are_the_champions_own(home: Path) -> None:
    refresh(plan_of(home, "later", LATER), settings_of(home), SilentProgress())
    champion = load_champion(settings_of(home))
    coming = {id_: row for id_, row in rows(home).items() if row["kickoff_utc"] > LATER}  # type: ignore[operator]
    features = pq.read_table(home / "artifacts" / FEATURES)
    chosen = features.filter(pc.is_in(features["match_id"], pa.array(list(coming))))
    matrix = np.column_stack([chosen[name].to_numpy() for name in champion.names]).astype(np.float32)
    for match_id, expected in zip(
        chosen["match_id"].to_pylist(), champion.predictor.probabilities(matrix), strict=True
    ):
        said = coming[match_id]
        assert [said[f"proba_{side}"] for side in ("home", "draw", "away")] == expected.tolist()
        assert said["model_version"] == champion.info.version


def test_nothing_moves_when_nothing_is_new(home: Path) -> None:
    refresh(plan_of(home, "later", LATER), settings_of(home), SilentProgress())
    again = refresh(plan_of(home, "later", LATER + timedelta(minutes=1)), settings_of(home), SilentProgress())
    assert (again.moved, again.results) == (0, 0)


def test_in_summer_nothing_is_to_come(home: Path) -> None:
    """Matches of the lists whose day has passed wait for their results, and nothing is predicted."""
    refresh(plan_of(home, "later", LATER), settings_of(home), SilentProgress())
    before = rows(home)
    summary = refresh(plan_of(home, "later", LATER + timedelta(days=60)), settings_of(home), SilentProgress())
    assert (summary.upcoming, summary.moved) == (0, 0)
    assert check(home / "artifacts") == ()
    after = rows(home)
    waiting = [id_ for id_, row in after.items() if row["status"] == "awaiting_result"]
    assert waiting
    for match_id in waiting:
        assert [after[match_id][name] for name in SAID] == [before[match_id][name] for name in SAID]


def test_a_source_that_lost_its_files_changes_nothing(home: Path) -> None:
    before = contents(home / "artifacts")
    lost = home / "lost"
    shutil.rmtree(lost, ignore_errors=True)
    shutil.copytree(home / "later", lost)
    for path in sorted(lost.glob("main/*/*.csv"))[:-1]:
        path.unlink()
    with pytest.raises(BuildStopped, match="files are missing"):
        refresh(plan_of(home, "lost", LATER), settings_of(home), SilentProgress())
    shutil.rmtree(lost)
    lost.mkdir()
    shutil.copy(home / "later" / "source.json", lost)
    with pytest.raises(BuildStopped, match="No matches were found"):
        refresh(plan_of(home, "lost", LATER), settings_of(home), SilentProgress())
    assert contents(home / "artifacts") == before


def test_a_registry_without_a_champion_or_without_an_answer_changes_nothing(home: Path) -> None:
    before = contents(home / "artifacts")
    plan = plan_of(home, "later", LATER)
    with pytest.raises(BuildStopped, match="names no champion of nobody"):
        refresh(plan, settings_of(home, model_name="nobody"), SilentProgress())
    assert contents(home / "artifacts") == before


def test_artifacts_of_another_source_are_not_refreshed(home: Path) -> None:
    manifest = read_manifest(home / "artifacts")
    real = manifest.model_copy(update={"simulated": False})
    (home / "artifacts" / MANIFEST).write_text(real.model_dump_json())
    with pytest.raises(BuildStopped, match="another source"):
        refresh(plan_of(home, "later", LATER), settings_of(home), SilentProgress())
    (home / "artifacts" / MANIFEST).unlink()
    with pytest.raises(BuildStopped, match="no artifacts"):
        refresh(plan_of(home, "later", LATER), settings_of(home), SilentProgress())


def test_a_refresh_carries_the_drift_report_and_odds(home: Path) -> None:
    refresh(plan_of(home, "later", LATER), settings_of(home), SilentProgress())
    assert (home / "artifacts" / DRIFT).read_bytes() == (home / "published" / DRIFT).read_bytes()
    assert pq.read_metadata(home / "artifacts" / ODDS).num_rows >= pq.read_metadata(home / "published" / ODDS).num_rows


def test_a_retraining_makes_a_candidate_and_a_champion_only_where_that_is_said(home: Path) -> None:
    from worker.registry import ModelRegistry  # noqa: PLC0415 - seconds of import

    settings, now = settings_of(home), datetime.now(UTC)
    assert not is_retraining_due(settings, now)
    assert is_retraining_due(settings, now + timedelta(days=7, hours=1))
    assert not is_retraining_due(settings_of(home, retrain_days=0), now + timedelta(days=70))
    registry = ModelRegistry(settings)
    champion = registry.version_of("champion")
    plan = plan_of(home, "later", LATER)
    version = retrain(plan, settings, SilentProgress())
    assert (registry.version_of("champion"), registry.version_of("candidate")) == (champion, version)
    # it passes what a worker asks of a model, golden rows and all
    assert registry.load("candidate", version).info.version == version
    promoted = retrain(plan, replace_promotion(settings), SilentProgress())
    assert (registry.version_of("champion"), registry.version_of("candidate")) == (promoted, promoted)
    # and the next refresh predicts by it, matches to come alone
    refresh(plan, settings, SilentProgress())
    by = {row["model_version"] for row in rows(home).values() if row["kickoff_utc"] > LATER}  # type: ignore[operator]
    assert by == {promoted}
    assert champion in {row["model_version"] for row in rows(home).values()}


def replace_promotion(settings: Settings) -> Settings:
    return settings.model_copy(update={"promotion": "auto"})
