"""Features: equal to a plain count by hand, blind to the present and the future."""

from datetime import UTC, datetime

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.support.build_matches import WorldPlan, change_after, make_matches, to_table, write_matches
from worker.pipeline.features.form import STATS, WINDOWS, build_features, feature_names
from worker.pipeline.progress import SilentProgress


@pytest.fixture(scope="module")
def table():
    """Three seasons; a team plays twice on one day once."""
    rows = make_matches(WorldPlan(seasons=3, teams=6)).to_pylist()
    doubled = next(row for row in rows[30:] if row["region"] == "Norland" and row["status"] == "finished")
    rows.append(doubled | {"match_id": 7, "home_team": "Norland 4", "kickoff_utc": doubled["kickoff_utc"]})
    rows.sort(key=lambda row: (row["kickoff_utc"], row["match_id"]))
    return to_table(rows)


def compute(folder, table):
    """The features file of a matches table."""
    out = folder / "match_features.parquet"
    build_features(write_matches(folder, table), out, SilentProgress())
    return pq.read_table(out)


def bits(table):
    """Every column's bytes: equal to the last bit, NaN included."""
    return [column.to_numpy().tobytes() for column in table.columns]


@pytest.fixture(scope="module")
def features(table, tmp_path_factory):
    """Computed once for all tests."""
    return compute(tmp_path_factory.mktemp("features"), table)


def test_there_are_508_in_the_agreed_order():
    """The names are the contract of file and model."""
    names = feature_names()
    assert len(names) == len(set(names)) == 508
    assert names[:4] == ("elo_home", "elo_away", "elo_diff", "form_win_all_1_home")
    assert names[-1] == "rest_days_diff"


def test_file_has_match_id_and_float32_in_order_of_the_matches(table, features):
    """One row per match, coming and cancelled ones too."""
    assert features["match_id"].equals(table["match_id"])
    assert features.schema.names == ["match_id", *feature_names()]
    assert {str(field.type) for field in features.schema if field.name != "match_id"} == {"float"}


def shares_scope(scope, match, earlier, team, side):
    """Whether an earlier match of the team counts for that scope."""
    return {
        "all": True,
        "season": earlier["season"] == match["season"],
        "tournament": earlier["tournament"] == match["tournament"],
        "venue": earlier[f"{side}_team"] == team,
    }[scope]


def by_hand(rows, match, scope, window, side):
    """The six numbers counted from the list of all matches."""
    team = match[f"{side}_team"]
    past = [
        row
        for row in rows
        if row["status"] == "finished"
        and row["region"] == match["region"]
        and team in (row["home_team"], row["away_team"])
        and row["kickoff_utc"].date() < match["kickoff_utc"].date()
        and shares_scope(scope, match, row, team, side)
    ][-window:]
    if not past:
        return [np.nan] * 5 + [0.0]
    mine = np.array([row["home_score"] if row["home_team"] == team else row["away_score"] for row in past])
    theirs = np.array([row["away_score"] if row["home_team"] == team else row["home_score"] for row in past])
    rates = [np.mean(mine > theirs), np.mean(mine == theirs), np.mean(mine < theirs), mine.mean(), theirs.mean()]
    return [*rates, len(past) / window]


@pytest.mark.parametrize("scope", ["all", "season", "tournament", "venue"])
def test_form_is_what_counting_by_hand_gives(scope, table, features):
    """Every match, window, side and statistic of the scope."""
    rows = table.to_pylist()
    columns = {name: features[name].to_numpy() for name in feature_names()}
    for place, match in enumerate(rows):
        for window in WINDOWS:
            for side in ("home", "away"):
                found = [columns[f"form_{stat}_{scope}_{window}_{side}"][place] for stat in STATS]
                np.testing.assert_allclose(found, by_hand(rows, match, scope, window, side), rtol=1e-6)


def test_diff_is_home_less_away(features):
    """And nothing where one of the two is unknown."""
    home, away = (features[f"form_win_all_5_{side}"].to_numpy() for side in ("home", "away"))
    np.testing.assert_allclose(features["form_win_all_5_diff"].to_numpy(), home - away, rtol=1e-6, atol=1e-6)


def test_first_match_of_a_team_knows_nothing(features):
    """NaN for form and rest, while Elo has its starting value."""
    first = features.slice(0, 1).to_pylist()[0]
    assert np.isnan(first["form_win_all_12_home"])
    assert np.isnan(first["rest_days_diff"])
    assert first["form_coverage_all_12_home"] == 0
    assert first["elo_home"] == pytest.approx(1500)


def test_coming_matches_have_features_and_are_no_history(table, features, tmp_path):
    """Leaving them out changes nothing for the others."""
    played = [status == "finished" for status in table["status"].to_pylist()]
    assert not np.isnan(features["form_win_all_12_home"].to_numpy()[-10:]).any()
    assert bits(compute(tmp_path, table.filter(played))) == bits(features.filter(played))


def test_results_after_a_date_change_nothing_before(table, features, tmp_path):
    """No look-ahead: every bit of every feature of earlier matches, and of those of the day itself."""
    moment = datetime(2020, 9, 14, tzinfo=UTC)
    changed = compute(tmp_path, change_after(table, moment))
    before = [kickoff.date() <= moment.date() for kickoff in table["kickoff_utc"].to_pylist()]
    after = [not is_before for is_before in before]
    assert bits(changed.filter(before)) == bits(features.filter(before))
    assert bits(changed.filter(after)) != bits(features.filter(after))
