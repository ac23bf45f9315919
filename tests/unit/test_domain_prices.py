"""Prices of several bookmakers: sound ones, and the best, each against a loop that reads the rule aloud."""

from statistics import median

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.prices import CONTRADICTION, MIN_OTHERS, best, sound

Floats = npt.NDArray[np.float64]
price = st.floats(1.01, 30) | st.just(float("nan")) | st.just(1.0)
rows = st.lists(st.tuples(st.integers(0, 3), price, price, price, st.booleans()), min_size=1, max_size=24)
N_MATCHES = 4


def arrays_of(drawn: list[tuple[int, float, float, float, bool]]) -> tuple[Floats, npt.NDArray[np.int64]]:
    drawn.sort(key=lambda row: row[0])
    return np.array([row[1:4] for row in drawn]), np.array([row[0] for row in drawn], dtype=np.int64)


@given(rows)
def test_a_price_is_sound_unless_the_others_contradict_it(drawn: list[tuple[int, float, float, float, bool]]) -> None:
    odds, match = arrays_of(drawn)
    # one average a match, as the files have it
    is_average = np.array([row[4] for row in drawn]) & (np.diff(match, prepend=-1) > 0)
    found = sound(odds, match, N_MATCHES, is_average)
    whole = [bool(np.isfinite(row).all() and (row > 1).all()) for row in odds]
    for i, row in enumerate(odds):
        books = [odds[j] for j in range(len(odds)) if match[j] == match[i] and whole[j]]
        averages = [odds[j] for j in range(len(odds)) if match[j] == match[i] and whole[j] and is_average[j]]
        expected = whole[i]
        for side in range(3):
            if not whole[i] or (len(books) <= MIN_OTHERS and not averages):
                continue
            middle = median(book[side] for book in books) if len(books) > MIN_OTHERS else averages[0][side]
            expected &= 1 / CONTRADICTION <= row[side] / middle <= CONTRADICTION
        assert found[i] == expected


@given(rows)
def test_the_best_price_is_the_highest_that_may_be_taken(drawn: list[tuple[int, float, float, float, bool]]) -> None:
    odds, match = arrays_of(drawn)
    may_take = np.array([row[4] for row in drawn]) & np.isfinite(odds).all(axis=1)
    prices, places = best(odds, match, N_MATCHES, may_take)
    for number in range(N_MATCHES):
        candidates = [i for i in range(len(odds)) if match[i] == number and may_take[i]]
        for side in range(3):
            if not candidates:
                assert np.isnan(prices[number, side])
                assert places[number, side] == -1
                continue
            first = max(candidates, key=lambda i: (odds[i, side], -i))
            assert (prices[number, side], places[number, side]) == (odds[first, side], first)


def test_one_wrong_price_of_four_is_found_and_two_that_disagree_are_not() -> None:
    book = [2.0, 3.4, 3.8]
    four = np.array([book, book, book, [20.0, 3.4, 3.8]])
    match = np.zeros(4, dtype=np.int64)
    nobody = np.zeros(4, dtype=np.bool_)
    assert sound(four, match, 1, nobody).tolist() == [True, True, True, False]
    assert sound(four[2:], match[:2], 1, nobody[:2]).tolist() == [True, True]
    with_average = np.array([True, False])
    assert sound(four[2:], match[:2], 1, with_average).tolist() == [True, False]


def test_no_prices_have_no_best() -> None:
    nothing = np.empty((0, 3)), np.empty(0, dtype=np.int64), 2, np.empty(0, dtype=np.bool_)
    assert sound(*nothing).tolist() == []
    prices, places = best(*nothing)
    assert places.tolist() == [[-1] * 3] * 2
    assert prices.ravel().tolist() == pytest.approx([float("nan")] * 6, nan_ok=True)
