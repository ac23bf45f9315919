"""The journal keeps every row until somebody has it."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ledger.journal import FILES_AT_ONCE, PORTION, Journal, read_rows
from app.ledger.rows import LedgerRow
from tests.support.build_ledger import a_ledger_row


def waiting_rows(journal: Journal) -> list[LedgerRow]:
    with journal.closed_files() as files:
        return [row for path in files for portion in read_rows(path) for row in portion]


def test_rows_come_back_as_they_went_in(tmp_path: Path) -> None:
    journal = Journal(tmp_path, limit_bytes=10_000)
    rows = [a_ledger_row(match_id=n, odds_captured_at=None) for n in range(3)]
    for row in rows:
        assert journal.append(row)
    assert waiting_rows(journal) == []
    journal.rotate()
    assert waiting_rows(journal) == rows
    journal.close()


def test_a_living_writers_rows_are_not_taken(tmp_path: Path) -> None:
    theirs, ours = Journal(tmp_path, limit_bytes=10_000), Journal(tmp_path, limit_bytes=10_000)
    theirs.append(a_ledger_row())
    assert waiting_rows(ours) == []
    theirs.close()  # what the system does for a killed process
    assert len(waiting_rows(ours)) == 1
    ours.close()


def test_a_line_cut_short_does_not_hide_the_others(tmp_path: Path) -> None:
    row = a_ledger_row()
    path = tmp_path / "cut.jsonl"
    path.write_bytes(row.line() + b"[1]\n" + row.line()[:40])
    assert list(read_rows(path)) == [[row]]


def test_rows_of_many_killed_writers_come_in_portions(tmp_path: Path) -> None:
    rows = [a_ledger_row(match_id=n) for n in range(FILES_AT_ONCE + 5)]
    for n, row in enumerate(rows):
        (tmp_path / f"{n}.jsonl").write_bytes(row.line())
    journal = Journal(tmp_path, limit_bytes=10**6)
    found = []
    for _ in range(2):
        with journal.closed_files() as files:
            assert len(files) <= FILES_AT_ONCE
            for path in files:
                found += [row for portion in read_rows(path) for row in portion]
                path.unlink()
    assert {row.match_id for row in found} == {row.match_id for row in rows}
    journal.close()


def test_what_waits_counts_towards_the_limit_whoever_wrote_it(tmp_path: Path) -> None:
    row = a_ledger_row()
    (tmp_path / "old.jsonl").write_bytes(row.line() * 3)
    journal = Journal(tmp_path, limit_bytes=len(row.line()) * 2)
    with journal.closed_files():
        pass
    assert not journal.append(row)
    journal.close()


def test_a_full_journal_refuses_instead_of_filling_the_disk(tmp_path: Path) -> None:
    journal = Journal(tmp_path, limit_bytes=600)
    kept = [journal.append(a_ledger_row()) for _ in range(5)]
    assert kept[0]
    assert not kept[-1]
    journal.close()


def test_an_unwritable_journal_does_not_raise(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    folder.write_text("a file stands where the folder should be")
    journal = Journal(folder, limit_bytes=600)
    assert not journal.append(a_ledger_row())
    assert journal.fault == "File exists"
    folder.unlink()
    assert journal.append(a_ledger_row())
    assert journal.fault is None
    journal.close()


def test_an_empty_journal_leaves_no_file(tmp_path: Path) -> None:
    journal = Journal(tmp_path, limit_bytes=600)
    journal.rotate()
    journal.close()
    assert list(tmp_path.iterdir()) == []


@given(st.floats(0, 1), st.integers(0, 2**63 - 1), st.text(max_size=20))
def test_any_row_survives_its_line(proba: float, match_id: int, request_id: str) -> None:
    row = a_ledger_row(proba_home=proba, match_id=match_id, request_id=request_id.encode("utf-8", "ignore").decode())
    assert LedgerRow.parse(row.line()) == row


@pytest.mark.parametrize("line", [b"", b"{}", b"[]", b'{"id": 1}', b"\xff"])
def test_what_is_no_row_is_a_value_error(line: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  any message
        LedgerRow.parse(line)


HALF_A_ROW = """
import resource, sys
import subprocess
import sys
from pathlib import Path
from app.ledger.journal import Journal
from tests.support.build_ledger import a_ledger_row
row = a_ledger_row()
journal = Journal(Path(sys.argv[1]), limit_bytes=10**6)
resource.setrlimit(resource.RLIMIT_FSIZE, (round(1.5 * len(row.line())), resource.RLIM_INFINITY))
kept = [journal.append(row) for _ in range(3)]
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
kept.append(journal.append(row))
sys.exit(kept != [True, False, False, True] or journal.fault is not None)
"""


@pytest.mark.timeout(600)  # starts a process
def test_a_full_disk_leaves_no_half_row_and_later_rows_are_kept(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", HALF_A_ROW, str(tmp_path)], check=True)
    (path,) = tmp_path.iterdir()
    assert [len(rows) for rows in read_rows(path)] == [2]


def test_what_ended_processes_left_counts_from_the_start(tmp_path: Path) -> None:
    row = a_ledger_row()
    (tmp_path / "old.jsonl").write_bytes(row.line() * 3)
    journal = Journal(tmp_path, limit_bytes=len(row.line()) * 3)
    assert journal.bytes_waiting == 3 * len(row.line())
    assert not journal.append(row)
    journal.close()


def test_a_row_that_is_no_json_is_lost_alone(tmp_path: Path) -> None:
    journal = Journal(tmp_path, limit_bytes=10_000)
    assert not journal.append(a_ledger_row(request_id="\ud800"))
    assert journal.append(a_ledger_row())
    assert (journal.rows, journal.fault) == (1, None)
    journal.close()


def test_a_long_file_comes_in_portions(tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    path.write_bytes(a_ledger_row().line() * (2 * PORTION + 1))
    assert [len(rows) for rows in read_rows(path)] == [PORTION, PORTION, 1]
