"""What became of every row that was read: counted by file and by cause."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class FileReport:
    """One file: rows in = matches + skipped; repaired rows are among the matches, a fault means no row was read."""

    path: str
    rows_in: int = 0
    matches: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    repaired: Counter[str] = field(default_factory=Counter)
    fault: str | None = None
    detail: str | None = None

    @property
    def is_balanced(self) -> bool:
        """Whether every row is accounted for."""
        return self.rows_in == self.matches + self.skipped.total()

    def as_dict(self) -> dict[str, Any]:
        """The file as JSON shows it."""
        return {
            "path": self.path,
            "rows_in": self.rows_in,
            "matches": self.matches,
            "skipped": dict(sorted(self.skipped.items())),
            "repaired": dict(sorted(self.repaired.items())),
            "fault": self.fault,
            "detail": self.detail,
        }


@dataclass(frozen=True, slots=True, order=True)
class UnknownTeam:
    """A club of a fixtures list that no season file of its country knows."""

    division: str
    name: str
    suggestions: tuple[str, ...]


@dataclass(slots=True)
class IngestReport:
    """All files of a folder, and the folders and files that were left alone with the reason."""

    files: list[FileReport] = field(default_factory=list)
    left_alone: dict[str, str] = field(default_factory=dict)
    unknown_teams: list[UnknownTeam] = field(default_factory=list)
    n_upcoming: int = 0

    @property
    def rows_in(self) -> int:
        """Rows read in all files."""
        return sum(each.rows_in for each in self.files)

    @property
    def matches(self) -> int:
        """Matches of all files."""
        return sum(each.matches for each in self.files)

    @property
    def skipped(self) -> Counter[str]:
        """Rows that became no match of their own, by cause."""
        return sum((each.skipped for each in self.files), Counter())

    @property
    def repaired(self) -> Counter[str]:
        """Repairs and losses inside rows that did become matches, by cause."""
        return sum((each.repaired for each in self.files), Counter())

    @property
    def faults(self) -> Counter[str]:
        """Files of which no row could be read, by cause."""
        return Counter(each.fault for each in self.files if each.fault)

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON shows it; files in the order of their paths."""
        return {
            "rows_in": self.rows_in,
            "matches": self.matches,
            "upcoming": self.n_upcoming,
            "skipped": dict(sorted(self.skipped.items())),
            "repaired": dict(sorted(self.repaired.items())),
            "faults": dict(sorted(self.faults.items())),
            "left_alone": dict(sorted(self.left_alone.items())),
            "unknown_teams": [
                {"division": each.division, "name": each.name, "suggestions": list(each.suggestions)}
                for each in sorted(self.unknown_teams)
            ],
            "files": [each.as_dict() for each in sorted(self.files, key=lambda each: each.path)],
        }
