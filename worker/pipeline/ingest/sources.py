"""Find the files of a folder and open them: text of any encoding, gzip, zip archives and workbooks, told by content.

A name says nothing reliable about what a file is: a zip may be called `.csv`, a list of coming matches anything.
"""

import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path, PurePosixPath

from python_calamine import CalamineError, CalamineWorkbook

_NAMES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".txt.gz", ".zip", ".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
_RESULT_FOLDERS = {"main", "new", "fixtures"}
_NOT_RESULTS = {
    "international": "national teams, another layout",
    "fonbet": "a bookmaker's feed: scripts/import_fonbet",
}
_NO_MATCHES = {
    "MANIFEST.CSV": "a list of the files",
    "README.TXT": "a text for people",
    "NOTES.TXT": "a text for people",
}
_HTML = re.compile(rb"\s*<(!doctype|html|head|\?xml)", re.IGNORECASE)
_BOM = b"\xef\xbb\xbf"
_GZIP, _ZIP, _OLE = b"\x1f\x8b", b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
_WORKBOOK_PARTS = ("xl/", "content.xml")  # of Excel, and of LibreOffice
_LARGEST_BYTES = 1 << 30  # of one unpacked file: more is no season, and would fill the memory
_HIDDEN = (".", "__MACOSX")  # macOS puts a shadow of every file beside it
_TWICE = re.compile(
    "[\u00c2-\u00c5\u00c3][\u0080-\u00bf\u20ac\u201a-\u203a\u0152-\u0178\u02c6\u02dc\u2122]"
)  # é of UTF-8 read as cp1252
_END_OF_FILE = "\x1a"  # of DOS


class UnreadableFile(Exception):
    """A file that holds no rows we could read; `cause` is its stable name in reports."""

    def __init__(self, cause: str, detail: str) -> None:
        super().__init__(detail)
        self.cause = cause
        self.detail = detail


@dataclass(frozen=True, slots=True)
class MatchSource:
    """One file of a folder; `name` is its path inside, with `/`."""

    folder: Path
    name: str


@dataclass(slots=True)
class Document:
    """One table of text: its physical lines, or the rows of a sheet; or why there is none."""

    name: str
    lines: list[str] | None = None
    rows: list[list[str]] | None = None
    repairs: tuple[str, ...] = ()
    fault: UnreadableFile | None = None


def find_sources(folder: Path) -> tuple[list[MatchSource], dict[str, str]]:
    """Return the files to read, in the order of their names, and what is left alone with the reason."""
    is_collection = any((folder / name).is_dir() for name in ("main", "new"))
    sources: list[MatchSource] = []
    left_alone: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if not path.is_file():
            continue
        top = relative.parts[0] if len(relative.parts) > 1 else ""
        reason = _reason_to_leave(relative, top, is_collection=is_collection)
        if reason is None:
            sources.append(MatchSource(folder, relative.as_posix()))
        else:
            left_alone[top + "/" if top and top not in _RESULT_FOLDERS else relative.as_posix()] = reason
    return sources, left_alone


def _reason_to_leave(relative: Path, top: str, *, is_collection: bool) -> str | None:
    if any(part.startswith(_HIDDEN) for part in relative.parts):
        return "hidden"
    if top in _NOT_RESULTS:
        return _NOT_RESULTS[top]
    if is_collection and top and top not in _RESULT_FOLDERS:
        return "beside main/ and new/, which hold the seasons themselves"
    if relative.name.upper() in _NO_MATCHES:
        return _NO_MATCHES[relative.name.upper()]
    return None if relative.name.lower().endswith(_NAMES) else "not a table: no csv, zip or workbook"


def open_documents(source: MatchSource) -> Iterator[Document]:
    """Yield every table of a file: one of a text, one for each member of an archive or sheet of a workbook."""
    try:
        raw = (source.folder / source.name).read_bytes()
    except OSError as error:
        yield Document(source.name, fault=UnreadableFile("broken_file", str(error)))
        return
    yield from _expand(source.name, raw)


def _expand(name: str, raw: bytes) -> Iterator[Document]:
    try:
        if raw.startswith(_GZIP):
            raw = _gunzip(raw)
        if raw.startswith(_ZIP):
            yield from _open_archive(name, raw)
        elif raw.startswith(_OLE):
            yield from _open_workbook(name, raw)
        else:
            yield _open_text(name, raw)
    except UnreadableFile as fault:
        yield Document(name, fault=fault)
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        yield Document(name, fault=UnreadableFile("broken_file", str(error)))


def _gunzip(raw: bytes) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(raw)) as file:
        return _bounded(file.read(_LARGEST_BYTES + 1))


def _bounded(raw: bytes) -> bytes:
    if len(raw) > _LARGEST_BYTES:
        raise UnreadableFile("too_large", f"unpacked it has more than {_LARGEST_BYTES >> 20} MB")
    return raw


def _open_archive(name: str, raw: bytes) -> Iterator[Document]:
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        members = sorted((each for each in archive.infolist() if not each.is_dir()), key=lambda each: each.filename)
        if any(member.filename.startswith(_WORKBOOK_PARTS) for member in members):
            yield from _open_workbook(name, raw)
            return
        tables = [each for each in members if _is_table(each.filename)]
        if not tables:
            raise UnreadableFile("empty_archive", "the archive holds no csv and no workbook")
        for member in tables:
            with archive.open(member) as file:
                yield from _expand(f"{name}/{member.filename}", _bounded(file.read(_LARGEST_BYTES + 1)))


def _is_table(name: str) -> bool:
    path = PurePosixPath(name)
    is_hidden = any(part.startswith(_HIDDEN) for part in path.parts)
    return not is_hidden and path.name.upper() not in _NO_MATCHES and name.lower().endswith(_NAMES)


def _open_workbook(name: str, raw: bytes) -> Iterator[Document]:
    try:
        workbook = CalamineWorkbook.from_filelike(io.BytesIO(raw))
        sheets = [
            (sheet, workbook.get_sheet_by_name(sheet).to_python(skip_empty_area=False))
            for sheet in workbook.sheet_names
        ]
    except (CalamineError, ValueError) as error:
        raise UnreadableFile("broken_file", f"the workbook cannot be read: {error}") from error
    filled = [(sheet, rows) for sheet, rows in sheets if rows]
    if not filled:
        raise UnreadableFile("empty_file", "the workbook is empty")
    for sheet, rows in filled:
        yield Document(f"{name}/{sheet}", rows=[[_cell_text(cell) for cell in row] for row in rows])


def _cell_text(cell: object) -> str:
    if isinstance(cell, datetime):
        return f"{cell:%Y-%m-%d}" if cell.time() == time(0) else f"{cell:%Y-%m-%d %H:%M}"
    if isinstance(cell, date):
        return cell.isoformat()
    if isinstance(cell, time):
        return f"{cell:%H:%M}"
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() else repr(cell)
    return str(cell)


def _open_text(name: str, raw: bytes) -> Document:
    if not raw.removeprefix(_BOM).strip():
        raise UnreadableFile("empty_file", "the file is empty")
    if _HTML.match(raw.removeprefix(_BOM)):
        raise UnreadableFile("not_csv_html", "a web page saved under a csv name")
    text, repairs = _decode(raw)
    for end in ("\r\n", "\r", "\u2028", "\u0085"):
        text = text.replace(end, "\n")
    lines = text.split("\n")
    if not lines[-1].strip(_END_OF_FILE):
        lines.pop()
    return Document(name, lines=lines, repairs=repairs)


def _decode(raw: bytes) -> tuple[str, tuple[str, ...]]:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return _decode_utf16(raw, "utf-16")
    if b"\0" in raw[:1000]:
        # every other byte of Latin text in UTF-16 is zero: which one tells the order
        first, second = raw[0:200:2].count(0), raw[1:200:2].count(0)
        if min(first, second) > 2 or max(first, second) < 10:
            raise UnreadableFile("not_text", "the file is neither text nor a workbook")
        return _decode_utf16(raw, "utf-16-le" if second > first else "utf-16-be")
    raw = raw.removeprefix(_BOM)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        # files are joined: each line is judged alone
        lines = [_decode_line(line) for line in raw.split(b"\n")]
        return _undo("\n".join(lines))[0], ("repaired_encoding",)
    return (text, ()) if text.isascii() or not _TWICE.search(text) else _undo(text)


def _undo(text: str) -> tuple[str, tuple[str, ...]]:
    """Return a text in which lines of UTF-8 that were read as cp1252 are what they were before."""
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if _TWICE.search(line):
            with suppress(UnicodeError):
                lines[number] = line.encode("cp1252").decode("utf-8")
    undone = "\n".join(lines)
    return undone, ("repaired_encoding",) if undone != text else ()


def _decode_line(raw: bytes) -> str:
    for encoding in ("utf-8", "cp1252"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    # five bytes mean nothing in cp1252; latin-1 knows every byte
    return raw.decode("latin-1")


def _decode_utf16(raw: bytes, encoding: str) -> tuple[str, tuple[str, ...]]:
    try:
        return raw.decode(encoding), ()
    except UnicodeDecodeError as error:
        raise UnreadableFile("not_text", "the file is neither text nor a workbook") from error
