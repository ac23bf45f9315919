"""Writes a simulated world as a folder of result files in the publisher's two layouts."""

import csv
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from worker.pipeline.ingest.dates import UK
from worker.pipeline.ingest.leagues import LEAGUES_FILE
from worker.pipeline.simulation.countries import COUNTRIES, Country
from worker.pipeline.simulation.simulated_country import SimulatedCountry, SimulatedMatch

SOURCE_FILE = "source.json"
_COMING = timedelta(days=10)
_FINAL_WHISTLE = timedelta(hours=2)
_MAIN_HEAD = ("Div", "Date", "Time", "HomeTeam", "AwayTeam")
_NEW_HEAD = ("Country", "League", "Season", "Date", "Time", "Home", "Away")
_LIST_BOOKS = ("B365", "BW", "PS", "WH", "Avg")
_MAIN_BOOKS, _NEW_BOOKS = (*_LIST_BOOKS, "B365C", "BWC", "WHC", "AvgC", "PSC"), ("PSC", "AvgC", "B365C")

Cells = list[str | int | float]


def simulate(folder: Path, *, seed: int, now: datetime, n_seasons: int = 5) -> None:
    """Write season files up to `now` (aware) and lists of the matches after it; same seed and `now`, same files."""
    if now.tzinfo is None:
        raise ValueError("now must say its time zone")
    local = now.astimezone(UK).replace(tzinfo=None)
    streams = np.random.default_rng(seed).spawn(len(COUNTRIES))
    for country, rng in zip(COUNTRIES, streams, strict=True):
        matches = _history(country, rng, local, n_seasons)
        played = [each for each in matches if each.kickoff + _FINAL_WHISTLE <= local]
        _write_country(folder, country, played)
        _append_list(folder, country, _coming(matches, local), local)
    _write_json(folder / LEAGUES_FILE, [asdict(league) for country in COUNTRIES for league in country.leagues])
    _write_json(folder / SOURCE_FILE, {"source": "simulated", "simulated": True, "seed": seed, "now": now.isoformat()})


def _history(country: Country, rng: np.random.Generator, local: datetime, n_seasons: int) -> list[SimulatedMatch]:
    """The seasons up to the current one, and the next, whose first round may be the next to come."""
    simulated = SimulatedCountry(country, rng)
    has_turned = not country.is_main or (local.month, local.day) >= (7, 1)
    current = local.year if has_turned else local.year - 1
    return [match for year in range(current - n_seasons + 1, current + 2) for match in simulated.season(year)]


def _coming(matches: Sequence[SimulatedMatch], local: datetime) -> list[SimulatedMatch]:
    """What is on or kicks off in the next days; for a division that rests, its next round."""
    coming: list[SimulatedMatch] = []
    by_division: Mapping[str, list[SimulatedMatch]] = _grouped(
        each for each in matches if each.kickoff + _FINAL_WHISTLE > local
    )
    for future in by_division.values():
        future.sort(key=lambda each: each.kickoff)
        horizon = max(local + _COMING, future[0].kickoff + timedelta(days=2))
        coming.extend(each for each in future if each.kickoff <= horizon)
    return coming


def _grouped(matches: Iterable[SimulatedMatch]) -> dict[str, list[SimulatedMatch]]:
    groups: dict[str, list[SimulatedMatch]] = defaultdict(list)
    for match in matches:
        groups[match.league.division].append(match)
    return groups


def _write_country(folder: Path, country: Country, played: Sequence[SimulatedMatch]) -> None:
    for division, matches in _grouped(played).items():
        matches.sort(key=lambda each: (each.kickoff, each.home_team))
        if country.is_main:
            _write_seasons(folder / "main", division, matches)
        else:
            header = (*_NEW_HEAD, "HG", "AG", "Res", *_columns(_NEW_BOOKS))
            rows = [[*_new_start(each), *_result(each), *_prices(each, _NEW_BOOKS)] for each in matches]
            _write_rows(folder / "new" / f"{division}.csv", header, rows)


def _write_seasons(folder: Path, division: str, matches: Sequence[SimulatedMatch]) -> None:
    header = (*_MAIN_HEAD, "FTHG", "FTAG", "FTR", *_columns(_MAIN_BOOKS))
    for year in sorted({each.season_year for each in matches}):
        season = f"{year % 100:02d}{(year + 1) % 100:02d}"
        rows = [
            [*_main_start(each), *_result(each), *_prices(each, _MAIN_BOOKS)]
            for each in matches
            if each.season_year == year
        ]
        _write_rows(folder / season / f"{division}.csv", header, rows)


def _append_list(folder: Path, country: Country, coming: Sequence[SimulatedMatch], local: datetime) -> None:
    prefix, head = ("fixtures", _MAIN_HEAD) if country.is_main else ("new_league_fixtures", _NEW_HEAD)
    start = _main_start if country.is_main else _new_start
    rows = [[*start(each), *_prices(each, _LIST_BOOKS)] for each in coming]
    path = folder / "fixtures" / f"{prefix}_{local:%Y-%m-%d}.csv"
    _write_rows(path, (*head, *_columns(_LIST_BOOKS)), rows, is_new=not path.exists())


def _main_start(match: SimulatedMatch) -> Cells:
    return [match.league.division, *_when(match), match.home_team, match.away_team]


def _new_start(match: SimulatedMatch) -> Cells:
    season = str(match.season_year)
    return [match.league.region, match.league.tournament, season, *_when(match), match.home_team, match.away_team]


def _when(match: SimulatedMatch) -> Cells:
    return [f"{match.kickoff:%d/%m/%Y}", f"{match.kickoff:%H:%M}"]


def _result(match: SimulatedMatch) -> Cells:
    home, away = match.score
    return [home, away, "D" if home == away else "H" if home > away else "A"]


def _prices(match: SimulatedMatch, books: Sequence[str]) -> Cells:
    return [price for book in books for price in match.prices.get(book, ("", "", ""))]


def _columns(books: Sequence[str]) -> list[str]:
    return [book + letter for book in books for letter in "HDA"]


def _write_rows(path: Path, header: Sequence[str], rows: Iterable[Cells], *, is_new: bool = True) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w" if is_new else "a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        if is_new:
            writer.writerow(header)
        writer.writerows(rows)


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
