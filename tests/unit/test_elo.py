"""Elo: who wins rises, prices teach more than scores, and nothing is known before its day is over."""

from datetime import UTC, datetime

import numpy as np
import pytest

from tests.support.build_matches import PRICES, SIDES, change_after, make_matches, to_table
from worker.pipeline.features.elo import compute_ratings, expectation, expectation_of_price, points


def rows_of(*overrides):
    """Hand-made matches: Reds against Blues, 1-0, a week apart, without prices."""
    base = make_matches().to_pylist()[0]
    unpriced = {f"{price}_{side}": None for price in PRICES for side in SIDES}
    rows = []
    for day, override in enumerate(overrides):
        kickoff = datetime(2024, 1, 1 + 7 * day, 15, tzinfo=UTC)
        row = base | unpriced | {"home_team": "Reds", "away_team": "Blues", "kickoff_utc": kickoff, "match_id": day}
        rows.append(row | {"home_score": 1, "away_score": 0, "outcome": 0, "status": "finished"} | override)
    return to_table(rows)


def test_winner_rises_and_loser_falls():
    """The score alone moves both teams."""
    before, after = compute_ratings(rows_of({}, {}))
    assert after[0] > before[0]
    assert after[1] < before[1]


def test_larger_win_moves_more():
    """A goal difference of four says more than one of one."""
    narrow, wide = (compute_ratings(rows_of({"home_score": goals}, {}))[1, 0] for goals in (1, 4))
    assert wide > narrow


def test_price_outweighs_score():
    """A favourite who lost is still rated above the winner."""
    prices = {"psc_home": 1.2, "psc_draw": 7.0, "psc_away": 15.0}
    _, after = compute_ratings(rows_of({"home_score": 0, "away_score": 1, "outcome": 2, **prices}, {}))
    assert after[0] > after[1]


def test_price_of_unplayed_match_teaches_nothing():
    """What is known of a match counts once it was played."""
    prices = {"psc_home": 1.2, "psc_draw": 7.0, "psc_away": 15.0}
    unplayed = {"status": "upcoming", "home_score": None, "away_score": None, "outcome": None}
    before, after = compute_ratings(rows_of(unplayed | prices, {}))
    assert np.array_equal(before, after)


def test_matches_of_one_day_do_not_see_each_other():
    """Even where kick-off times differ: a match may still be running when the next begins."""
    same_day = {"kickoff_utc": datetime(2024, 1, 1, 20, tzinfo=UTC)}
    first, second = compute_ratings(rows_of({}, same_day))
    assert np.array_equal(first, second)


def test_same_name_in_two_regions_is_two_teams():
    """A win in one country says nothing about a namesake in another."""
    elsewhere = {"region": "Sudland", "division": "SUD"}
    ratings = compute_ratings(rows_of(elsewhere, {}, elsewhere))
    assert ratings[1, 0] == ratings[0, 0]
    assert ratings[2, 0] > ratings[0, 0]


def test_difference_holds_home_advantage():
    """The third number is what the home side is ahead by."""
    ((home, away, difference),) = compute_ratings(rows_of({}))
    assert difference > home - away


def test_results_after_a_date_change_nothing_before():
    """No look-ahead, to the last bit."""
    table, moment = make_matches(), datetime(2021, 10, 1, 16, tzinfo=UTC)
    before = np.array([kickoff < moment for kickoff in table["kickoff_utc"].to_pylist()])
    ratings, changed = compute_ratings(table), compute_ratings(change_after(table, moment))
    assert np.array_equal(ratings[before], changed[before])
    assert not np.array_equal(ratings[~before], changed[~before])


@pytest.mark.parametrize("advantage", [-250.0, 0.0, 63.0])
def test_points_invert_expectation(advantage):
    """The two scales are one."""
    assert points(expectation(advantage)) == pytest.approx(advantage)


def test_sharpest_known_price_is_taken():
    """Pinnacle's closing price before Bet365's, and none where nothing is known."""
    both = {"psc_home": 2.0, "psc_draw": 4.0, "psc_away": 4.0, "b365_home": 5.0, "b365_draw": 4.0, "b365_away": 1.7}
    first, second = expectation_of_price(rows_of(both, {}))
    assert first == pytest.approx(0.5 + 0.25 / 2)
    assert np.isnan(second)
