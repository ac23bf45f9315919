"""What a person is told of a build: the rows that were read and the scores of the models."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from worker.batch.report import IngestReport, closing_table

if TYPE_CHECKING:
    from worker.batch.scores import Scores

SHOWN_FAULTS = 20


def say_ingest(console: Console, report: IngestReport) -> None:
    """What was read, skipped and repaired, and the files of which nothing could be read."""
    console.print(closing_table(report))
    faulty = [file for file in report.files if file.fault]
    for file in faulty[:SHOWN_FAULTS]:
        console.print(f"not read: {file.path}: {file.detail or file.fault}", soft_wrap=True, highlight=False)
    if len(faulty) > SHOWN_FAULTS:
        console.print(f"and {len(faulty) - SHOWN_FAULTS} more; reports/ingest.json has all")


def say_scores(console: Console, scores: "Scores") -> None:
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
