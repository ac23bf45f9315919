"""Count what became of every physical line that was read: by file, by cause, with the numbers of the lines."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

_SHOWN_LINES = 20  # of one cause in one file; the counts know of all


@dataclass(slots=True)
class FileReport:
    """One table of a file: lines in = matches + skipped; repaired lines are among the matches; a fault leaves none."""

    path: str
    rows_in: int = 0
    matches: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    repaired: Counter[str] = field(default_factory=Counter)
    lines: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    fault: str | None = None
    detail: str | None = None
    season: str | None = None

    @property
    def is_balanced(self) -> bool:
        """Whether every line below the header is accounted for."""
        return self.rows_in == self.matches + self.skipped.total()

    def skip(self, cause: str, line: int) -> None:
        """Count a line that becomes no match of its own."""
        self.skipped[cause] += 1
        self._remember(cause, line)

    def repair(self, cause: str, line: int | None = None) -> None:
        """Count a repair or a loss inside a line that becomes a match; without a line, of the file as a whole."""
        self.repaired[cause] += 1
        if line is not None:
            self._remember(cause, line)

    def withdraw(self, cause: str, line: int) -> None:
        """Count a match out again: another row speaks for it, or nothing does any more."""
        self.matches -= 1
        self.skip(cause, line)

    def _remember(self, cause: str, line: int) -> None:
        lines = self.lines[cause]
        if len(lines) < _SHOWN_LINES:
            lines.append(line)

    def as_dict(self) -> dict[str, Any]:
        """The file as JSON shows it; blank lines are counted and not listed."""
        return {
            "path": self.path,
            "rows_in": self.rows_in,
            "matches": self.matches,
            "skipped": dict(sorted(self.skipped.items())),
            "repaired": dict(sorted(self.repaired.items())),
            "lines": {cause: sorted(lines) for cause, lines in sorted(self.lines.items()) if cause != "blank_row"},
            "fault": self.fault,
            "detail": self.detail,
        }


@dataclass(frozen=True, slots=True, order=True)
class UnknownTeam:
    """A club that no season file of its country knows, or one that appears where no new club is likely."""

    division: str
    name: str
    suggestions: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The club as JSON shows it."""
        return {"division": self.division, "name": self.name, "suggestions": list(self.suggestions)}


@dataclass(frozen=True, slots=True, order=True)
class Disagreement:
    """Two copies of one match that say different things, and which of them stands."""

    match: str
    kept: str
    dropped: str

    def as_dict(self) -> dict[str, str]:
        """The two copies as JSON shows them."""
        return {"match": self.match, "kept": self.kept, "dropped": self.dropped}


@dataclass(slots=True)
class IngestReport:
    """All files of a folder, and the folders and files that were left alone with the reason."""

    files: list[FileReport] = field(default_factory=list)
    left_alone: dict[str, str] = field(default_factory=dict)
    unknown_teams: list[UnknownTeam] = field(default_factory=list)
    new_clubs: list[UnknownTeam] = field(default_factory=list)
    disagreements: list[Disagreement] = field(default_factory=list)
    n_upcoming: int = 0
    n_awaiting: int = 0

    @property
    def rows_in(self) -> int:
        """Lines read in all files."""
        return sum(each.rows_in for each in self.files)

    @property
    def matches(self) -> int:
        """Matches of all files."""
        return sum(each.matches for each in self.files)

    @property
    def skipped(self) -> Counter[str]:
        """Lines that became no match of their own, by cause."""
        return sum((each.skipped for each in self.files), Counter())

    @property
    def repaired(self) -> Counter[str]:
        """Repairs and losses inside lines that did become matches, by cause."""
        return sum((each.repaired for each in self.files), Counter())

    @property
    def faults(self) -> Counter[str]:
        """Files of which no line could be read, by cause."""
        return Counter(each.fault for each in self.files if each.fault)

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON shows it; files in the order of their paths."""
        return {
            "rows_in": self.rows_in,
            "matches": self.matches,
            "upcoming": self.n_upcoming,
            "awaiting_result": self.n_awaiting,
            "skipped": dict(sorted(self.skipped.items())),
            "repaired": dict(sorted(self.repaired.items())),
            "faults": dict(sorted(self.faults.items())),
            "left_alone": dict(sorted(self.left_alone.items())),
            "unknown_teams": [each.as_dict() for each in sorted(self.unknown_teams)],
            "new_clubs": [each.as_dict() for each in sorted(self.new_clubs)],
            "disagreements": [each.as_dict() for each in sorted(self.disagreements)],
            "files": [each.as_dict() for each in sorted(self.files, key=lambda each: each.path)],
        }
