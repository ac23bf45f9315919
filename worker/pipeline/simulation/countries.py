"""The fictional countries of the simulated world, and the names of their clubs."""

from dataclasses import dataclass
from itertools import product

import numpy as np

from worker.pipeline.ingest.leagues import League


@dataclass(frozen=True, slots=True)
class Country:
    """One country: its divisions from the top with their sizes, and what its places are called."""

    leagues: tuple[League, ...]
    sizes: tuple[int, ...]
    starts: str
    ends: str
    words: tuple[str, ...]
    home_advantage: float
    is_main: bool = True  # False: written in the layout of the extra leagues, seasons by calendar year

    @property
    def region(self) -> str:
        """Its name."""
        return self.leagues[0].region


def _leagues(region: str, *named: tuple[str, str]) -> tuple[League, ...]:
    return tuple(League(code, region, name, tier) for tier, (code, name) in enumerate(named, start=1))


COUNTRIES = (
    Country(
        _leagues("Avaland", ("AV1", "Crown League"), ("AV2", "Shire League")),
        (18, 16),
        "Alder Bram Cedar Dun Elm Fern Glen Hazel Larch Maple Rowan Willow",
        "bury ford ham ley mere ton wick",
        ("Town", "Rovers", "United", "Albion", "Athletic"),
        0.27,
    ),
    Country(
        _leagues("Norrmark", ("NM1", "Fjord League"), ("NM2", "Birch League")),
        (16, 16),
        "Bjork Dal Elv Gran Havs Isen Lind Skog Sol Sten Tjern Vinter",
        "berg by fors hamn stad vik",
        ("IF", "BK", "FF", "IK"),
        0.22,
    ),
    Country(
        _leagues("Cassia", ("CA1", "Prima Lega"), ("CA2", "Lega Cadetta")),
        (16, 14),
        "Bel Cast Fior Luc Mont Olmar Pian Roc San Torr Val Verd",
        "acia ara ella ento ino ora",
        ("Calcio", "1908", "Sportiva"),
        0.24,
    ),
    Country(
        _leagues(
            "Merovie",
            ("ME1", "Ligue Royale"),
        ),
        (14,),
        "Aub Beau Chant Clair Font Haute Mont Roche Saint-Ger Ville",
        "court erie mont neuf rive val",
        ("FC", "Olympique", "Stade"),
        0.23,
    ),
    Country(
        _leagues(
            "Thalassia",
            ("TH1", "Aegis League"),
        ),
        (16,),
        "Argo Delo Hali Kallo Melo Naxo Paro Thero Xantho",
        "lis mia polis ssa thea",
        ("AO", "PAS", "Ethnikos"),
        0.34,
    ),
    Country(
        _leagues("Brennerau", ("BR1", "Erste Liga"), ("BR2", "Zweite Liga")),
        (14, 12),
        "Ahorn Birken Eichen Falken Hirsch Kirsch Linden Rosen Silber Tannen",
        "au bach dorf feld stein tal",
        ("SV", "1899", "TSV"),
        0.21,
    ),
    Country(
        _leagues(
            "Solanda",
            ("SOL", "Liga del Sol"),
        ),
        (16,),
        "Alma Brisa Cora Flor Luna Mara Palma Rio Sierra Vera",
        "dor lito nueva rana seca vista",
        ("CD", "Juniors", "Deportivo"),
        0.31,
        is_main=False,
    ),
    Country(
        _leagues(
            "Hoshima",
            ("HOS", "Kaze League"),
        ),
        (14,),
        "Aoi Haru Hoshi Kawa Mizu Mori Natsu Sora Tsuki Yuki",
        "hama machi mori saki shima zawa",
        ("SC", "Blaze", "Cranes"),
        0.16,
        is_main=False,
    ),
)


def club_names(country: Country, rng: np.random.Generator) -> list[str]:
    """One name for each place in the country's divisions, all different."""
    places = [start + end for start, end in product(country.starts.split(), country.ends.split())]
    chosen = rng.choice(len(places), size=sum(country.sizes), replace=False)
    words = rng.integers(0, 2 * len(country.words), size=len(chosen))
    return [_name(places[place], word, country.words) for place, word in zip(chosen, words, strict=True)]


def _name(place: str, word: int, words: tuple[str, ...]) -> str:
    # half of the clubs go by the place alone
    return f"{place} {words[word]}" if word < len(words) else place
