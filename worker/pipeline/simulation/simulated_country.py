"""Simulate a country: clubs whose strengths drift, seasons, promotion, results and prices.

Goals are two Poisson counts with the Dixon-Coles correction of low scores. Prices are chances seen through noise,
with a margin, on the steps prices move in.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import pairwise
from math import lgamma

import numpy as np
import numpy.typing as npt

from worker.pipeline.ingest.leagues import League
from worker.pipeline.simulation.countries import Country, club_names

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_BASE_LOG_RATE = 0.21  # about 1.23 goals for either side before the home advantage
_QUALITY_SPREAD = 0.23
_TIER_STEP = 0.20
_WEEKLY_DRIFT, _SUMMER_DRIFT = 0.018, 0.08
_LATE_NEWS = 0.09  # line-ups and injuries, on the log rate: in the closing prices, not in those of days before
_PROMOTED = 2
_NO_PRICES_SHARE = 0.10
# code, noise and margin; Pinnacle's is the sharpest book of the simulated world, as it is of ours
_OTHER_BOOKS = (("PS", 0.03, 0.025), ("BW", 0.06, 0.06), ("WH", 0.07, 0.065))
_MARGIN, _AVERAGE_MARGIN, _SHARP_MARGIN = 0.055, 0.06, 0.025


@dataclass(frozen=True, slots=True)
class SimulatedMatch:
    """One simulated match: UK local kick-off, score as it will be, prices by column prefix (none for some)."""

    league: League
    season_year: int
    kickoff: datetime
    home_team: str
    away_team: str
    score: tuple[int, int]
    prices: dict[str, tuple[float, float, float]]


class SimulatedCountry:
    """One country from its first simulated season on."""

    def __init__(self, country: Country, rng: np.random.Generator) -> None:
        self._country = country
        self._rng = rng
        # of its own, so that a bookmaker more is not another world
        (self._other_books,) = rng.spawn(1)
        self._names = club_names(country, rng)
        n_clubs = len(self._names)
        bounds = np.cumsum((0, *country.sizes))
        self._members = [np.arange(low, high) for low, high in pairwise(bounds)]
        tier = np.concatenate([np.full(size, number) for number, size in enumerate(country.sizes)])
        quality = rng.normal(0, _QUALITY_SPREAD, n_clubs) - _TIER_STEP * tier
        self._level = quality.copy()  # what the strengths return to; moves itself in summer
        self._attack = quality + rng.normal(0, 0.08, n_clubs)
        self._defence = quality + rng.normal(0, 0.08, n_clubs)

    def season(self, year: int) -> Iterator[SimulatedMatch]:
        """All matches of the season that begins in `year`; afterwards clubs go up and down."""
        tables = []
        for league, members in zip(self._country.leagues, self._members, strict=True):
            points = np.zeros(len(self._names))
            yield from self._division(league, members, year, points)
            tables.append(members[np.argsort(-points[members], kind="stable")])
        self._promote(tables)
        self._summer()

    def _division(self, league: League, members: Ints, year: int, points: Floats) -> Iterator[SimulatedMatch]:
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
    ) -> Iterator[SimulatedMatch]:
        home, away = sides
        known, final = self._chances(home, away)
        home_goals, away_goals = draw_scores(final, self._rng)
        points[home] += np.select([home_goals > away_goals, home_goals == away_goals], [3, 1])
        points[away] += np.select([away_goals > home_goals, home_goals == away_goals], [3, 1])
        books = self._books(outcome_chances(known), outcome_chances(final))
        is_priced = self._rng.random(len(home)) >= _NO_PRICES_SHARE
        for place, kickoff in enumerate(kickoffs(day, len(home), self._rng)):
            prices = {book: triples[place] for book, triples in books.items()} if is_priced[place] else {}
            yield SimulatedMatch(
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
        known = score_chances(np.exp(home_log), np.exp(away_log))
        return known, score_chances(np.exp(home_log + news[0]), np.exp(away_log + news[1]))

    def _books(self, known: Floats, final: Floats) -> dict[str, list[tuple[float, float, float]]]:
        """Prices by column prefix."""
        quotes = {
            "B365": quote(known, noise=0.05, margin=_MARGIN, rng=self._rng),
            "Avg": quote(known, noise=0.03, margin=_AVERAGE_MARGIN, rng=self._rng),
            "PSC": quote(final, noise=0.02, margin=_SHARP_MARGIN, rng=self._rng),
            "AvgC": quote(final, noise=0.02, margin=_AVERAGE_MARGIN, rng=self._rng),
            "B365C": quote(final, noise=0.03, margin=_MARGIN, rng=self._rng),
        }
        quotes |= self._others(known, final)
        return {book: [(row[0], row[1], row[2]) for row in prices.tolist()] for book, prices in quotes.items()}

    def _others(self, known: Floats, final: Floats) -> dict[str, Floats]:
        """Prices of further bookmakers, some sharper than others."""
        quotes: dict[str, Floats] = {}
        for book, noise, margin in _OTHER_BOOKS:
            quotes[book] = quote(known, noise=noise, margin=margin, rng=self._other_books)
            quotes[book + "C"] = quote(final, noise=0.6 * noise, margin=margin, rng=self._other_books)
        del quotes["PSC"]  # has its place among the others
        return quotes

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


# goals

MOST_GOALS = 10
LOW_SCORE_DEPENDENCE = -0.09  # more 0-0 and 1-1, fewer 1-0 and 0-1 than independent counts give
_COUNTS = np.arange(MOST_GOALS + 1)
_LOG_FACTORIALS = np.array([lgamma(count + 1) for count in _COUNTS])


def score_chances(home_rate: Floats, away_rate: Floats) -> Floats:
    """Probability of each score, shape (matches, home goals, away goals)."""
    chances = _poisson(home_rate)[:, :, None] * _poisson(away_rate)[:, None, :]
    rho = LOW_SCORE_DEPENDENCE
    chances[:, 0, 0] *= 1 - home_rate * away_rate * rho
    chances[:, 0, 1] *= 1 + home_rate * rho
    chances[:, 1, 0] *= 1 + away_rate * rho
    chances[:, 1, 1] *= 1 - rho
    return np.asarray(chances / chances.sum(axis=(1, 2), keepdims=True))


def _poisson(rate: Floats) -> Floats:
    return np.asarray(np.exp(_COUNTS * np.log(rate)[:, None] - rate[:, None] - _LOG_FACTORIALS))


def outcome_chances(scores: Floats) -> Floats:
    """Probability of home win, draw and away win, shape (matches, 3)."""
    home = np.tril(scores, -1).sum(axis=(1, 2))
    draw = np.trace(scores, axis1=1, axis2=2)
    return np.stack([home, draw, 1 - home - draw], axis=1)


def draw_scores(scores: Floats, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """One score for each match."""
    cumulative = scores.reshape(len(scores), -1).cumsum(axis=1)
    cells = (cumulative < rng.random((len(scores), 1))).sum(axis=1).clip(max=cumulative.shape[1] - 1)
    return np.asarray(cells // (MOST_GOALS + 1)), np.asarray(cells % (MOST_GOALS + 1))


# the calendar

_MIDWEEK_EVERY = 7
_FRIDAY, _SATURDAY, _SUNDAY = -1, 0, 1  # days from the round's own
_SLOTS = (
    (_FRIDAY, time(20)),
    (_SATURDAY, time(12, 30)),
    (_SATURDAY, time(15)),
    (_SATURDAY, time(15)),
    (_SATURDAY, time(17, 30)),
    (_SUNDAY, time(14)),
    (_SUNDAY, time(16)),
)
_MIDWEEK_SLOTS = ((0, time(19, 45)), (0, time(20)), (-1, time(19, 45)))


def pairings(size: int) -> Ints:
    """Home and away positions, shape (rounds, matches, 2): each pair once at either ground."""
    ring = list(range(size))
    half: list[list[tuple[int, int]]] = []
    for number in range(size - 1):
        pairs = [(ring[place], ring[-1 - place]) for place in range(size // 2)]
        # the fixed club would be at home in every round of a half otherwise
        half.append([pair[::-1] if number % 2 and not place else pair for place, pair in enumerate(pairs)])
        ring = [ring[0], ring[-1], *ring[1:-1]]
    return np.array([*half, *([(away, home) for home, away in pairs] for pairs in half)])


def round_days(first: date, last: date, n_rounds: int) -> list[date]:
    """One day for each round from `first` to `last`: Saturdays, and now and then the Wednesday after."""
    spacing = (last - first).days / (n_rounds - 1)
    days = []
    for number in range(n_rounds):
        day = first + timedelta(days=round(number * spacing))
        day -= timedelta(days=(day.weekday() - 5) % 7)
        days.append(day + timedelta(days=4) if number % _MIDWEEK_EVERY == _MIDWEEK_EVERY - 1 else day)
    return days


def kickoffs(day: date, n_matches: int, rng: np.random.Generator) -> list[datetime]:
    """UK local kick-off times of one round."""
    slots = _SLOTS if day.weekday() == 5 else _MIDWEEK_SLOTS
    chosen = rng.integers(0, len(slots), size=n_matches)
    return [datetime.combine(day + timedelta(days=slots[slot][0]), slots[slot][1]) for slot in chosen]


# prices

_STEPS = ((2.0, 0.02), (3.0, 0.05), (6.0, 0.1), (10.0, 0.25), (np.inf, 0.5))
_LOWEST, _HIGHEST = 1.02, 51.0


def quote(chances: Floats, *, noise: float, margin: float, rng: np.random.Generator) -> Floats:
    """Decimal prices, shape (matches, 3), for `chances` misjudged by `noise` (log scale) and shortened by `margin`."""
    seen = chances * np.exp(rng.normal(0, noise, chances.shape))
    seen /= seen.sum(axis=1, keepdims=True)
    # long shots carry more of the margin, as bookmakers' prices show
    shortened = seen + margin * (0.75 * seen + 0.25 / 3)
    return _stepped(1 / shortened)


def _stepped(prices: Floats) -> Floats:
    step = np.select([prices < below for below, _ in _STEPS], [size for _, size in _STEPS])
    return np.asarray(np.clip(np.round(prices / step) * step, _LOWEST, _HIGHEST).round(2))
