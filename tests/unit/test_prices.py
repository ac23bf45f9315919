"""Odds in memory: found by match id, with their age, or known to be missing."""

from datetime import UTC, datetime

import pytest

from app.store.database import open_connection
from app.store.odds import MarketView, Odds, Prices, read_prices

AT = datetime(2026, 8, 1, 12, 0, 0, 123456, tzinfo=UTC)
CARDS = """
CREATE TABLE cards (
    match_id BIGINT, odds_home DOUBLE, odds_draw DOUBLE, odds_away DOUBLE, captured_at TIMESTAMPTZ,
    market_home DOUBLE, market_draw DOUBLE, market_away DOUBLE, model_exponent DOUBLE, market_exponent DOUBLE
)
"""
LARGE = 2**62 + 1  # an id that passes through a double is no longer itself


@pytest.fixture
def prices() -> Prices:
    """Three matches, of which the middle one has no odds."""
    connection = open_connection()
    connection.execute(CARDS)
    no_market, market = (None, None, None, 1.0, 0.0), (0.5, 0.3, 0.2, 0.2, 0.8)
    rows = [
        (LARGE, 1.5, 4.0, 7.0, AT, *no_market),
        (LARGE - 1, None, None, None, None, *no_market),
        (7, 2.0, 3.0, 4.0, AT, *market),
    ]
    connection.executemany(f"INSERT INTO cards VALUES ({', '.join('?' * 10)})", rows)
    return read_prices(connection)


def test_odds_and_their_age_are_found(prices: Prices) -> None:
    assert prices.find(LARGE) == Odds(1.5, 4.0, 7.0, AT)
    assert prices.find(7) == Odds(2.0, 3.0, 4.0, AT)


def test_market_of_a_match_is_its_own_and_its_absence_too(prices: Prices) -> None:
    assert prices.find_market(7) == MarketView((0.5, 0.3, 0.2), 0.2, 0.8)
    assert prices.find_market(LARGE) == MarketView(None, 1.0, 0.0)
    assert prices.find_market(8) is None


def test_match_without_odds_is_a_match(prices: Prices) -> None:
    assert prices.find(LARGE - 1) == Odds(None, None, None, None)


@pytest.mark.parametrize("match_id", [0, 8, LARGE - 2, LARGE + 1])
def test_unknown_match_has_none(prices: Prices, match_id: int) -> None:
    assert prices.find(match_id) is None


def test_no_matches_at_all() -> None:
    connection = open_connection()
    connection.execute(CARDS)
    assert read_prices(connection).find(1) is None
