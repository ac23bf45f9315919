import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.domain.statistics import Bar, edges_around, grid, histogram


def test_bars_have_open_ends_and_take_their_lower_edge() -> None:
    found = histogram(np.array([-5.0, 0.0, 0.5, 1.0, 99.0]), np.array([0.0, 1.0]))
    assert found == (Bar(None, 0.0, 1), Bar(0.0, 1.0, 2), Bar(1.0, None, 2))


def test_the_threshold_is_an_edge_exactly() -> None:
    edges = edges_around(0.07, 0.025, 8, 18)
    assert 0.07 in edges.tolist()
    assert len(edges) == 27


def test_a_grid_counts_pairs_by_cell() -> None:
    assert grid(np.array([0.0, 0.1, 1.0]), np.array([0.9, 0.9, 0.0]), 4) == ((0, 3, 2), (3, 0, 1))


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=50))
def test_nothing_is_lost(pairs: list[tuple[float, float]]) -> None:
    first, second = (np.array([pair[i] for pair in pairs], dtype=np.float64) for i in (0, 1))
    assert sum(n for _, _, n in grid(first, second, 7)) == len(pairs)
    assert sum(bar.n for bar in histogram(first, np.array([0.2, 0.7]))) == len(pairs)
