"""scripts/check_artifacts: what is wrong with a folder or a bucket, said in one run."""

import asyncio
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.artifacts.contract import DRIFT, FEATURES, MANIFEST, ODDS, PREDICTIONS, ROI_BY_REGION
from app.store.check_artifacts import FAULTY, SOUND, UNREADABLE, main
from tests.support.build_artifacts import FIRST_ID, stamp, write_artifacts
from tests.support.s3 import BUCKET, KEY, S3, SECRET

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, which is as empty after as before but for what was fetched."""
    monkeypatch.setenv("TOUCHLINE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_artifacts(tmp_path / "artifacts", with_history=True)


def spoil(folder: Path) -> None:
    """Faults in four files, stamped as if they had been published so."""
    predictions = pq.read_table(folder / PREDICTIONS)
    seasons = predictions["season"].to_pylist()
    seasons[4:7] = [None] * 3
    at = predictions.column_names.index("season")
    pq.write_table(predictions.set_column(at, "season", pa.array(seasons)), folder / PREDICTIONS)
    odds = pq.read_table(folder / ODDS)
    prices = [0.5, *odds["odds_home"].to_pylist()[1:]]
    pq.write_table(odds.set_column(odds.column_names.index("odds_home"), "odds_home", pa.array(prices)), folder / ODDS)
    (folder / DRIFT).write_text("{}")
    (folder / FEATURES).unlink()
    stamp(folder)


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("has_manifest", [True, False])
def test_sound_folder_can_be_served(
    folder: Path, home: Path, capsys: pytest.CaptureFixture[str], *, has_manifest: bool
) -> None:
    if not has_manifest:
        (folder / MANIFEST).unlink()
    assert main([str(folder)]) == SOUND
    assert said(capsys) == [f"{folder} can be served"]
    assert list((home / "cache/checks").iterdir()) == []


@pytest.mark.parametrize("has_manifest", [True, False])
def test_all_faults_are_named_in_one_run(
    folder: Path, capsys: pytest.CaptureFixture[str], *, has_manifest: bool
) -> None:
    """File, column, count and first id; the fault of one file hides none of another."""
    spoil(folder)
    first_odds = pq.read_table(folder / ODDS)["match_id"][0].as_py()
    if not has_manifest:
        (folder / MANIFEST).unlink()
    assert main([str(folder)]) == FAULTY
    lines = said(capsys)
    assert f"{PREDICTIONS}: null: season is empty: 3 rows, first match_id {FIRST_ID + 4}" in lines
    prices = "odds_home, odds_draw or odds_away not above 1"
    assert f"{ODDS}: bad-odds: {prices}: 1 rows, first match_id {first_odds}" in lines
    assert {line.partition(":")[0] for line in lines} == {PREDICTIONS, ODDS, DRIFT, FEATURES}
    assert str(folder.parent / "home") not in "".join(lines)


def test_file_that_the_manifest_lists_and_nobody_has_is_named_with_all_else(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / FEATURES).unlink()
    (folder / ROI_BY_REGION).write_text("what is this")
    assert main([str(folder)]) == FAULTY
    assert {line.partition(": ")[0] for line in said(capsys)} == {FEATURES, ROI_BY_REGION}


def test_folder_of_parts_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = (folder / PREDICTIONS).read_bytes()
    (folder / PREDICTIONS).unlink()
    (folder / PREDICTIONS).mkdir()
    (folder / PREDICTIONS / "part-0.parquet").write_bytes(whole)
    assert main([str(folder)]) == FAULTY
    assert any(line.startswith(f"{PREDICTIONS}: folder-of-parts: ") for line in said(capsys))


def test_place_without_artifacts_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nowhere")]) == UNREADABLE
    assert capsys.readouterr().err.startswith(f"{tmp_path / 'nowhere'} cannot be read: ")


def test_bucket_is_checked_alike(
    s3: S3, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": s3.endpoint,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    asyncio.run(s3.upload(folder, "checked"))
    assert main([f"s3://{BUCKET}/checked"]) == SOUND
    spoil(folder)
    asyncio.run(s3.upload(folder, "spoiled"))
    capsys.readouterr()
    assert main([f"s3://{BUCKET}/spoiled"]) == FAULTY
    assert {line.partition(":")[0] for line in said(capsys)} == {PREDICTIONS, ODDS, DRIFT, FEATURES}
