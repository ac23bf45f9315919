"""The divisions the publisher covers: code, country, competition, level, and the calendar their seasons follow."""

import json
from dataclasses import dataclass
from pathlib import Path

LEAGUES_FILE = "leagues.json"


@dataclass(frozen=True, slots=True)
class League:
    """One division; `tier` counts from 1 at the top."""

    division: str
    region: str
    tournament: str
    tier: int = 1


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


class Leagues:
    """Divisions by code, and by country for the layout that names no code."""

    def __init__(self, leagues: tuple[League, ...] = _PUBLISHED) -> None:
        self._by_division = {league.division: league for league in leagues}
        # the layout without codes knows one division per country; the one with the longest code is its own
        self._by_region: dict[str, League] = {}
        for league in sorted(leagues, key=lambda each: (-len(each.division), each.division)):
            self._by_region.setdefault(league.region.casefold(), league)

    @classmethod
    def of_folder(cls, folder: Path) -> "Leagues":
        """The published divisions, with those of the folder's own `leagues.json` added or replaced."""
        path = folder / LEAGUES_FILE
        if not path.is_file():
            return cls()
        own = tuple(League(**entry) for entry in json.loads(path.read_text("utf-8")))
        replaced = {league.division for league in own}
        return cls((*own, *(league for league in _PUBLISHED if league.division not in replaced)))

    def find(self, division: str) -> League | None:
        """The division of a code."""
        return self._by_division.get(division)

    def of_region(self, region: str) -> League | None:
        """The division of a country that has a file of its own."""
        return self._by_region.get(region.casefold())

    def get(self, division: str) -> League:
        """The division of a code; one nobody described goes by its code."""
        return self._by_division.get(division) or League(division, division, division)
