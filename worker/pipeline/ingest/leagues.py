"""Name the divisions: code, country, competition and level; competitions without a code go by their names."""

import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from worker.pipeline.failures import BuildStopped

LEAGUES_FILE = "leagues.json"


@dataclass(frozen=True, slots=True)
class League:
    """One division; `tier` counts from 1 at the top."""

    division: str
    region: str
    tournament: str
    tier: int = 1
    base: str | None = None  # the division whose file this competition shares

    @property
    def key(self) -> str:
        """The division in the key of a match: that of the file, so that a competition found later keeps its matches."""
        return self.base or self.division


# the codes of the publisher's main files, in his order, then those of the extra leagues
_PUBLISHED = (
    League("E0", "England", "Premier League", 1),
    League("E1", "England", "Championship", 2),
    League("E2", "England", "League One", 3),
    League("E3", "England", "League Two", 4),
    League("EC", "England", "National League", 5),
    League("SC0", "Scotland", "Premiership", 1),
    League("SC1", "Scotland", "Championship", 2),
    League("SC2", "Scotland", "League One", 3),
    League("SC3", "Scotland", "League Two", 4),
    League("D1", "Germany", "Bundesliga", 1),
    League("D2", "Germany", "2. Bundesliga", 2),
    League("I1", "Italy", "Serie A", 1),
    League("I2", "Italy", "Serie B", 2),
    League("SP1", "Spain", "La Liga", 1),
    League("SP2", "Spain", "La Liga 2", 2),
    League("F1", "France", "Ligue 1", 1),
    League("F2", "France", "Ligue 2", 2),
    League("N1", "Netherlands", "Eredivisie", 1),
    League("B1", "Belgium", "First Division", 1),
    League("P1", "Portugal", "Primeira Liga", 1),
    League("T1", "Turkey", "Super Lig", 1),
    League("G1", "Greece", "Super League", 1),
    League("ARG", "Argentina", "Liga Profesional"),
    League("AUT", "Austria", "Bundesliga"),
    League("BRA", "Brazil", "Serie A"),
    League("CHN", "China", "Super League"),
    League("DNK", "Denmark", "Superliga"),
    League("FIN", "Finland", "Veikkausliiga"),
    League("IRL", "Ireland", "Premier Division"),
    League("JPN", "Japan", "J1 League"),
    League("MEX", "Mexico", "Liga MX"),
    League("NOR", "Norway", "Eliteserien"),
    League("POL", "Poland", "Ekstraklasa"),
    League("ROU", "Romania", "Superliga"),
    League("RUS", "Russia", "Premier League"),
    League("SWE", "Sweden", "Allsvenskan"),
    League("SWZ", "Switzerland", "Super League"),
    League("USA", "USA", "MLS"),
)


def published_divisions() -> tuple[str, ...]:
    """Return the codes of the publisher's files, the main ones first."""
    return tuple(league.division for league in _PUBLISHED)


# other names of the divisions above, as lists and feeds spell them
_OTHER_NAMES: Mapping[str, tuple[str, ...]] = {
    "E0": ("EPL", "Premiership"),
    "E1": ("EFL Championship",),
    "E2": ("EFL League One", "League 1"),
    "E3": ("EFL League Two", "League 2"),
    "EC": ("Conference", "Vanarama National League"),
    "SC0": ("Premier League",),
    "D1": ("1. Bundesliga", "Bundesliga 1"),
    "D2": ("Bundesliga 2", "Zweite Bundesliga"),
    "SP1": ("Primera", "Primera Division", "LaLiga"),
    "SP2": ("Segunda", "Segunda Division", "LaLiga 2", "Liga Segunda"),
    "F1": ("Le Championnat",),
    "F2": ("Division 2",),
    "B1": ("Jupiler League", "Pro League", "First Division A", "Jupiler Pro League"),
    "P1": ("Liga Portugal", "Liga I"),
    "T1": ("Futbol Ligi 1",),
    "G1": ("Ethniki Katigoria",),
    "ARG": ("Primera Division", "Superliga"),
    "BRA": ("Brasileirao", "Brasileirao Serie A", "Serie A Betano", "Campeonato Brasileiro Serie A"),
    "JPN": ("J-League", "J1"),
    "MEX": ("Primera Division", "Liga BBVA MX"),
    "NOR": ("Tippeligaen",),
    "POL": ("PKO BP Ekstraklasa", "PKO Ekstraklasa"),
    "ROU": ("Liga 1", "Liga I"),
    "RUS": ("Premier Liga",),
    "USA": ("Major League Soccer",),
}
# other names of the countries above
_COUNTRIES: Mapping[str, str] = {
    "turkiye": "turkey",
    "holland": "netherlands",
    "the netherlands": "netherlands",
    "united states": "usa",
    "us": "usa",
    "republic of ireland": "ireland",
    "brasil": "brazil",
}
# competitions of other teams under the names of the same clubs: they must not share a rating
_OTHER_TEAMS = (
    (
        re.compile(
            r"women|ladies|\bfem[ie]n|f[eé]minin|frauen|damen|damall|kvinn|toppserien|\bW-?League|\bWSL\b|\bNWSL\b"
            r"|\bD1 arkema|\(w\)",
            re.IGNORECASE,
        ),
        "women",
    ),
    (
        re.compile(
            r"\b(u|under|sub)[ -]?\d\d\b|youth|junior|juvenil|primavera|reserve|\bPremier League 2\b|academ",
            re.IGNORECASE,
        ),
        "youth and reserves",
    ),
)
_FILLERS = frozenset(("de", "la", "del", "the", "of"))
_CUP = re.compile(r"\b(cup|copa|coppa|coupe|pokal|taca|taça|kupa|puchar|cupa)\b", re.IGNORECASE)


def _words(name: str) -> tuple[str, ...]:
    return tuple(word for word in re.findall(r"[^\W_]+", _bare(name)) if word not in _FILLERS)


def _bare(name: str) -> str:
    """Return a name in lower case and without accents."""
    letters = unicodedata.normalize("NFKD", name.casefold().replace("ı", "i"))
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def _country(name: str) -> str:
    bare = _bare(name)
    return _COUNTRIES.get(bare, bare)


class Leagues:
    """Divisions by code, and by country and name for the layout that has no codes."""

    def __init__(self, leagues: tuple[League, ...] = _PUBLISHED) -> None:
        self._by_division = {league.division: league for league in leagues}
        self._by_code = {league.division.casefold(): league for league in leagues}
        # a country with an extra file has one division; that with the longest code is its own
        self._by_region: dict[str, League] = {}
        for league in sorted(leagues, key=lambda each: (-len(each.division), each.division)):
            self._by_region.setdefault(_country(league.region), league)
        self._by_name: dict[tuple[str, tuple[str, ...]], League] = {}
        for league in leagues:
            for name in (league.tournament, league.division, *_OTHER_NAMES.get(league.division, ())):
                self._by_name.setdefault((_country(league.region), _words(name)), league)
        self._named: dict[tuple[str, str], tuple[League, bool]] = {}

    @classmethod
    def of_folder(cls, folder: Path) -> "Leagues":
        """Return the published divisions, with those of the folder's own `leagues.json` added or replaced."""
        path = folder / LEAGUES_FILE
        if not path.is_file():
            return cls()
        own = _read_leagues(path)
        replaced = {league.division for league in own}
        return cls((*own, *(league for league in _PUBLISHED if league.division not in replaced)))

    def find(self, division: str) -> League | None:
        """Return the division of a code."""
        return self._by_division.get(division)

    def get(self, division: str) -> tuple[League, bool]:
        """Return the division of a code in any case, and whether it is a known one; another goes by its code."""
        league = self._by_division.get(division) or self._by_code.get(division.casefold())
        return league or League(division, division, division), league is not None

    def find_named(self, country: str, name: str) -> tuple[League, bool]:
        """Return the competition of a country, and whether it is a known one; without a name, the country's own."""
        key = country, name
        if key not in self._named:
            self._named[key] = self._find_named(country, name)
        return self._named[key]

    def _find_named(self, country: str, name: str) -> tuple[League, bool]:
        plain = _country(country)
        own = self._by_region.get(plain)
        if not name:
            return own or self.get(country)[0], True
        known = self._by_name.get((plain, _words(name)))
        if known is not None:
            return known, True
        base = own.division if own else country
        region = own.region if own else country
        code = f"{base}-{'-'.join(_words(name)) or name}"
        for pattern, teams in _OTHER_TEAMS:
            if pattern.search(name):
                return League(code, f"{region}, {teams}", name), False
        # a cup is played by the clubs of the top division, another league by those below it
        tier = 2 if own and not _CUP.search(name) else 1
        return League(code, region, name, tier, base), own is None


def _read_leagues(path: Path) -> tuple[League, ...]:
    try:
        entries = json.loads(path.read_text("utf-8"))
        leagues = tuple(League(**entry) for entry in entries)
    except (ValueError, TypeError, OSError) as error:
        raise BuildStopped(f"{path} is no list of leagues: {error}.") from error
    for league in leagues:
        texts = (league.division, league.region, league.tournament)
        if (
            not all(isinstance(text, str) and text for text in texts)
            or not isinstance(league.tier, int)
            or league.tier < 1
        ):
            raise BuildStopped(
                f"{path}: {league.division!r} needs division, region and tournament, and a tier from 1 on."
            )
    return leagues
