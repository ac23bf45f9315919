"""Give every club one canonical spelling per country: built-in aliases, and those of a file of yours on top.

A file of aliases is JSON, `{"Romania": {"Viitorul": "Farul"}}`: by region, the name in files and the one to use.
"""

import json
import unicodedata
from collections.abc import Mapping
from pathlib import Path

from worker.pipeline.failures import BuildStopped

# Only pairs whose seasons show one club under two names: spellings, and clubs renamed or moved with their squad. Left
# apart on purpose, because they are two clubs: Leipzig (VfB, 1993/94) and RB Leipzig, Waregem 1995/96 and later,
# Wimbledon and AFC Wimbledon, Bastia and CA Bastia, Ajaccio and GFCO, Rouen and Quevilly Rouen, Univ. Craiova and
# U Craiova 1948, Airdrie and Airdrie Utd, Molenbeek and RWD Molenbeek, Lommel and Lommel SK, Gaziantep and
# Gaziantepspor, Malatyaspor and Yeni Malatyaspor, Aves and AVS, Shenzhen and Shenzhen Xinpengcheng.
_ALIASES: Mapping[str, Mapping[str, str]] = {
    "England": {
        "Middlesboro": "Middlesbrough",
        "Telford United": "AFC Telford United",
        "Boston": "Boston Utd",
        "King's Lynn": "Kings Lynn",
        "Sheffield Wed": "Sheffield Weds",
        "Bradford City": "Bradford",
    },
    "Germany": {"M'Gladbach": "M'gladbach", "Dusseldorf": "Fortuna Dusseldorf"},
    "Spain": {
        "Villareal": "Villarreal",
        "Atl. Madrid": "Ath Madrid",
        "Rayo Vallecano": "Vallecano",
        "Dep. A Coruna": "La Coruna",
    },
    "France": {"Red Star 93": "Red Star"},
    "Belgium": {"Zulte Waregem": "Waregem", "St Gilloise": "St. Gilloise"},
    "Netherlands": {"Roda JC": "Roda", "Sparta": "Sparta Rotterdam"},
    "Portugal": {"Campomaior": "Campomaiorense", "Desp. Chaves": "Chaves", "Madeira": "Uniao Madeira"},
    "Greece": {
        "Levadiakos": "Levadeiakos",
        "OFI": "OFI Crete",
        "Veroia": "Veria",
        "Kallithea": "Athens Kallithea",
        "Ethnikos": "Ethnikos Piraeus",
        "Doxa": "Doxa Dramas",
    },
    "Argentina": {"Colon Santa FE": "Colon Santa Fe"},
    "Norway": {"Ham-Kam": "HamKam"},
    "Romania": {
        "Din. Bucuresti": "Dinamo Bucuresti",
        "U Craiova": "Univ. Craiova",
        "Viitorul Constanta": "Farul Constanta",
    },
    "Russia": {"T. Moscow": "Torpedo Moscow"},
    "Sweden": {"Osters": "Oster"},
    "China": {
        "Guangzhou R&F": "Guangzhou City",
        "Guangzhou Evergrande": "Guangzhou FC",
        "Tianjin Quanjian": "Tianjin Tianhai",
        "Shijiazhuang": "Cangzhou",
    },
}
_QUOTES = str.maketrans({"’": "'", "‘": "'", "`": "'"})


def tidy(name: str) -> str:
    """Return one form of quotes and spaces, so that `King’s Lynn` from two encodings is one name."""
    return unicodedata.normalize("NFC", " ".join(name.translate(_QUOTES).split()))


class ClubNames:
    """Spellings to canonical names; remembers nothing but the answers."""

    def __init__(self, aliases: Mapping[str, Mapping[str, str]] = _ALIASES) -> None:
        self._aliases = aliases
        self._known: dict[tuple[str, str], str] = {}

    def canonical(self, region: str, name: str) -> str:
        """Return the canonical name of a club of a country."""
        key = (region, name)
        if (known := self._known.get(key)) is None:
            clean = tidy(name)
            known = self._known[key] = self._aliases.get(region, {}).get(clean, clean)
        return known


def read_aliases(path: Path | None) -> dict[str, dict[str, str]]:
    """Return the built-in aliases, with those of a file added or replaced; raise BuildStopped for any other file."""
    aliases = {region: dict(names) for region, names in _ALIASES.items()}
    if path is None:
        return aliases
    try:
        own = json.loads(path.read_text("utf-8"))
        pairs = [(region, name, club) for region, names in own.items() for name, club in names.items()]
    except (ValueError, AttributeError, OSError) as error:
        raise BuildStopped(f"{path} is no file of aliases: {error}.") from error
    for region, name, club in pairs:
        if not isinstance(club, str) or not club.strip():
            raise BuildStopped(f"{path}: {region}, {name!r} needs the name of a club.")
        aliases.setdefault(region, {})[tidy(name)] = tidy(club)
    return aliases
