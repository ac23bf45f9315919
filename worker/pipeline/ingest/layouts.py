"""The two layouts the publisher uses: which columns hold what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from worker.pipeline.ingest.sources import UnreadableFile

# our name -> the headers it goes by, first found wins; columns are found by name, never by position
_FIELDS: Mapping[str, tuple[str, ...]] = {
    "division": ("Div",),
    "country": ("Country",),
    "season": ("Season",),
    "date": ("Date",),
    "time": ("Time",),
    "home_team": ("HomeTeam", "Home", "HT"),
    "away_team": ("AwayTeam", "Away", "AT"),
    "home_score": ("FTHG", "HG"),
    "away_score": ("FTAG", "AG"),
    "result": ("FTR", "Res"),
}
_PREFIXES: Mapping[str, tuple[str, ...]] = {
    "b365": ("B365",),
    "b365c": ("B365C",),
    "avg": ("Avg", "BbAv"),
    "avgc": ("AvgC",),
    "psc": ("PSC",),
}
_NEEDED = ("date", "home_team", "away_team")


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the fields and price triples of one file are; a column the file lacks is absent."""

    fields: Mapping[str, int]
    triples: Mapping[str, tuple[int, int, int]]
    width: int

    @property
    def has_scores(self) -> bool:
        """Whether the file has columns for the score."""
        return "home_score" in self.fields and "away_score" in self.fields


def identify(header: Sequence[str]) -> Layout:
    """The layout of a header; raises UnreadableFile when it is neither of the two."""
    positions: dict[str, int] = {}
    for position, name in enumerate(header):
        if name:
            positions.setdefault(name, position)  # a repeated name: the first column is the publisher's own
    found = {field: _first(names, positions) for field, names in _FIELDS.items()}
    fields = {field: positions[name] for field, name in found.items() if name is not None}
    missing = [" or ".join(_FIELDS[field]) for field in _NEEDED if field not in fields]
    if "division" not in fields and "country" not in fields:
        missing.insert(0, "Div or Country")
    if missing:
        raise UnreadableFile("missing_columns", "no column " + ", ".join(missing))
    places = {book: _triple(prefixes, positions) for book, prefixes in _PREFIXES.items()}
    return Layout(fields, {book: place for book, place in places.items() if place is not None}, len(header))


def _first(names: Sequence[str], positions: Mapping[str, int]) -> str | None:
    return next((name for name in names if name in positions), None)


def _triple(prefixes: Sequence[str], positions: Mapping[str, int]) -> tuple[int, int, int] | None:
    for prefix in prefixes:
        names = [prefix + letter for letter in "HDA"]
        if all(name in positions for name in names):
            home, draw, away = (positions[name] for name in names)
            return home, draw, away
    return None
