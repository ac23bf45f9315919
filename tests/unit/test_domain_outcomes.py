import numpy as np

from app.domain.outcomes import Outcome, one_hot, predicted_class


def test_labels_are_the_words_of_the_wire() -> None:
    assert [outcome.label for outcome in Outcome] == ["home", "draw", "away"]


def test_predicted_class_is_the_most_probable_and_the_earlier_of_equals() -> None:
    found = predicted_class(np.array([[0.2, 0.3, 0.5], [0.4, 0.4, 0.2]]))
    assert found.tolist() == [2, 0]
    assert found.dtype == np.int8


def test_one_hot_has_a_one_where_it_happened() -> None:
    assert one_hot(np.array([2, 0])).tolist() == [[0, 0, 1], [1, 0, 0]]
