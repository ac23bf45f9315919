"""How the pipeline tells people what it is doing: bars on a terminal, timed lines elsewhere, or nothing."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

Advance = Callable[..., None]


class Progress(Protocol):
    """Shows the steps of a long run."""

    def step(self, title: str, total: int | None = None) -> AbstractContextManager[Advance]:
        """One step of `total` units (None: unknown); inside it, call the value with the units done, 1 by default."""
        ...

    def note(self, sentence: str) -> None:
        """Say something between or inside steps."""
        ...


class SilentProgress:
    """Shows nothing."""

    @contextmanager
    def step(self, title: str, total: int | None = None) -> Iterator[Advance]:  # noqa: ARG002 - the protocol's names
        """A step that nobody sees."""
        yield lambda n=1: None  # noqa: ARG005 - a number of units, as of any step

    def note(self, sentence: str) -> None:
        """Say nothing."""


class LineProgress:
    """One line when a step ends, with the time it took; for logs and pipes."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    @contextmanager
    def step(self, title: str, total: int | None = None) -> Iterator[Advance]:
        """Time a step; a step that fails says so."""
        units = f" ({total:,})" if total is not None else ""
        started, ended = time.perf_counter(), "failed after"
        try:
            yield lambda n=1: None  # noqa: ARG005 - units matter to bars only
            ended = "took"
        finally:
            self.note(f"{title}{units} {ended} {time.perf_counter() - started:.1f} s")

    def note(self, sentence: str) -> None:
        """Write the sentence as a line."""
        self._out.write(sentence + "\n")
        self._out.flush()


class BarProgress:
    """A bar for each step, on a terminal."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars

    @contextmanager
    def step(self, title: str, total: int | None = None) -> Iterator[Advance]:
        """A bar that stays, full, when the step is done."""
        task = self._bars.add_task(title, total=total)
        yield lambda n=1: self._bars.advance(task, n)
        done = self._bars.tasks[task].completed if total is None else total
        self._bars.update(task, total=max(done, 1), completed=max(done, 1))

    def note(self, sentence: str) -> None:
        """Print the sentence above the bars."""
        self._bars.console.print(sentence)


@contextmanager
def shown(out: TextIO | None = None) -> Iterator[Progress]:
    """Bars when `out` (standard error by default) is a terminal, lines otherwise."""
    out = out or sys.stderr
    if not out.isatty():
        yield LineProgress(out)
        return
    columns = (
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Bars(*columns, console=Console(file=out)) as bars:
        yield BarProgress(bars)
