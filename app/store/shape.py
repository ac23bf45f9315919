"""The members of a row: as a JSON object, and as flat columns for CSV, Arrow and Parquet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from app.errors import InvalidRequest

OUTCOMES = ("home", "draw", "away")


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a JSON row as SQL, and the flat columns it is elsewhere, by name, as SQL."""

    json: str
    columns: Mapping[str, str]
    parts: Mapping[str, "Member"] = field(default_factory=dict)


class Shape:
    """The members of a row, in order."""

    def __init__(self, members: Mapping[str, Member]) -> None:
        self.members = dict(members)
        # the parts of an object are members too when they are asked for by name
        parts = {name: part for member in members.values() for name, part in member.parts.items()}
        self._known = self.members | parts

    def picked(self, fields: Sequence[str]) -> "Shape":
        """Only these members and columns, in this order; all when none is named; InvalidRequest for an unknown one."""
        unknown = [name for name in fields if name not in self._known]
        if unknown:
            known = ", ".join(self._known)
            raise InvalidRequest(f"fields: there is no {', '.join(unknown)}. There are: {known}.")
        return Shape({name: self._known[name] for name in fields}) if fields else self

    def json(self) -> str:
        """SQL of a row as a JSON object."""
        return struct(**{name: member.json for name, member in self.members.items()})

    def columns(self, *, is_short: bool = False) -> str:
        """What follows SELECT; in short, a column that keeps its name is not named twice."""
        flat = {name: sql for member in self.members.values() for name, sql in member.columns.items()}
        return ", ".join(name if is_short and sql == name else f"{sql} AS {name}" for name, sql in flat.items())

    def __or__(self, more: "Shape") -> "Shape":
        return Shape(self.members | more.members)


def plain(*names: str) -> Shape:
    """Columns that are members as they are."""
    return Shape({name: Member(name, {name: name}) for name in names})


def times(*names: str) -> Shape:
    """Columns that hold times."""
    return Shape({name: Member(instant(name), {name: name}) for name in names})


def made(**columns: str) -> Shape:
    """Members computed by SQL."""
    return Shape({name: Member(sql, {name: sql}) for name, sql in columns.items()})


def group(member: str, json: str, parts: Shape) -> Shape:
    """A member that is an object in JSON and several columns elsewhere."""
    columns = {name: sql for part in parts.members.values() for name, sql in part.columns.items()}
    return Shape({member: Member(json, columns, parts.members)})


def instant(column: str) -> str:
    """SQL that writes a time as JSON Schema's date-time."""
    return f"strftime({column}, '%Y-%m-%dT%H:%M:%S.%fZ')"


def struct(**members: str) -> str:
    """SQL of a JSON object: member names to SQL of their values."""
    return "{" + ", ".join(f"{name}: {sql}" for name, sql in members.items()) + "}"


def by_outcome(prefix: str) -> str:
    """SQL of an object with a member for each outcome."""
    return struct(**{outcome: f"{prefix}_{outcome}" for outcome in OUTCOMES})


def each(prefix: str) -> Shape:
    """The same as flat columns."""
    return plain(*(f"{prefix}_{outcome}" for outcome in OUTCOMES))
