"""Find which columns of a model's output are home, draw and away: from what the model says, never by a guess."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import permutations
from typing import Any

import numpy as np
import orjson

from app.domain.outcomes import Outcome
from worker.inference import Probabilities

GOLDEN_TOLERANCE = 1e-6
CLASS_ORDER = "class_order"  # the tag or metadata key that names the columns of the output

Columns = tuple[int, int, int]

_WORDS = {
    "home": Outcome.HOME,
    "h": Outcome.HOME,
    "hw": Outcome.HOME,
    "homewin": Outcome.HOME,
    "hometeam": Outcome.HOME,
    "1": Outcome.HOME,
    "p1": Outcome.HOME,
    "draw": Outcome.DRAW,
    "drawn": Outcome.DRAW,
    "d": Outcome.DRAW,
    "tie": Outcome.DRAW,
    "x": Outcome.DRAW,
    "px": Outcome.DRAW,
    "away": Outcome.AWAY,
    "a": Outcome.AWAY,
    "aw": Outcome.AWAY,
    "awaywin": Outcome.AWAY,
    "awayteam": Outcome.AWAY,
    "2": Outcome.AWAY,
    "p2": Outcome.AWAY,
}
# words beside the outcome in names such as "proba_home", "HomeWin" or "prob. of draw"
_FILLERS = {
    *("p", "prob", "proba", "probs", "probability", "pred", "predicted", "prediction", "predict", "of", "the"),
    *("win", "wins", "won", "team", "side", "result", "outcome", "class", "label", "ft", "ftr"),
}
# the sign of the goal difference
_SIGNS = {1.0: Outcome.HOME, 0.0: Outcome.DRAW, -1.0: Outcome.AWAY}


class ClassOrderError(Exception):
    """The order of a model's classes is unknown, or two sources disagree about it."""


@dataclass(frozen=True, slots=True)
class ClassOrder:
    """Where home, draw and away stand in a model's output, and what said so."""

    columns: Columns
    source: str

    def apply(self, output: Any) -> Any:
        """Return an (n, 3, ...) output with its columns as home, draw, away."""
        return output if self.columns == (0, 1, 2) else output[:, list(self.columns)]

    def describe(self) -> str:
        """Return the names of the output's columns, from left to right."""
        names = dict(zip(self.columns, (outcome.label for outcome in Outcome), strict=True))
        return ", ".join(names[column] for column in range(len(Outcome)))


@dataclass(frozen=True, slots=True)
class OrderEvidence:
    """What a model says of its classes; each list names the columns of the output from left to right."""

    tag: str | None = None
    column_names: Sequence[Any] | None = None  # of a pyfunc's DataFrame
    output_names: Sequence[Any] | None = None  # of the signature
    classes: Sequence[Any] | None = None  # `classes_`
    golden: tuple[Probabilities, Probabilities] | None = None  # output for the golden rows, and what is expected


def find_class_order(evidence: OrderEvidence) -> ClassOrder:
    """Return the order that all sources agree on.

    Names of outcomes and the tag count first, then the golden rows, then classes 1, 0, -1 (the sign of the goal
    difference). Numbers such as 0, 1, 2 say nothing: people use them in both directions.

    Raises:
        ClassOrderError: no source tells, or two disagree.
    """
    orders = [*_read_tag(evidence.tag), *_read_names(evidence)]
    if len({order.columns for order in orders}) > 1:
        said = "; ".join(f"{order.source} says {order.describe()}" for order in orders)
        raise ClassOrderError(f"sources disagree about the order of the classes: {said}")
    if orders:
        return orders[0]
    golden = _search_golden(*evidence.golden) if evidence.golden is not None else []
    if len(golden) == 1:
        return ClassOrder(golden[0], "golden rows")
    signs = _read_signs(evidence.classes)
    if signs is not None and (not golden or signs in golden):
        return ClassOrder(signs, "classes_ (sign of the goal difference)")
    raise ClassOrderError(_explain_unknown(evidence, golden))


def _read_tag(tag: str | None) -> list[ClassOrder]:
    if tag is None:
        return []
    try:
        labels = orjson.loads(tag) if tag.lstrip().startswith("[") else tag.split(",")
    except ValueError:
        labels = ()
    columns = _read_words(labels)
    if columns is None:
        raise ClassOrderError(f"the tag {CLASS_ORDER}={tag!r} is no order; write it as in 'away,draw,home'")
    return [ClassOrder(columns, f"tag {CLASS_ORDER}")]


def _read_names(evidence: OrderEvidence) -> list[ClassOrder]:
    named = {
        "column names of the answer": evidence.column_names,
        "classes_": evidence.classes,
        "output names of the signature": evidence.output_names,
    }
    orders = ((source, _read_words(labels)) for source, labels in named.items() if labels is not None)
    return [ClassOrder(columns, source) for source, columns in orders if columns is not None]


def _read_words(labels: Iterable[Any]) -> Columns | None:
    """Return the places of home, draw, away among three labels; None when they do not name the outcomes."""
    return _places([_read_word(label) for label in labels])


def _places(outcomes: Sequence[Outcome | None]) -> Columns | None:
    if len(outcomes) != len(Outcome) or set(outcomes) != set(Outcome):
        return None
    home, draw, away = (outcomes.index(outcome) for outcome in Outcome)
    return home, draw, away


def _read_word(label: Any) -> Outcome | None:
    text = _to_text(label)
    if text is None:
        return None
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\w", re.sub(r"_", " ", text))
    tokens = re.findall(r"[^\W_]+", text.casefold())
    for words in (tokens, [part.casefold() for part in parts]):
        rest = [word for word in words if word not in _FILLERS]
        if len(rest) == 1 and rest[0] in _WORDS:
            return _WORDS[rest[0]]
    return None


def _to_text(label: Any) -> str | None:
    """Return a label's text; None when it is a number, which names no outcome."""
    value = label.item() if isinstance(label, np.generic) else label
    if isinstance(value, Enum) and not isinstance(value, str):
        value = value.name
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    return value.strip() if isinstance(value, str) else None


def _read_signs(classes: Sequence[Any] | None) -> Columns | None:
    if classes is None:
        return None
    try:
        numbers = [float(text if (text := _to_text(label)) is not None else label) for label in classes]
    except (TypeError, ValueError):
        return None
    return _places([_SIGNS.get(number) for number in numbers])


def _search_golden(output: Probabilities, expected: Probabilities) -> list[Columns]:
    """Return the orders under which the model gives what the golden rows expect."""
    if output.shape != expected.shape or output.ndim != 2 or output.shape[1] != len(Outcome):
        return []
    orders: list[Columns] = [(home, draw, away) for home, draw, away in permutations(range(len(Outcome)))]
    return [order for order in orders if np.abs(output[:, order] - expected).max() <= GOLDEN_TOLERANCE]


def _explain_unknown(evidence: OrderEvidence, golden: list[Columns]) -> str:
    classes = "" if evidence.classes is None else f" (its classes are {[_plain(label) for label in evidence.classes]})"
    if len(golden) > 1:
        return f"the golden rows fit more than one order of the classes{classes}; add the tag {CLASS_ORDER}"
    if evidence.golden is not None:
        return f"answers differ from the golden rows in every order of the classes{classes}"
    return (
        f"nothing says which column is home, draw and away{classes}: "
        f"add golden rows, or the tag {CLASS_ORDER} such as 'home,draw,away'"
    )


def _plain(label: Any) -> Any:
    return label.item() if isinstance(label, np.generic) else label
