import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.statistics import discoveries, p_value

Z_95 = 1.959963984540054


def test_an_interval_that_just_touches_zero_has_p_of_five_percent() -> None:
    found = p_value(np.array([Z_95, -Z_95, 0.0]), np.array([0.0, -2 * Z_95, -1.0]), np.array([2 * Z_95, 0.0, 1.0]))
    assert found == pytest.approx([0.05, 0.05, 1.0])


def test_what_is_unknown_stays_unknown_and_what_has_no_width_is_certain() -> None:
    found = p_value(np.array([np.nan, 3.0, 0.0]), np.array([np.nan, 3.0, 0.0]), np.array([np.nan, 3.0, 0.0]))
    assert np.isnan(found[0])
    assert found[1:].tolist() == [0.0, 1.0]


def test_the_example_of_benjamini_and_hochberg_finds_the_first_four() -> None:
    """Table in section 3.2 of their article: 15 hypotheses, Bonferroni finds 3, this procedure 4."""
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528]
    assert discoveries(np.array([*p, 0.7590, 1.0])).tolist() == [True] * 4 + [False] * 11


def test_two_of_forty_at_five_percent_are_no_discovery() -> None:
    p = np.linspace(0.02, 1, 40)
    assert (p < 0.05).sum() == 2
    assert not discoveries(p).any()


@given(st.lists(st.one_of(st.floats(0, 1), st.just(float("nan"))), max_size=30))
def test_discoveries_are_the_smallest_and_no_more_than_plain_significance(values: list[float]) -> None:
    p = np.array(values, dtype=np.float64)
    found = discoveries(p)
    assert not found[np.isnan(p)].any()
    assert (p[found] <= 0.05).all()
    if found.any():
        assert found[p <= p[found].max()].all()
