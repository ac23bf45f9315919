"""The order of a model's classes is read from what it says, or is unknown."""

from enum import Enum

import numpy as np
import pytest

from worker.class_order import ClassOrderError, OrderEvidence, find_class_order

IDENTITY = (0, 1, 2)
TURNED = (2, 1, 0)


class Result(Enum):
    """Classes of a user's own."""

    AWAY = 1
    DRAW = 2
    HOME = 3


@pytest.mark.parametrize(
    ("labels", "columns"),
    [
        (["home", "draw", "away"], IDENTITY),
        (["away", "draw", "home"], TURNED),
        (["A", "D", "H"], TURNED),
        (["Away", "Draw", "Home"], TURNED),
        (["away_win", "draw", "home_win"], TURNED),
        (["AwayWin", "Draw", "HomeWin"], TURNED),
        (["awaywin", "tie", "homewin"], TURNED),
        (["1", "2", "X"], (0, 2, 1)),
        (["1", "2", "x"], (0, 2, 1)),
        ([b"away", b"draw", b"home"], TURNED),
        (np.array(["away", "draw", "home"]), TURNED),
        (np.array([b"A", b"D", b"H"]), TURNED),
        (np.array(["away", "draw", "home"], dtype=object), TURNED),
        (list(Result), TURNED),
        (["proba_draw", "proba_home", "proba_away"], (1, 0, 2)),
        (["P(away)", "P(draw)", "P(home)"], TURNED),
        (["prob_1", "prob_x", "prob_2"], IDENTITY),
        (["  Home ", "DRAW", "aWAY"], IDENTITY),
    ],
)
def test_names_of_outcomes_are_read(labels, columns) -> None:
    assert find_class_order(OrderEvidence(classes=labels)).columns == columns
    assert find_class_order(OrderEvidence(column_names=labels)).columns == columns
    assert find_class_order(OrderEvidence(output_names=labels)).columns == columns


@pytest.mark.parametrize(
    "classes",
    [
        [-1, 0, 1],
        np.array([-1, 0, 1]),
        np.array([-1.0, 0.0, 1.0], dtype=np.float32),
        ["-1", "0", "1"],
        [b"-1", b"0", b"1"],
    ],
)
def test_sign_of_the_goal_difference_is_read(classes) -> None:
    order = find_class_order(OrderEvidence(classes=classes))
    assert (order.columns, order.source) == (TURNED, "classes_ (sign of the goal difference)")


@pytest.mark.parametrize(
    "labels",
    [
        [0, 1, 2],
        np.arange(3),
        ["0", "1", "2"],
        [1, 2, 3],
        [0, 1, 3],
        [False, True, 2],
        ["L", "D", "W"],
        ["win", "draw", "loss"],
        ["home", "draw"],
        ["home", "home", "away"],
        ["home_or_draw", "draw", "away"],
        ["not home", "draw", "away"],
        ["a", "b", "c"],
        [None, None, None],
        [(0, 1), (1, 0), (2, 2)],
        [],
    ],
)
def test_labels_that_say_nothing_are_refused(labels) -> None:
    with pytest.raises(ClassOrderError, match="nothing says which column"):
        find_class_order(OrderEvidence(classes=labels, column_names=labels, output_names=labels))


@pytest.mark.parametrize(
    "tag", ["away,draw,home", " Away , Draw , Home ", '["away", "draw", "home"]', "A,D,H", "2,X,1"]
)
def test_tag_tells(tag: str) -> None:
    order = find_class_order(OrderEvidence(tag=tag, classes=[0, 1, 2]))
    assert (order.columns, order.source) == (TURNED, "tag class_order")


@pytest.mark.parametrize("tag", ["", "home", "home,draw", "0,1,2", "[1", '{"a": 1}', "home,away,home"])
def test_tag_that_is_no_order_is_refused(tag: str) -> None:
    with pytest.raises(ClassOrderError, match="is no order"):
        find_class_order(OrderEvidence(tag=tag, classes=["home", "draw", "away"]))


def test_tag_outweighs_the_sign() -> None:
    assert find_class_order(OrderEvidence(tag="home,draw,away", classes=[-1, 0, 1])).columns == IDENTITY


def test_sources_that_disagree_are_refused() -> None:
    with pytest.raises(ClassOrderError, match="classes_ says away, draw, home"):
        find_class_order(OrderEvidence(tag="home,draw,away", classes=["away", "draw", "home"]))


GOLDEN = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])


def test_golden_rows_tell() -> None:
    order = find_class_order(OrderEvidence(classes=[0, 1, 2], golden=(GOLDEN[:, ::-1], GOLDEN)))
    assert (order.columns, order.source) == (TURNED, "golden rows")
    assert order.apply(GOLDEN[:, ::-1]).tolist() == GOLDEN.tolist()


def test_golden_rows_that_fit_two_orders_are_refused() -> None:
    alike = np.array([[0.4, 0.4, 0.2]])
    with pytest.raises(ClassOrderError, match="more than one order"):
        find_class_order(OrderEvidence(golden=(alike, alike)))
    # the sign decides between the two that fit
    assert find_class_order(OrderEvidence(classes=[1, 0, -1], golden=(alike, alike))).columns == IDENTITY


@pytest.mark.parametrize("output", [GOLDEN + 0.01, GOLDEN[:1], GOLDEN[:, :2], GOLDEN[0], GOLDEN * np.nan])
def test_golden_rows_that_fit_no_order_are_refused(output) -> None:
    with pytest.raises(ClassOrderError, match="golden rows in every order"):
        find_class_order(OrderEvidence(golden=(output, GOLDEN)))
