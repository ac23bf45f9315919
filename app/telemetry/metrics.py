"""Metrics that no label value can break: the one module between ours and aioprometheus.

aioprometheus neither escapes label values nor takes numpy's numbers, and finds a label set by writing it as JSON.
Here values are escaped once, numbers go through float(), and a label set that was seen costs one look into a dict.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, Generic, Literal, SupportsFloat, TypeVar

import aioprometheus
import orjson
from aioprometheus.histogram import Histogram as Buckets

Labels = tuple[str, ...]
State = dict[str, list[tuple[Labels, Any]]]
Cell = TypeVar("Cell")

LABEL_CHARS = 120
SERIES = 2_000  # of one metric; what comes later counts as OTHER, so that nobody can make it grow without end
OTHER = "other"
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


def escape_label(value: str) -> str:
    """A label value as the text format wants it; characters that are no Unicode become `?`."""
    return value[:LABEL_CHARS].encode(errors="replace").decode().translate(_ESCAPES)


def read_state(raw: bytes) -> State:
    """Return what a process counted, as it came through a pipe."""
    rows_by_name = orjson.loads(raw)
    return {name: [(tuple(labels), value) for labels, value in rows] for name, rows in rows_by_name.items()}


class MetricsRegistry:
    """All metrics of a process, in the order of their names."""

    def __init__(self) -> None:
        self.inner = aioprometheus.Registry()
        self.families: dict[str, Counter | Gauge | Histogram] = {}

    def text(self) -> tuple[bytes, str]:
        """Everything as Prometheus text, and its media type."""
        for family in self.families.values():
            family.put()
        body, headers = aioprometheus.render(self.inner, [])
        return body, headers["Content-Type"]

    def state(self) -> State:
        """Everything as plain data, for `add` in another process."""
        return {name: list(family.state()) for name, family in self.families.items()}

    def clear(self) -> None:
        """End all series, also those that began with the process."""
        for family in self.families.values():
            family.clear()

    def merge(self, state: State) -> None:
        """Add what a sibling of this process has counted; a gauge does with the other's number what `across` says."""
        for name, rows in state.items():
            family = self.families[name]
            for labels, value in rows:
                if isinstance(family, Gauge):
                    family.merge(labels, value)
                else:
                    family.add(labels, value)

    def add(self, state: State, *, with_gauges: bool = True) -> None:
        """Add what another process counted; gauges add up too, unless it has ended."""
        for name, rows in state.items():
            family = self.families[name]
            if with_gauges or not isinstance(family, Gauge):
                for labels, value in rows:
                    family.add(labels, value)


class _Family(Generic[Cell]):
    """The series of one metric by their label values."""

    kind: Any
    starts_at_zero = True  # a rate needs a first point; a gauge that was never set is not zero but unknown

    def __init__(self, registry: MetricsRegistry, name: str, doc: str, labels: Labels = (), **options: Any) -> None:
        self.doc = doc
        self.labels = labels
        self._cells: dict[Labels, Cell] = {}
        self._inner = self.kind(name, doc, registry=registry.inner, **options)
        registry.families[name] = self  # type: ignore[assignment]  # each is one of the three
        if self.starts_at_zero and not labels:
            self._cell(())

    def cell(self, *labels: str) -> Cell:
        """Return what counts under these label values, for a caller that counts there again and again."""
        return self._cell(labels)

    def clear(self) -> None:
        """End all series."""
        self._cells.clear()

    def _cell(self, labels: Labels) -> Cell:
        cell = self._cells.get(labels)
        return self._opened(labels) if cell is None else cell

    def _opened(self, labels: Labels) -> Cell:
        if len(labels) != len(self.labels):
            raise ValueError(f"{self._inner.name} has the labels {self.labels}, not {labels}")
        if len(self._cells) >= SERIES:
            labels = (OTHER,) * len(self.labels)
        if labels not in self._cells:
            self._cells[labels] = self._new(self._named(labels))
        return self._cells[labels]

    def _named(self, labels: Labels) -> dict[str, str]:
        return {name: escape_label(value) for name, value in zip(self.labels, labels, strict=True)}

    def _new(self, named: dict[str, str]) -> Cell:
        raise NotImplementedError


class _Number(_Family[list[float]]):
    """Series of one number each."""

    def _new(self, named: dict[str, str]) -> list[float]:  # noqa: ARG002  # told to aioprometheus at a scrape
        return [0.0]

    def put(self) -> None:
        """Hand the numbers to aioprometheus."""
        self._inner.values.clear()
        for labels, cell in self._cells.items():
            self._inner.set(self._named(labels), cell[0])

    def state(self) -> Iterator[tuple[Labels, float]]:
        """Label values and number."""
        return ((labels, cell[0]) for labels, cell in self._cells.items())

    def add(self, labels: Labels, value: float) -> None:
        """Add another process's number."""
        self._cell(labels)[0] += float(value)


class Counter(_Number):
    """What only grows."""

    kind = aioprometheus.Counter

    def inc(self, *labels: str, by: SupportsFloat = 1.0) -> None:
        """Count one more, or `by`."""
        self._cell(labels)[0] += float(by)

    def total(self) -> float:
        """The sum of all series."""
        return sum(cell[0] for cell in self._cells.values())

    def follow(self, value: SupportsFloat, *labels: str) -> None:
        """Take over a total that somebody else counts."""
        self._cell(labels)[0] = float(value)


class Gauge(_Number):
    """What goes up and down."""

    kind = aioprometheus.Gauge
    starts_at_zero = False

    def __init__(
        self,
        registry: MetricsRegistry,
        name: str,
        doc: str,
        labels: Labels = (),
        *,
        across: Literal["own", "sum", "max"] = "own",
    ) -> None:
        super().__init__(registry, name, doc, labels)
        self._across = across  # what becomes of the numbers of several API processes

    def merge(self, labels: Labels, value: float) -> None:
        """Take in the number of a sibling of this process."""
        if self._across == "own":
            return
        mine = self._cells.get(labels)
        if mine is None:
            self.set(value, *labels)
        else:
            mine[0] = mine[0] + value if self._across == "sum" else max(mine[0], value)

    def set(self, value: SupportsFloat | None, *labels: str) -> None:
        """The number now; None: nobody knows, and the series ends rather than tell what is not so any more."""
        if value is None:
            self._cells.pop(labels, None)
        else:
            self._cell(labels)[0] = float(value)


@dataclass(slots=True)
class Distribution:
    """How many values fell between one bound and the next, and their sum; allocated once, then only counted up."""

    bounds: tuple[float, ...]
    counts: list[int]
    total: float = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Histogram(_Family[Distribution]):
    """How often values fell where."""

    kind = aioprometheus.Histogram

    def __init__(
        self, registry: MetricsRegistry, name: str, doc: str, labels: Labels = (), *, bounds: Sequence[float]
    ) -> None:
        self._bounds = (*bounds, float("inf"))
        super().__init__(registry, name, doc, labels, buckets=self._bounds)

    def _new(self, named: dict[str, str]) -> Distribution:  # noqa: ARG002  # told to aioprometheus at a scrape
        return Distribution(self._bounds, [0] * len(self._bounds))

    def observe(self, value: SupportsFloat, *labels: str) -> None:
        """One value."""
        self._cell(labels).add(float(value))

    def put(self) -> None:
        """Hand the counts to aioprometheus, whose buckets each count what lies below their bound."""
        self._inner.values.clear()
        for labels, cell in self._cells.items():
            buckets = Buckets(*self._bounds)
            buckets.buckets.update(zip(self._bounds, accumulate(cell.counts), strict=True))
            buckets.sum, buckets.observations = cell.total, sum(cell.counts)
            self._inner.set_value(self._named(labels), buckets)

    def state(self) -> Iterator[tuple[Labels, Any]]:
        """Label values, and the cumulative counts, sum and number of observations."""
        for labels, cell in self._cells.items():
            yield labels, (list(accumulate(cell.counts)), cell.total, sum(cell.counts))

    def add(self, labels: Labels, value: Any) -> None:
        """Add another process's observations."""
        cumulative, total, _ = value
        cell = self._cell(labels)
        counts = (after - before for before, after in pairwise([0, *cumulative]))
        cell.counts[:] = map(sum, zip(cell.counts, counts, strict=True))
        cell.total += total
