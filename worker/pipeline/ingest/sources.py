"""Files of published results: which of a folder to read, and their bytes as rows of cells."""

import csv
import gzip
import io
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

_NAMES = (".csv", ".csv.gz")
_RESULT_FOLDERS = {"main", "new", "fixtures"}
_NOT_RESULTS = {
    "international": "national teams, another layout",
    "fonbet": "a bookmaker's line: scripts/import_fonbet",
}
_LIST_NAME = re.compile(r"fixtures", re.IGNORECASE)
_HTML = re.compile(rb"\s*<(!doctype|html|head|\?xml)", re.IGNORECASE)
_BOM = b"\xef\xbb\xbf"
_GZIP_MAGIC = b"\x1f\x8b"


class UnreadableFile(Exception):
    """A file that holds no rows we could read; `cause` is its stable name in reports."""

    def __init__(self, cause: str, detail: str) -> None:
        super().__init__(detail)
        self.cause = cause
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Source:
    """One file of a folder; `name` is its path inside, with `/`."""

    folder: Path
    name: str

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.folder / self.name

    @property
    def is_list(self) -> bool:
        """Whether its name says that it lists coming matches."""
        return bool(_LIST_NAME.search(self.name))


@dataclass(frozen=True, slots=True)
class Cells:
    """The header and rows of a file; `is_repaired` when the bytes were not valid UTF-8."""

    header: list[str]
    rows: list[list[str]]
    is_repaired: bool


def find_sources(folder: Path) -> tuple[list[Source], dict[str, str]]:
    """The files to read, in the order of their names, and what is left alone with the reason."""
    is_collection = any((folder / name).is_dir() for name in ("main", "new"))
    sources: list[Source] = []
    left_alone: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if not path.is_file() or relative.name.startswith("."):
            continue
        top = relative.parts[0] if len(relative.parts) > 1 else ""
        reason = _reason_to_leave(relative.as_posix(), top, is_collection=is_collection)
        if reason is None:
            sources.append(Source(folder, relative.as_posix()))
        else:
            left_alone[top + "/" if top and top not in _RESULT_FOLDERS else relative.as_posix()] = reason
    return sources, left_alone


def _reason_to_leave(name: str, top: str, *, is_collection: bool) -> str | None:
    if top in _NOT_RESULTS:
        return _NOT_RESULTS[top]
    if is_collection and top and top not in _RESULT_FOLDERS:
        return "beside main/ and new/, which hold the seasons themselves"
    if not name.lower().endswith(_NAMES):
        return "not a csv file"
    if name.upper() == "MANIFEST.CSV":
        return "a list of the files"
    return None


def read_cells(source: Source) -> Cells:
    """The cells of a file; raises UnreadableFile for a page, an empty file or a broken archive."""
    raw = _unpacked(source.path)
    if not raw.removeprefix(_BOM).strip():
        raise UnreadableFile("empty_file", "the file is empty")
    if _HTML.match(raw.removeprefix(_BOM)):
        raise UnreadableFile("not_csv_html", "a web page saved under a csv name")
    text, is_repaired = _decoded(raw)
    try:
        rows = list(csv.reader(io.StringIO(text, newline="")))
    except csv.Error as fault:
        raise UnreadableFile("not_csv", str(fault)) from fault
    return Cells([cell.strip() for cell in rows[0]], rows[1:], is_repaired)


def _unpacked(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if raw.startswith(_GZIP_MAGIC) else raw
    except (OSError, EOFError, zlib.error) as fault:
        raise UnreadableFile("broken_file", str(fault)) from fault


def _decoded(raw: bytes) -> tuple[str, bool]:
    raw = raw.removeprefix(_BOM)
    try:
        return raw.decode("utf-8"), False
    except UnicodeDecodeError:
        return _as_windows_text(raw), True


def _as_windows_text(raw: bytes) -> str:
    try:
        return raw.decode("cp1252")
    except UnicodeDecodeError:
        # five bytes mean nothing in cp1252; latin-1 knows every byte
        return raw.decode("latin-1")
