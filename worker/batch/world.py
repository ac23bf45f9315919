"""A simulated country: clubs whose strengths drift, seasons, promotion, results and prices."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from itertools import pairwise

import numpy as np

from worker.batch import goals
from worker.batch.bookmaker import quote
from worker.batch.clubs import Country, club_names
from worker.batch.goals import Floats, Ints
from worker.batch.leagues import League
from worker.batch.rounds import kickoffs, pairings, round_days

_BASE_LOG_RATE = 0.21  # about 1.23 goals for either side before the home advantage
_QUALITY_SPREAD = 0.23
_TIER_STEP = 0.20
_WEEKLY_DRIFT, _SUMMER_DRIFT = 0.018, 0.08
_LATE_NEWS = 0.09  # line-ups and injuries, on the log rate: in the closing prices, not in those of days before
_PROMOTED = 2
_NO_PRICES_SHARE = 0.10
_MARGIN, _AVERAGE_MARGIN, _SHARP_MARGIN = 0.055, 0.06, 0.025


@dataclass(frozen=True, slots=True)
class Played:
    """One simulated match: UK local kick-off, score as it will be, prices by column prefix (none for some)."""

    league: League
    season_year: int
    kickoff: datetime
    home_team: str
    away_team: str
    score: tuple[int, int]
    prices: dict[str, tuple[float, float, float]]


class World:
    """One country from its first simulated season on."""

    def __init__(self, country: Country, rng: np.random.Generator) -> None:
        self._country = country
        self._rng = rng
        self._names = club_names(country, rng)
        n_clubs = len(self._names)
        bounds = np.cumsum((0, *country.sizes))
        self._members = [np.arange(low, high) for low, high in pairwise(bounds)]
        tier = np.concatenate([np.full(size, number) for number, size in enumerate(country.sizes)])
        quality = rng.normal(0, _QUALITY_SPREAD, n_clubs) - _TIER_STEP * tier
        self._level = quality.copy()  # what the strengths return to; moves itself in summer
        self._attack = quality + rng.normal(0, 0.08, n_clubs)
        self._defence = quality + rng.normal(0, 0.08, n_clubs)

    def season(self, year: int) -> Iterator[Played]:
        """All matches of the season that begins in `year`; afterwards clubs go up and down."""
        tables = []
        for league, members in zip(self._country.leagues, self._members, strict=True):
            points = np.zeros(len(self._names))
            yield from self._division(league, members, year, points)
            tables.append(members[np.argsort(-points[members], kind="stable")])
        self._promote(tables)
        self._summer()

    def _division(self, league: League, members: Ints, year: int, points: Floats) -> Iterator[Played]:
        order = self._rng.permutation(members)
        plan = pairings(len(members))
        first, last = self._span(year)
        for day, pairs in zip(round_days(first, last, len(plan)), plan, strict=True):
            home, away = order[pairs[:, 0]], order[pairs[:, 1]]
            yield from self._round(league, year, day, (home, away), points)
            self._drift(members)

    def _span(self, year: int) -> tuple[date, date]:
        if self._country.is_main:
            return date(year, 7, 25), date(year + 1, 6, 10)
        return date(year, 2, 10), date(year, 12, 10)

    def _round(
        self, league: League, year: int, day: date, sides: tuple[Ints, Ints], points: Floats
    ) -> Iterator[Played]:
        home, away = sides
        known, final = self._chances(home, away)
        home_goals, away_goals = goals.draw_scores(final, self._rng)
        points[home] += np.select([home_goals > away_goals, home_goals == away_goals], [3, 1])
        points[away] += np.select([away_goals > home_goals, home_goals == away_goals], [3, 1])
        books = self._books(goals.outcome_chances(known), goals.outcome_chances(final))
        is_priced = self._rng.random(len(home)) >= _NO_PRICES_SHARE
        for place, kickoff in enumerate(kickoffs(day, len(home), self._rng)):
            prices = {book: triples[place] for book, triples in books.items()} if is_priced[place] else {}
            yield Played(
                league,
                year,
                kickoff,
                self._names[home[place]],
                self._names[away[place]],
                (int(home_goals[place]), int(away_goals[place])),
                prices,
            )

    def _chances(self, home: Ints, away: Ints) -> tuple[Floats, Floats]:
        """Score chances as known days before, and with the late news."""
        home_log = _BASE_LOG_RATE + self._country.home_advantage + self._attack[home] - self._defence[away]
        away_log = _BASE_LOG_RATE + self._attack[away] - self._defence[home]
        news = self._rng.normal(0, _LATE_NEWS, (2, len(home)))
        known = goals.score_chances(np.exp(home_log), np.exp(away_log))
        return known, goals.score_chances(np.exp(home_log + news[0]), np.exp(away_log + news[1]))

    def _books(self, known: Floats, final: Floats) -> dict[str, list[tuple[float, float, float]]]:
        """Prices by column prefix."""
        quotes = {
            "B365": quote(known, noise=0.05, margin=_MARGIN, rng=self._rng),
            "Avg": quote(known, noise=0.03, margin=_AVERAGE_MARGIN, rng=self._rng),
            "PSC": quote(final, noise=0.02, margin=_SHARP_MARGIN, rng=self._rng),
            "AvgC": quote(final, noise=0.02, margin=_AVERAGE_MARGIN, rng=self._rng),
            "B365C": quote(final, noise=0.03, margin=_MARGIN, rng=self._rng),
        }
        return {book: [(row[0], row[1], row[2]) for row in prices.tolist()] for book, prices in quotes.items()}

    def _drift(self, members: Ints) -> None:
        for strength in (self._attack, self._defence):
            pull = 0.02 * (self._level[members] - strength[members])
            strength[members] += pull + self._rng.normal(0, _WEEKLY_DRIFT, len(members))

    def _summer(self) -> None:
        for strength in (self._level, self._attack, self._defence):
            strength[:] += self._rng.normal(0, _SUMMER_DRIFT, len(strength))
        # money follows results: without a pull to the middle the leagues would fall apart over the years
        self._level -= 0.05 * self._level

    def _promote(self, tables: list[Ints]) -> None:
        for upper in range(len(tables) - 1):
            down, up = tables[upper][-_PROMOTED:].copy(), tables[upper + 1][:_PROMOTED].copy()
            tables[upper][-_PROMOTED:], tables[upper + 1][:_PROMOTED] = up, down
        self._members = tables
