"""Split a document into rows of cells under their headers: its separator is judged first, then every physical line.

A header in mid-file starts a new block with a layout of its own. Every physical line but the first header is a row, or
is counted: as blank, as a repeated header, as one before the header, as the continuation of a quoted cell.
"""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from worker.pipeline.ingest.ingest_report import FileReport
from worker.pipeline.ingest.layouts import Layout, identify_layout, missing_columns
from worker.pipeline.ingest.sources import Document, UnreadableFile

_SEPARATORS = (",", ";", "\t", "|")
_HEADER_WITHIN = 25  # lines: titles and notes above a header are few
_LONGEST_CELL = 10  # physical lines of one quoted cell
_BLANKS = " \t\u00a0\ufeff\"'\x1a"

Row = tuple[int, list[str]]  # the number of its physical line, and its cells


class _Header(list[str]):
    """The cells of a header."""


@dataclass(slots=True)
class HeaderBlock:
    """Rows under one header, each with the number of its physical line in the file."""

    layout: Layout
    rows: list[tuple[int, list[str]]] = field(default_factory=list)


@dataclass(slots=True)
class Table:
    """The blocks of a document; cells of a file separated by semicolons or tabs may have decimal commas."""

    blocks: list[HeaderBlock]
    separator: str


def split_table(document: Document, report: FileReport) -> Table:
    """Return the blocks of a document and count the lines that are no rows; raise UnreadableFile without a header."""
    if document.rows is not None:
        rows: Iterable[Row]
        n_before = _find_header(document.rows)
        report.rows_in = len(document.rows) - 1
        rows = (
            (line, cells if missing_columns(cells) else _Header(cells))
            for line, cells in enumerate(document.rows[n_before:], n_before + 1)
        )
        table = Table([], "\t")
    else:
        lines = document.lines or []
        n_before, separator = _judge_separator(lines)
        report.rows_in = len(lines) - 1
        rows = _split_lines(lines, n_before, separator, report)
        table = Table([], separator)
    for line in range(1, n_before + 1):
        report.skip("before_header", line)
    _collect_blocks(rows, table, report)
    return table


def _find_header(rows: list[list[str]]) -> int:
    """Return how many rows stand before the header."""
    best: list[str] | None = None
    for number, cells in enumerate(rows[:_HEADER_WITHIN]):
        missing = missing_columns(cells)
        if not missing:
            return number
        if any(cell.strip() for cell in cells) and (best is None or len(missing) < len(best)):
            best = missing
    raise UnreadableFile("missing_columns", "no column " + ", ".join(best or ["Date"]))


def _judge_separator(lines: list[str]) -> tuple[int, str]:
    """Return the lines before the header, and the separator under which there is one."""
    faults = []
    for separator in _SEPARATORS:
        try:
            return _find_header([_split_plainly(line, separator) for line in lines[:_HEADER_WITHIN]]), separator
        except UnreadableFile as fault:
            faults.append(fault)
    # the separator that comes nearest to a header says best what is missing
    raise min(faults, key=lambda fault: len(fault.detail))


def _split_plainly(line: str, separator: str) -> list[str]:
    return [cell.strip(_BLANKS) for cell in line.split(separator)]


def _split_lines(lines: list[str], first: int, separator: str, report: FileReport) -> Iterator[Row]:
    """Yield each line's number and cells; a quoted cell over several lines is one row."""
    blanks = _BLANKS + separator
    width = len(lines[first].split(separator))
    number = first
    while number < len(lines):
        line = lines[number]
        number += 1
        if '"' in line:
            cells, n_lines, repair = _split_quoted(lines, number - 1, separator, width)
            if repair:
                report.repair(repair, number)
            yield number, cells if missing_columns(cells) else _Header(cells)
            for continued in range(number + 1, number + n_lines):
                report.skip("continued_line", continued)
            number += n_lines - 1
        elif line.strip(blanks):
            cells = line.split(separator)
            if ("Date" in line or "date" in line or "DATE" in line) and not missing_columns(cells):
                yield number, _Header(cells)
            else:
                yield number, cells
        else:
            report.skip("blank_row", number)


def _split_quoted(lines: list[str], number: int, separator: str, width: int) -> tuple[list[str], int, str | None]:
    """Return the cells, how many lines they take, and what was repaired."""
    cells = _parse(lines[number], separator)
    if cells is not None and len(cells) == 1 < width:
        # the line as a whole stands in quotes
        inner = _parse(cells[0], separator)
        return inner or cells, 1, "line_in_quotes" if inner else None
    if cells is not None:
        return cells, 1, None
    plain = lines[number].replace('"', "").split(separator)
    if len(plain) != width:
        for n_lines in range(2, _LONGEST_CELL + 1):
            joined = _parse("\n".join(lines[number : number + n_lines]), separator)
            if joined is not None and len(joined) == width:
                return joined, n_lines, None
    # the line is a row by itself, or no number of lines makes one: the quote is a slip of the pen
    return plain, 1, "unclosed_quote"


def _parse(text: str, separator: str) -> list[str] | None:
    """Return the cells of one record; None when its quotes do not close."""
    try:
        records = list(csv.reader(text.splitlines(keepends=True), delimiter=separator, strict=True))
    except csv.Error:
        # text after a closing quote is read as it stands; an open quote at the end is not
        if text.count('"') % 2:
            return None
        records = list(csv.reader(text.splitlines(keepends=True), delimiter=separator))
    return records[0] if len(records) == 1 else None


def _is_blank(cells: list[str]) -> bool:
    # nearly every row shows in its first cells that it is none
    return not cells[0].strip(_BLANKS) and not "".join(cells).strip(_BLANKS)


def _collect_blocks(rows: Iterable[Row], table: Table, report: FileReport) -> None:
    block: HeaderBlock | None = None
    for line, cells in rows:
        if block is None or isinstance(cells, _Header):
            if block is not None:
                report.skip("repeated_header", line)
            block = HeaderBlock(identify_layout([cell.strip(_BLANKS) for cell in cells]))
            table.blocks.append(block)
            for _ in block.layout.repeated:
                report.repair("repeated_column")
        elif _is_blank(cells):
            report.skip("blank_row", line)
        else:
            block.rows.append((line, cells))
