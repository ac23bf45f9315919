import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.artifacts.contract import (
    DRIFT,
    FEATURES,
    FILES,
    MANIFEST,
    ODDS,
    PREDICTIONS,
    PRICES,
    ROI_BY_REGION,
    ROI_TIMESERIES,
    check,
    history_pattern,
    read_manifest,
)
from tests.support.build_artifacts import Edit, stamp, write_artifacts


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_artifacts(tmp_path_factory.mktemp("sound"))


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "artifacts"))


def codes(folder: Path) -> list[tuple[str, str]]:
    return [(fault.file, fault.code) for fault in check(folder)]


def edited(folder: Path, name: str, edit: Edit) -> list[tuple[str, str]]:
    """Faults after changing a table, stamped as if the pipeline had published it so."""
    pq.write_table(edit(pq.read_table(folder / name)), folder / name)
    stamp(folder)
    return codes(folder)


def put(name: str, row: int, value: object) -> Edit:
    """An edit that sets one cell."""

    def edit(table: pa.Table) -> pa.Table:
        values = table[name].to_pylist()
        values[row] = value
        return table.set_column(table.column_names.index(name), name, pa.array(values, table[name].type))

    return edit


def cast(name: str, kind: pa.DataType) -> Edit:
    return lambda table: table.set_column(table.column_names.index(name), name, table[name].cast(kind))


def far_off(name: str, year: int) -> Edit:
    """An edit that puts one time into a year that Python has no word for."""

    def edit(table: pa.Table) -> pa.Table:
        ticks = table[name].cast(pa.int64()).to_pylist()
        ticks[3] = int((year - 1970) * 365.2425 * 86_400) * 1_000_000
        return table.set_column(table.column_names.index(name), name, pa.array(ticks).cast(table[name].type))

    return edit


def drop(name: str) -> Edit:
    return lambda table: table.drop_columns([name])


def test_a_published_folder_has_no_faults(sound: Path) -> None:
    assert check(sound) == ()
    assert read_manifest(sound).simulated


def test_extra_columns_are_allowed(folder: Path) -> None:
    assert edited(folder, PREDICTIONS, lambda table: table.append_column("weather", table["region"])) == []


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_needed(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert (name, "missing-file") in codes(folder)
    stamp(folder)
    assert (name, "unlisted") in codes(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_a_fault_not_an_exception(folder: Path, name: str) -> None:
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: len(whole) // 2])
    assert (name, "wrong-size") in codes(folder)


@pytest.mark.parametrize("name", [PREDICTIONS, FEATURES, ODDS, DRIFT])
def test_a_file_cut_before_it_was_stamped_is_unreadable(folder: Path, name: str) -> None:
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: len(whole) // 2])
    stamp(folder)
    assert codes(folder) == [(name, "unreadable")]


def test_flipped_bytes_are_seen_by_their_checksum(folder: Path) -> None:
    contents = bytearray((folder / FEATURES).read_bytes())
    contents[len(contents) // 3] ^= 0xFF
    (folder / FEATURES).write_bytes(contents)
    assert codes(folder) == [(FEATURES, "wrong-checksum")]
    assert check(folder, checksums=False) == ()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 2}', '{"format": 1}'])
def test_a_manifest_that_is_none(folder: Path, text: str) -> None:
    (folder / MANIFEST).write_text(text)
    assert codes(folder) == [(MANIFEST, "unreadable")]


def test_no_manifest_yet(folder: Path) -> None:
    (folder / MANIFEST).unlink()
    assert codes(folder) == [(MANIFEST, "missing-file")]


def test_a_manifest_cannot_point_outside_the_folder(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"]["../../etc/passwd"] = manifest["files"][DRIFT]
    (folder / MANIFEST).write_text(json.dumps(manifest))
    assert codes(folder) == [("../../etc/passwd", "bad-path")]


PREDICTION_FAULTS: dict[str, tuple[Edit, str]] = {
    "probabilities that sum to 1.1": (put("proba_home", 3, 0.9), "bad-sum"),
    "a probability of 1.2": (put("proba_home", 3, 1.2), "bad-probability"),
    "a probability that is no number": (put("proba_draw", 3, float("nan")), "bad-probability"),
    "an unknown status": (put("status", 3, "unheard_of"), "bad-status"),
    "a result without a score": (put("home_score", 3, None), "bad-outcome"),
    "a result before the match": (put("outcome", -1, 0), "bad-outcome"),
    "a class that is not 0, 1, 2": (put("predicted_class", 3, 3), "bad-prediction"),
    "a doubled match": (lambda table: pa.concat_tables([table, table.slice(0, 1)]), "duplicate-match"),
    "an empty cell": (put("home_team", 3, None), "null"),
    "a missing column": (drop("model_run_id"), "missing-column"),
    "a negative id": (put("match_id", 3, -10), "bad-id"),
    "a kick-off after the year 9999": (far_off("kickoff_utc", 10_500), "bad-time"),
    "a kick-off before the year 1": (far_off("kickoff_utc", -50), "bad-time"),
    "a prediction computed in 2099": (put("computed_at", 3, datetime(2099, 1, 1, tzinfo=UTC)), "future-time"),
    "a negative score": (put("home_score", 3, -1), "bad-score"),
    "a score of four digits": (put("away_score", 3, 1000), "bad-score"),
    "one name in two spellings": (lambda table: table.append_column("Status", table["status"]), "duplicate-column"),
    "one name twice": (lambda table: table.append_column("season", table["season"]), "duplicate-column"),
    "times without a zone": (cast("kickoff_utc", pa.timestamp("us")), "wrong-type"),
    "ids as text": (cast("match_id", pa.string()), "wrong-type"),
}


@pytest.mark.parametrize("what", PREDICTION_FAULTS)
def test_predictions_fault(folder: Path, what: str) -> None:
    edit, code = PREDICTION_FAULTS[what]
    assert (PREDICTIONS, code) in edited(folder, PREDICTIONS, edit)


def test_no_predictions_at_all(folder: Path) -> None:
    assert (PREDICTIONS, "empty") in edited(folder, PREDICTIONS, lambda table: table.slice(0, 0))


def test_a_predicted_class_that_is_not_the_most_probable(folder: Path) -> None:
    def edit(table: pa.Table) -> pa.Table:
        classes = (np.asarray(table["predicted_class"].to_numpy()) + 1) % 3
        at = table.column_names.index("predicted_class")
        return table.set_column(at, "predicted_class", pa.array(classes, pa.int8()))

    assert edited(folder, PREDICTIONS, edit) == [(PREDICTIONS, "bad-prediction")]


ODDS_FAULTS: dict[str, tuple[Edit, str]] = {
    "a price of 1": (put("odds_home", 2, 1.0), "bad-odds"),
    "an infinite price": (put("odds_away", 2, float("inf")), "bad-odds"),
    "a price that is no number": (put("odds_draw", 2, float("nan")), "bad-odds"),
    "a link that is script": (put("event_url", 2, "javascript:alert(1)"), "bad-url"),
    "a doubled match": (lambda table: pa.concat_tables([table, table.slice(0, 1)]), "duplicate-match"),
    "a match without prediction": (put("match_id", 2, 5), "unknown-match"),
    "a price captured in 2099": (put("captured_at", 2, datetime(2099, 1, 1, tzinfo=UTC)), "future-time"),
    "a price captured before the year 1": (far_off("captured_at", -1), "bad-time"),
    "closing prices as text": (cast("closing_home", pa.string()), "wrong-type"),
}


@pytest.mark.parametrize("what", ODDS_FAULTS)
def test_odds_fault(folder: Path, what: str) -> None:
    edit, code = ODDS_FAULTS[what]
    assert edited(folder, ODDS, edit) == [(ODDS, code)]


def test_a_web_address_is_a_good_link(folder: Path) -> None:
    assert edited(folder, ODDS, put("event_url", 2, "https://example.org/event/1")) == []


FEATURE_FAULTS: dict[str, tuple[Edit, str]] = {
    "doubles": (cast("elo_home", pa.float64()), "wrong-type"),
    "no features": (lambda table: table.select(["match_id"]), "wrong-type"),
    "a doubled match": (lambda table: pa.concat_tables([table, table.slice(0, 1)]), "duplicate-match"),
    "a match without prediction": (put("match_id", 2, 5), "unknown-match"),
    "no ids": (drop("match_id"), "missing-column"),
    "one name twice": (lambda table: table.append_column("elo_home", table["elo_home"]), "duplicate-column"),
}


@pytest.mark.parametrize("what", FEATURE_FAULTS)
def test_features_fault(folder: Path, what: str) -> None:
    edit, code = FEATURE_FAULTS[what]
    assert edited(folder, FEATURES, edit) == [(FEATURES, code)]


def test_fault_names_the_column_the_first_match_and_how_many(folder: Path) -> None:
    path = folder / ODDS
    table = pq.read_table(path)
    late = pa.array(
        [datetime(2099, 1, 1, tzinfo=UTC)] * 3 + table["captured_at"].to_pylist()[3:], pa.timestamp("us", "UTC")
    )
    pq.write_table(table.set_column(table.column_names.index("captured_at"), "captured_at", late), path)
    stamp(folder)
    (fault,) = check(folder)
    first = table["match_id"][0].as_py()
    assert fault.detail == f"captured_at later than the artifacts: 3 rows, first match_id {first}"


HISTORY_FAULTS: dict[str, tuple[str, Edit, str]] = {
    "a negative id": ("results", put("match_id", 3, -10), "bad-id"),
    "known in 2099": ("odds", put("known_at", 3, datetime(2099, 1, 1, tzinfo=UTC)), "future-time"),
    "captured before the year 1": ("odds", far_off("captured_at", -1), "bad-time"),
    "a kick-off after the year 9999": ("predictions", far_off("kickoff_utc", 10_500), "bad-time"),
    "an empty cell": ("predictions", put("region", 3, None), "null"),
    "times without a zone": ("results", cast("known_at", pa.timestamp("us")), "wrong-type"),
}


@pytest.mark.parametrize("has_statistics", [True, False])
@pytest.mark.parametrize("what", HISTORY_FAULTS)
def test_history_fault(tmp_path: Path, what: str, *, has_statistics: bool) -> None:
    kind, edit, code = HISTORY_FAULTS[what]
    folder = write_artifacts(tmp_path / "artifacts", with_history=True)
    (path,) = folder.glob(history_pattern(kind))
    pq.write_table(
        edit(pq.read_table(path, partitioning=None)), path, write_statistics=has_statistics or code == "null"
    )
    stamp(folder)
    faults = check(folder)
    assert [(fault.file, fault.code) for fault in faults] == [(path.relative_to(folder).as_posix(), code)]
    if code in {"bad-id", "bad-time", "future-time"}:
        assert ": 1 rows, first match_id " in faults[0].detail


def changed_text(folder: Path, name: str, change: Callable[[str], str]) -> list[tuple[str, str]]:
    (folder / name).write_text(change((folder / name).read_text()))
    stamp(folder)
    return codes(folder)


def test_money_that_cannot_be(folder: Path) -> None:
    """More wins than bets."""
    header = "n_matches,n_bets,n_wins,hit_rate,staked,profit,roi_pct,roi_ci_low,roi_ci_high\n"
    assert changed_text(folder, ROI_TIMESERIES, lambda _: header + "10,5,6,,5,1,,,\n") == [
        (ROI_TIMESERIES, "bad-money")
    ]
    assert changed_text(folder, ROI_TIMESERIES, lambda _: header + "10,5,,,5,1,,,\n") == [(ROI_TIMESERIES, "null")]
    assert changed_text(folder, ROI_TIMESERIES, lambda _: header + "10,5,4,,5,1,,,\n") == []


def test_money_that_is_text(folder: Path) -> None:
    assert changed_text(folder, ROI_BY_REGION, lambda text: text.replace("Z,", "Z,many", 1)) == [
        (ROI_BY_REGION, "unreadable")
    ]


def test_money_without_a_column(folder: Path) -> None:
    assert changed_text(folder, ROI_BY_REGION, lambda text: text.replace("settled_until", "until")) == [
        (ROI_BY_REGION, "missing-column")
    ]


def test_a_drift_report_without_a_verdict(folder: Path) -> None:
    assert changed_text(folder, DRIFT, lambda text: text.replace('"verdict"', '"opinion"')) == [(DRIFT, "unreadable")]


def test_details_name_no_path_of_the_machine(folder: Path) -> None:
    for name in FILES:
        (folder / name).write_bytes(b"nothing of the kind")
    stamp(folder)
    faults = check(folder)
    assert {fault.file for fault in faults} == set(FILES)
    assert not any(str(folder) in fault.detail for fault in faults)


def test_text_may_be_dictionary_encoded(folder: Path) -> None:
    """As pandas writes categories."""
    assert edited(folder, PREDICTIONS, cast("region", pa.dictionary(pa.int8(), pa.string()))) == []


@pytest.fixture
def priced(tmp_path: Path) -> Path:
    """A folder with the prices of several bookmakers."""
    return write_artifacts(tmp_path / "artifacts", n_books=2)


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        (put("odds_draw", 3, 1.0), "bad-odds"),
        (put("kind", 3, "opening"), "bad-kind"),
        (put("url", 3, "javascript:alert(1)"), "bad-url"),
        (put("match_id", 3, 7), "unknown-match"),
        (put("bookmaker", 3, None), "null"),
        (put("captured_at", 3, datetime(2999, 1, 1, tzinfo=UTC)), "future-time"),
        (lambda table: pa.concat_tables([table, table.slice(5, 1)]), "duplicate-price"),
        (lambda table: table.drop_columns(["captured_at"]), "missing-column"),
    ],
)
def test_prices_keep_their_rules(priced: Path, edit: Edit, code: str) -> None:
    assert check(priced) == ()
    assert edited(priced, PRICES, edit) == [(PRICES, code)]
