"""Odds in memory: found by match id, with their age, or known to be missing."""

from datetime import UTC, datetime

import pytest

from app.store.database import open_connection
from app.store.odds import Odds, Prices, read_prices

AT = datetime(2026, 8, 1, 12, 0, 0, 123456, tzinfo=UTC)
CARDS = """
CREATE TABLE cards (
    match_id BIGINT, odds_home DOUBLE, odds_draw DOUBLE, odds_away DOUBLE, captured_at TIMESTAMPTZ
)
"""
LARGE = 2**62 + 1  # an id that passes through a double is no longer itself


@pytest.fixture
def prices() -> Prices:
    """Three matches, of which the middle one has no odds."""
    connection = open_connection()
    connection.execute(CARDS)
    rows = [(LARGE, 1.5, 4.0, 7.0, AT), (LARGE - 1, None, None, None, None), (7, 2.0, 3.0, 4.0, AT)]
    connection.executemany("INSERT INTO cards VALUES (?, ?, ?, ?, ?)", rows)
    return read_prices(connection)


def test_odds_and_their_age_are_found(prices: Prices) -> None:
    assert prices.find(LARGE) == Odds(1.5, 4.0, 7.0, AT)
    assert prices.find(7) == Odds(2.0, 3.0, 4.0, AT)


def test_match_without_odds_is_a_match(prices: Prices) -> None:
    assert prices.find(LARGE - 1) == Odds(None, None, None, None)


@pytest.mark.parametrize("match_id", [0, 8, LARGE - 2, LARGE + 1])
def test_unknown_match_has_none(prices: Prices, match_id: int) -> None:
    assert prices.find(match_id) is None


def test_no_matches_at_all() -> None:
    connection = open_connection()
    connection.execute(CARDS)
    assert read_prices(connection).find(1) is None
