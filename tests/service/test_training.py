"""Training on a tiny world: what is predicted by whom, what is registered, and that the future stays unknown."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from tests.support.build_matches import WorldPlan, change_after, make_matches, write_matches
from worker.pipeline.features.form import build_features, feature_names
from worker.pipeline.progress import SilentProgress
from worker.pipeline.training.fitting import Dataset, Recipe, fit
from worker.pipeline.training.hold_out_scores import fair_probabilities, score_hold_out
from worker.pipeline.training.training import candidate_recipe, hold_out_start
from worker.pipeline.training.walk_forward import block_starts, fit_blocks

PLAN = WorldPlan(seasons=7, teams=12, first_year=2018)
SMALL = Recipe(columns=candidate_recipe().columns, rounds=20)


def read_world(folder, table):
    """The world of a matches table, by its files."""
    matches, features = write_matches(folder, table), folder / "features.parquet"
    build_features(matches, features, SilentProgress())
    return Dataset.read(matches, features)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Seven seasons of two leagues, 1,800 matches."""
    return read_world(tmp_path_factory.mktemp("world"), make_matches(PLAN))


def test_hold_out_starts_at_the_turn_of_a_season(world):
    """Two years before the newest result, on the nearest 1 July."""
    newest = world.kickoff[world.outcome >= 0].max().item().replace(tzinfo=UTC)
    start = hold_out_start(world)
    assert (start.month, start.day) == (7, 1)
    assert abs(newest - start - timedelta(days=730)) <= timedelta(days=184)


def test_coming_and_cancelled_matches_are_not_trained_on(world):
    """They have no outcome."""
    assert (world.outcome == -1).sum() == 11
    assert not world.select_played(None, None)[world.outcome == -1].any()


@pytest.mark.timeout(600)
def test_blocks_follow_each_other_and_end_where_the_champion_begins(world):
    """Each is trained only until its own beginning."""
    until = hold_out_start(world)
    blocks = fit_blocks(world, until, SilentProgress())
    assert [block.trained_until for block in blocks] == block_starts(world, until)


@pytest.mark.timeout(600)
def test_model_and_predictions_before_a_date_do_not_know_what_came_after(world, tmp_path):
    """Other results from then on: the same model, bit for bit, and the same predictions until the day is over."""
    until = hold_out_start(world)
    changed = read_world(tmp_path, change_after(make_matches(PLAN), until))
    ours, theirs = fit(world, SMALL, until), fit(changed, SMALL, until)
    assert bytes(ours.booster.save_raw("json")) == bytes(theirs.booster.save_raw("json"))
    earlier = world.select_played(None, until)
    assert np.array_equal(ours.predict(world.features[earlier]), theirs.predict(changed.features[earlier]))
    later = world.select_played(until + timedelta(days=200), None)
    assert not np.array_equal(ours.predict(world.features[later]), theirs.predict(changed.features[later]))


@pytest.mark.timeout(600)
def test_model_beats_base_rates_on_matches_it_has_not_seen(world):
    """And the score table has yardsticks on the very same matches."""
    until = hold_out_start(world)
    scores = score_hold_out(world, {"champion": fit(world, SMALL, until)}, until)
    main = {row.forecaster: row for row in scores.rows if row.group == "main leagues with odds"}
    assert main["champion"].log_loss < main["base rates"].log_loss
    assert len({row.n for row in main.values()}) == 1
    assert set(main) == {"champion", "base rates", "Bet365 pre-match", "market average closing"}
    assert scores.metrics("champion")["log_loss"] == main["champion"].log_loss


def test_fair_price_sums_to_one_without_its_margin(world):
    """Where there is a price."""
    found = fair_probabilities(world.matches, "b365")
    known = ~np.isnan(found[:, 0])
    assert known.any()
    np.testing.assert_allclose(found[known].sum(axis=1), 1.0)


def test_fair_price_is_the_one_that_the_service_shows(world):
    """One rule takes the margin out: the power method."""
    found, n = fair_probabilities(world.matches, "b365"), 0
    for row, price in zip(found, world.matches.to_pylist(), strict=True):
        if np.isnan(row).any():
            continue
        implied = 1 / np.array([price[f"b365_{side}"] for side in ("home", "draw", "away")])
        exponents = np.log(row) / np.log(implied)
        np.testing.assert_allclose(exponents, exponents[0], rtol=1e-6)
        n += 1
    assert n > 100


def test_too_short_a_history_says_so(world):
    """A name for what is missing instead of a booster of nothing."""
    with pytest.raises(ValueError, match="too few matches before"):
        fit(world, SMALL, datetime(2018, 8, 1, 16, tzinfo=UTC))


def test_files_of_different_matches_are_refused(tmp_path):
    """Features of other matches would be trained on silently."""
    table = make_matches(WorldPlan(seasons=1, teams=4))
    features = tmp_path / "features.parquet"
    build_features(write_matches(tmp_path, table), features, SilentProgress())
    with pytest.raises(ValueError, match="match ids differ"):
        Dataset.read(write_matches(tmp_path / "other", table.slice(1)), features)


def test_recipe_keeps_the_order_of_its_own_columns():
    """The signature's order is the recipe's."""
    names = feature_names()
    assert [names[position] for position in SMALL.positions()] == list(SMALL.columns)
