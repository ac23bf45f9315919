"""A booster's trees as complete binary trees: numpy walks all of them for a few rows at once.

XGBoost spends up to a millisecond on any call before it looks at the first row. A walk takes a tenth of that for one
row, and its sums are float32 in XGBoost's own order, so its margins are XGBoost's margins bit for bit.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import xgboost as xgb

from worker.inference import N_CLASSES, OBJECTIVE, Margins, Rows, predict_margins

DEPTH_MAX = 10
NODES_MAX = 4_194_304  # of the complete trees: about 60 MB
CHECK_ROWS = 128
CHECK_NAN_SHARE = 0.2

_Indices = npt.NDArray[np.intp]


class TreesUnsupported(Exception):
    """These trees cannot be walked here; XGBoost itself has to answer."""


@dataclass(frozen=True, slots=True)
class _Level:
    """The nodes of one level, tree after tree, each tree from left to right."""

    feature: _Indices
    threshold: npt.NDArray[np.float32]
    is_default_right: npt.NDArray[np.bool_]


class TreeWalk:
    """The margins of a booster whose trees are shallow, numerical, and of one outcome each.

    Args:
        booster: one with the objective multi:softprob and three classes.
        rounds: use the trees of so many boosting rounds; 0 for all.
        missing: a value that means missing, beside NaN.

    Raises:
        TreesUnsupported: the trees are of another kind, or a walk gives other margins than XGBoost.
    """

    def __init__(self, booster: xgb.Booster, *, rounds: int = 0, missing: float = np.nan) -> None:
        self._missing = np.float32(missing)
        self._n_features = booster.num_features()
        learner = orjson.loads(booster.save_raw("json"))["learner"]
        trees, self._base = _read_trees(learner, rounds)
        self._roots = np.arange(len(trees), dtype=np.intp)
        self._levels, self._leaves = _lay_out(trees)
        if not self.agrees_with(booster, self._make_check_rows(), rounds=rounds):
            raise TreesUnsupported("a walk of its trees gives other margins than XGBoost")

    def margins(self, rows: Rows) -> Margins:
        """Return XGBoost's margins of float32 rows (n, n_features); shape (n, 3)."""
        n_rows = len(rows)
        values = np.ascontiguousarray(rows, dtype=np.float32).ravel()
        if not np.isnan(self._missing):
            values = np.where(values == self._missing, np.float32(np.nan), values)
        nodes = self._find_leaves(values, n_rows)
        terms = np.empty((n_rows, len(self._roots) // N_CLASSES + 1, N_CLASSES), np.float32)
        terms[:, 0] = self._base
        terms[:, 1:] = self._leaves.take(nodes).reshape(n_rows, -1, N_CLASSES)
        # one after the other, as XGBoost adds them; numpy's sum would add in pairs
        margins: Margins = np.add.accumulate(terms, axis=1)[:, -1]
        return margins

    def agrees_with(self, booster: xgb.Booster, rows: Rows, *, rounds: int = 0) -> bool:
        """Whether the margins of all rows, and of the first alone, are the booster's own bit for bit."""
        expected = predict_margins(booster, rows, rounds=rounds, missing=float(self._missing))
        return np.array_equal(self.margins(rows), expected) and np.array_equal(self.margins(rows[:1]), expected[:1])

    def _find_leaves(self, values: npt.NDArray[np.float32], n_rows: int) -> _Indices:
        """Return where each tree's leaf stands for each row; shape (n_trees,) for one row, else (n_rows, n_trees)."""
        has_missing = bool(np.isnan(values).any())
        if n_rows == 1:
            nodes, row_starts = self._roots, None
        else:
            nodes = np.tile(self._roots, (n_rows, 1))
            row_starts = (np.arange(n_rows, dtype=np.intp) * self._n_features)[:, np.newaxis]
        for level in self._levels:
            places = level.feature.take(nodes)
            if row_starts is not None:
                places += row_starts
            value = values.take(places)
            goes_right = value >= level.threshold.take(nodes)
            if has_missing:
                goes_right |= np.isnan(value) & level.is_default_right.take(nodes)
            nodes = nodes + nodes
            nodes += goes_right
        return nodes

    def _make_check_rows(self) -> Rows:
        """Return rows whose values are thresholds of their feature, their float32 neighbours, and missing ones."""
        random = np.random.default_rng(len(self._roots))
        shape = (CHECK_ROWS, self._n_features)
        rows = np.asarray(
            random.normal(size=shape) * random.choice([0.1, 1.0, 10.0, 1000.0], (CHECK_ROWS, 1)), np.float32
        )
        for level in self._levels:
            nodes = random.integers(len(level.feature), size=shape)
            thresholds = level.threshold[nodes]
            row = np.broadcast_to(np.arange(CHECK_ROWS)[:, np.newaxis], shape)
            rows[row, level.feature[nodes]] = thresholds
        towards = np.array([-np.inf, 0, np.inf], dtype=np.float32)[random.integers(3, size=shape)]
        rows = np.where(towards == 0, rows, np.nextafter(rows, towards))
        rows[1:][random.random((CHECK_ROWS - 1, self._n_features)) < CHECK_NAN_SHARE] = np.nan
        rows[2:][random.random((CHECK_ROWS - 2, self._n_features)) < CHECK_NAN_SHARE / 2] = self._missing
        rows[-1] = np.nan
        return np.asarray(rows, dtype=np.float32)


def _read_trees(learner: dict[str, Any], rounds: int) -> tuple[list[dict[str, Any]], npt.NDArray[np.float32]]:
    """Return the trees of a learner in turn home, draw, away, and the margins they begin with."""
    booster = learner["gradient_booster"]
    if booster["name"] != "gbtree" or learner["objective"]["name"] != OBJECTIVE:
        raise TreesUnsupported(f"it is a {booster['name']} with the objective {learner['objective']['name']}")
    model = booster["model"]
    starts = model["iteration_indptr"]
    if rounds >= len(starts):
        raise TreesUnsupported(f"it has {len(starts) - 1} rounds, not {rounds}")
    n_trees = starts[rounds] if rounds else len(model["trees"])
    trees = model["trees"][:n_trees]
    if any(tree["tree_param"]["size_leaf_vector"] not in {"0", "1"} for tree in trees):
        raise TreesUnsupported("a tree of it answers for all classes at once")
    if any(any(tree["split_type"]) or tree["categories"] for tree in trees):
        raise TreesUnsupported("a tree of it splits by category")
    classes = np.array(model["tree_info"][:n_trees], dtype=np.intp)
    if np.bincount(classes, minlength=N_CLASSES).tolist() != N_CLASSES * [n_trees // N_CLASSES]:
        raise TreesUnsupported("its classes have different numbers of trees")
    turns = np.stack([np.flatnonzero(classes == each) for each in range(N_CLASSES)], axis=1).ravel()
    base = np.array(orjson.loads(learner["learner_model_param"]["base_score"]), dtype=np.float32)
    return [trees[place] for place in turns], np.broadcast_to(base, (N_CLASSES,))


def _lay_out(trees: list[dict[str, Any]]) -> tuple[list[_Level], npt.NDArray[np.float32]]:
    """Return the levels of complete trees, and their leaves, which repeat where a tree is not so deep."""
    sizes = [len(tree["left_children"]) for tree in trees]
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.intp)[: len(trees)]

    def join(name: str, dtype: type) -> Any:
        return np.concatenate([np.empty(0, dtype), *(np.asarray(tree[name], dtype) for tree in trees)])

    shift = np.repeat(starts, sizes)
    left, right = join("left_children", np.intp), join("right_children", np.intp)
    is_leaf = left < 0
    own = np.arange(len(left), dtype=np.intp)
    left, right = np.where(is_leaf, own, left + shift), np.where(is_leaf, own, right + shift)
    feature = np.where(is_leaf, 0, join("split_indices", np.intp))
    is_default_right = join("default_left", np.bool_) == 0
    values = join("split_conditions", np.float32)  # a leaf's value stands where a node has its threshold
    nodes = starts[:, np.newaxis]
    levels: list[_Level] = []
    while not is_leaf[nodes].all():
        if len(levels) == DEPTH_MAX:
            raise TreesUnsupported(f"a tree of it is deeper than {DEPTH_MAX}")
        if 4 * nodes.size > NODES_MAX:
            raise TreesUnsupported(f"its trees have more than {NODES_MAX:,} nodes when complete")
        flat = nodes.ravel()
        levels.append(_Level(feature[flat], values[flat], is_default_right[flat]))
        nodes = np.stack([left[nodes], right[nodes]], axis=2).reshape(len(trees), -1)
    return levels, values[nodes.ravel()]
