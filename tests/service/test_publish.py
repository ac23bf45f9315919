import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from app.artifacts.contract import DRIFT_HTML, FILES, MANIFEST, PREDICTIONS, check, read_manifest
from tests.support.build_artifacts import NOW, write_artifacts
from worker.pipeline.failures import BuildStopped
from worker.pipeline.output.publication import Origin, publish, staging

ORIGIN = Origin(source="simulated", simulated=True, seed=3, data_until=NOW, features_computed_at=NOW)


def published(target: Path, seed: int = 0) -> None:
    with staging(target) as staged:
        write_artifacts(staged, seed=seed)
        publish(staged, target, ORIGIN, {PREDICTIONS: 60}, NOW)


def left_over(target: Path) -> list[str]:
    return [path.name for path in target.parent.iterdir() if "staging" in path.name]


def test_in_a_volume_the_staging_folder_is_hidden_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is beside a mounted volume is another file system, where nothing can be moved from in one step."""
    monkeypatch.setattr(Path, "is_mount", lambda self: self == tmp_path)
    with staging(tmp_path) as folder:
        assert folder.parent == tmp_path
        assert folder.name.startswith(".")
        with pytest.raises(BuildStopped, match="Another build"), staging(tmp_path):
            pass
    assert not folder.exists()


def test_published_artifacts_keep_the_contract_and_say_where_they_are_from(tmp_path: Path) -> None:
    target = tmp_path / "artifacts"
    published(target)
    assert check(target) == ()
    manifest = read_manifest(target)
    assert (manifest.source, manifest.seed, manifest.built_at, manifest.data_until) == ("simulated", 3, NOW, NOW)
    assert manifest.files[PREDICTIONS].rows == 60
    assert left_over(target) == []


def test_a_second_build_replaces_the_first(tmp_path: Path) -> None:
    target = tmp_path / "artifacts"
    published(target)
    before = (target / PREDICTIONS).read_bytes()
    published(target, seed=1)
    assert check(target) == ()
    assert (target / PREDICTIONS).read_bytes() != before


def test_artifacts_that_break_the_contract_leave_the_target_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "artifacts"
    published(target)
    before = {name: (target / name).read_bytes() for name in (*FILES, MANIFEST)}
    with staging(target) as staged:
        write_artifacts(staged, seed=1, edit={PREDICTIONS: lambda table: table.drop_columns(["proba_home"])})
        with pytest.raises(BuildStopped, match="proba_home"):
            publish(staged, target, ORIGIN, {}, NOW)
    assert {name: (target / name).read_bytes() for name in before} == before


def test_a_build_that_fails_leaves_no_folder_behind(tmp_path: Path) -> None:
    target = tmp_path / "artifacts"

    def fail() -> None:
        with staging(target) as staged:
            write_artifacts(staged)
            raise BuildStopped("No matches.")

    with pytest.raises(BuildStopped):
        fail()
    assert left_over(target) == []
    assert not target.exists()


def test_what_a_killed_build_left_is_swept_away(tmp_path: Path) -> None:
    target = tmp_path / "artifacts"
    (tmp_path / ".artifacts.staging-old").mkdir()
    with staging(target):
        assert len(left_over(target)) == 1
    assert left_over(target) == []


def test_two_builds_into_one_folder_do_not_mix(tmp_path: Path) -> None:
    target = tmp_path / "artifacts"
    with staging(target), pytest.raises(BuildStopped, match="Another build"), staging(target):
        pass
    with staging(target) as staged:
        assert staged.is_dir()


def test_a_page_of_an_older_build_does_not_stay(tmp_path: Path) -> None:
    target = tmp_path / "artifacts"
    published(target)
    with staging(target) as staged:
        write_artifacts(staged, now=NOW + timedelta(days=1))
        (staged / DRIFT_HTML).unlink()
        publish(staged, target, ORIGIN, {}, NOW)
    assert not (target / DRIFT_HTML).exists()


@pytest.mark.parametrize("n_moved", range(1, len(FILES)))
def test_a_reader_in_the_middle_of_a_publication_sees_a_fault(tmp_path: Path, n_moved: int) -> None:
    """Files are moved one by one; until the manifest follows, the folder does not vouch for them."""
    old, new = tmp_path / "old", write_artifacts(tmp_path / "new", seed=1, now=NOW + timedelta(days=1))
    write_artifacts(old)
    for name in FILES[:n_moved]:
        shutil.copy(new / name, old / name)
    assert check(old) != ()
