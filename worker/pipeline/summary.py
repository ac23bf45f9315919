"""What a person is told of a build: the rows that were read and the scores of the models."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from worker.pipeline.ingest.ingest_report import IngestReport

if TYPE_CHECKING:
    from worker.pipeline.training.hold_out_scores import HoldOutScores

SHOWN_FAULTS = 20


def print_ingest(console: Console, report: IngestReport) -> None:
    """What was read, skipped and repaired, and the files of which nothing could be read."""
    console.print(closing_table(report))
    faulty = [file for file in report.files if file.fault]
    for file in faulty[:SHOWN_FAULTS]:
        console.print(f"not read: {file.path}: {file.detail or file.fault}", soft_wrap=True, highlight=False)
    if len(faulty) > SHOWN_FAULTS:
        console.print(f"and {len(faulty) - SHOWN_FAULTS} more; reports/ingest.json has all")


def print_scores(console: Console, scores: "HoldOutScores") -> None:
    """Champion, candidate and yardsticks on the matches that none of them was trained on."""
    for group in dict.fromkeys(row.group for row in scores.rows):
        table = Table(title=f"Last two seasons, {group}; smaller is better", title_justify="left")
        table.add_column("forecaster", no_wrap=True)
        for name in ("n", "log-loss", "Brier", "RPS", "ECE", "ECE by chance"):
            table.add_column(name, justify="right")
        for row in scores.rows:
            if row.group == group:
                numbers = (f"{value:.4f}" for value in (row.log_loss, row.brier, row.rps, row.ece, row.ece_floor))
                table.add_row(row.forecaster, f"{row.n:,}", *numbers)
        console.print(table)


def closing_table(report: IngestReport) -> Table:
    """The table a person sees when reading is done: nothing vanishes silently."""
    table = Table(title="What was read", title_justify="left")
    table.add_column("rows and files")
    table.add_column("cause")
    table.add_column("count", justify="right")
    for what, cause, count in _lines(report):
        table.add_row(what, cause, f"{count:,}")
    return table


def _lines(report: IngestReport) -> Iterator[tuple[str, str, int]]:
    yield "files read", "", sum(1 for each in report.files if each.fault is None)
    for cause, count in sorted(report.faults.items()):
        yield "files not readable", cause, count
    yield "files and folders left alone", "", len(report.left_alone)
    yield "rows in", "", report.rows_in
    yield "= matches", "", report.matches
    for cause, count in sorted(report.skipped.items()):
        yield "+ rows skipped", cause, count
    yield "of the matches: upcoming", "", report.n_upcoming
    for cause, count in sorted(report.repaired.items()):
        yield "within matches", cause, count
    yield "names unknown in fixtures lists", "", len(report.unknown_teams)
