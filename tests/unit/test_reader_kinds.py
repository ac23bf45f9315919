"""Other members of the kinds of files that once gave wrong numbers: each a small file, and what is right for it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.build_results import LIST_HEAD, rows_of, write
from worker.pipeline.ingest.ingest_report import FileReport
from worker.pipeline.ingest.reader import read_folder

NOW = datetime(2026, 11, 30, 9, tzinfo=UTC)
BARE = "Div,Date,HomeTeam,AwayTeam,FTHG,FTAG,FTR"


def only(folder: Path) -> tuple[list[dict[str, Any]], FileReport]:
    """Return the matches and the report of a folder that holds one file, in the order of the clubs' names."""
    ingest = read_folder(folder, now=NOW)
    (report,) = ingest.report.files
    assert report.is_balanced
    assert report.matches == ingest.matches.num_rows
    return sorted(rows_of(ingest), key=lambda row: str(row["home_team"])), report


@pytest.mark.parametrize("head", [LIST_HEAD, BARE], ids=["list", "results"])
def test_round_on_one_day_is_whole(tmp_path: Path, head: str) -> None:
    """A file of twenty matches or more, all on one Saturday, as lists are."""
    day, rest = ("05/12/2026", "15:00,{},{},2.3,3.3,3.1") if head == LIST_HEAD else ("28/11/2026", "{},{},1,0,H")
    write(tmp_path, "E2.csv", head, *(f"E2,{day}," + rest.format(f"Home {n}", f"Away {n}") for n in range(24)))
    matches, report = only(tmp_path)
    assert (len(matches), dict(report.skipped)) == (24, {})
