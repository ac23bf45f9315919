"""Elo ratings of every team before each match, in one pass over the whole history.

A played match teaches twice: by its closing price, which holds more about strength than one score does, and by how far
the score differed from that. Where no price is known the score teaches alone. Every region is a pool of its own.
Matches of one (UTC) day do not see each other; a price is learnt only after its match was played.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import exp, log10

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from app.domain.outcomes import OUTCOMES as SIDES

Floats = npt.NDArray[np.float64]

# sharpest first: closing prices know more than those of days before
_PRICES = ("psc", "avgc", "b365c", "avg", "b365")
_START = 1500.0
# a division younger than this has no newcomers, only founders
_FOUNDING_MATCHES = 100
_LONGEST_STEP = 0.9


@dataclass(frozen=True, slots=True)
class EloParameters:
    """How fast and from what ratings learn; tuned on the seasons before the hold-out."""

    k_alone: float = 5.0  # points for a surprise, no price known
    k_priced: float = 2.75  # points for a surprise beyond the price
    margin_power: float = 1.1  # weight of a win by g goals: (1+g)^power
    price_step: float = 0.086  # share of the distance to the price's rating that each team walks
    price_season_boost: float = 3.6  # ... so much more at the start of a season
    price_new_boost: float = 0.42  # ... and for a team seen for the first time
    k_season_boost: float = 0.24
    k_new_boost: float = 3.6
    season_fade: float = 65.0  # matches after which a season's boost has faded to 1/e
    new_fade: float = 4.5
    season_regression: float = 0.16  # share of the way back to the division's mean between seasons
    move_regression: float = 0.11  # further share when the team changes division
    newcomer_gap: float = 71.0  # points below the division's mean where unknown teams start
    tier_gap: float = 148.0  # points between neighbouring tiers at the beginning
    home_advantage: float = 63.0
    home_rate_priced: float = 0.0095
    home_rate_alone: float = 0.01
    team_home_rate_priced: float = 0.003
    team_home_rate_alone: float = 0.062
    team_home_memory: float = 0.38  # what is left of a team's own home strength in the next season
    mean_rate: float = 0.0015


class _Division:
    """What is common to a division: its home advantage and its mean rating."""

    __slots__ = ("home_advantage", "matches", "mean")

    def __init__(self, tier: int, parameters: EloParameters) -> None:
        self.home_advantage = parameters.home_advantage
        self.mean = _START - parameters.tier_gap * (tier - 1)
        self.matches = 0


class _Team:
    """A team's strength: `rating`, and `home_edge`, by which it is better at home and worse away than others."""

    __slots__ = ("division", "home_edge", "matches", "rating", "season", "season_matches")

    def __init__(self, division: _Division, season: object, parameters: EloParameters) -> None:
        newcomer = division.matches > _FOUNDING_MATCHES
        self.rating = division.mean - (parameters.newcomer_gap if newcomer else 0.0)
        self.home_edge = 0.0
        self.division = division
        self.season = season
        self.matches = 0
        self.season_matches = 0

    def enter(self, division: _Division, season: object, parameters: EloParameters) -> None:
        """Begin a new season: back towards the division's mean, further when it is a new division."""
        pull = parameters.season_regression
        if division is not self.division:
            pull += parameters.move_regression * (1.0 - pull)
        self.rating += pull * (division.mean - self.rating)
        self.home_edge *= parameters.team_home_memory
        self.division, self.season, self.season_matches = division, season, 0


@dataclass(frozen=True, slots=True)
class _Meeting:
    """One match as the ratings see it."""

    index: int
    home: _Team
    away: _Team
    division: _Division
    advantage: float  # of the home team before kick-off, in points


class _Pool:
    """All teams and divisions, and the rules by which they change."""

    def __init__(self, parameters: EloParameters) -> None:
        self._parameters = parameters
        self._teams: dict[tuple[str, str], _Team] = {}
        self._divisions: dict[str, _Division] = {}

    def division(self, name: str, tier: int) -> _Division:
        """The division's state; made when it first appears."""
        division = self._divisions.get(name)
        if division is None:
            division = self._divisions[name] = _Division(tier, self._parameters)
        return division

    def team(self, key: tuple[str, str], division: _Division, season: object) -> _Team:
        """The team's state, made or moved to the new season when needed."""
        team = self._teams.get(key)
        if team is None:
            team = self._teams[key] = _Team(division, season, self._parameters)
        elif team.season != season:
            team.enter(division, season, self._parameters)
        return team

    def learn(self, meeting: _Meeting, goal_difference: float, price: float) -> None:
        """Move both teams and their division by what the match has shown; `price` is NaN when unknown."""
        parameters = self._parameters
        home, away = meeting.home, meeting.away
        if price == price:  # noqa: PLR0124 - the quick way to say "not NaN" in a loop of 265,000
            self._learn_price(meeting, points(price) - meeting.advantage)
            expected, k = price, parameters.k_priced
            home_rate, edge_rate = 0.0, 0.0
        else:
            expected, k = expectation(meeting.advantage), parameters.k_alone
            home_rate, edge_rate = parameters.home_rate_alone, parameters.team_home_rate_alone
        score = 1.0 if goal_difference > 0 else 0.0 if goal_difference < 0 else 0.5
        surprise = (score - expected) * (1.0 + abs(goal_difference)) ** parameters.margin_power
        step = k * surprise
        home.rating += step * self._boost(home, parameters.k_new_boost, parameters.k_season_boost)
        away.rating -= step * self._boost(away, parameters.k_new_boost, parameters.k_season_boost)
        meeting.division.home_advantage += home_rate * surprise
        home.home_edge += edge_rate * step
        away.home_edge += edge_rate * step
        self._count(meeting)

    def _learn_price(self, meeting: _Meeting, distance: float) -> None:
        parameters = self._parameters
        for team, sign in ((meeting.home, 1.0), (meeting.away, -1.0)):
            boost = self._boost(team, parameters.price_new_boost, parameters.price_season_boost)
            team.rating += sign * min(parameters.price_step * boost, _LONGEST_STEP) * distance
            team.home_edge += parameters.team_home_rate_priced * distance
        meeting.division.home_advantage += parameters.home_rate_priced * distance

    def _boost(self, team: _Team, new: float, season: float) -> float:
        fades = self._parameters
        return 1.0 + new * exp(-team.matches / fades.new_fade) + season * exp(-team.season_matches / fades.season_fade)

    def _count(self, meeting: _Meeting) -> None:
        for team in (meeting.home, meeting.away):
            team.matches += 1
            team.season_matches += 1
        division = meeting.division
        division.matches += 1
        middle = (meeting.home.rating + meeting.away.rating) / 2.0
        division.mean += self._parameters.mean_rate * (middle - division.mean)


def expectation(advantage: float) -> float:
    """Expected score (1 win, 0.5 draw, 0 loss) of the team ahead by `advantage` points."""
    return float(1.0 / (1.0 + 10.0 ** (-advantage / 400.0)))


def points(expected: float) -> float:
    """The advantage in points that gives the expected score: the inverse of `expectation`."""
    return 400.0 * log10(expected / (1.0 - expected))


def expectation_of_price(matches: pa.Table) -> Floats:
    """The home team's expected score by the sharpest price known of each match, margin taken out; NaN without one."""
    expectations = np.full(matches.num_rows, np.nan)
    for name in _PRICES:
        inverse = 1.0 / np.stack([_numbers(matches, f"{name}_{side}") for side in SIDES], axis=1)
        expected = (inverse[:, 0] + inverse[:, 1] / 2.0) / inverse.sum(axis=1)
        expectations = np.where(np.isnan(expectations), expected, expectations)
    return expectations


def compute_ratings(matches: pa.Table, parameters: EloParameters | None = None) -> Floats:
    """Ratings before each match, shape (n, 3): home, away, and home's advantage over away incl. home advantage.

    `matches` is the matches table, ordered by kick-off.
    """
    pool = _Pool(parameters or EloParameters())
    ratings = np.empty((matches.num_rows, 3))
    score = _numbers(matches, "home_score") - _numbers(matches, "away_score")
    score[~np.asarray(pc.equal(matches["status"], "finished"))] = np.nan
    scores, prices = score.tolist(), expectation_of_price(matches).tolist()
    neutral = matches["is_neutral"].to_pylist() if "is_neutral" in matches.column_names else [False] * len(scores)
    for day in _days(matches):
        meetings = [_meet(pool, match, ratings, is_neutral=neutral[match[0]]) for match in day]
        for meeting in meetings:
            if scores[meeting.index] == scores[meeting.index]:
                pool.learn(meeting, scores[meeting.index], prices[meeting.index])
    return ratings


_Match = tuple[int, str, str, int, str, str, str]


def _meet(pool: _Pool, match: _Match, ratings: Floats, *, is_neutral: bool) -> _Meeting:
    """Note the ratings with which two teams meet; on neutral ground nobody is at home."""
    index, region, division_name, tier, season, home_name, away_name = match
    division = pool.division(division_name, tier)
    home = pool.team((region, home_name), division, season)
    away = pool.team((region, away_name), division, season)
    at_home = 0.0 if is_neutral else 1.0
    home_rating, away_rating = home.rating + at_home * home.home_edge, away.rating - at_home * away.home_edge
    advantage = home_rating - away_rating + at_home * division.home_advantage
    ratings[index] = home_rating, away_rating, advantage
    return _Meeting(index, home, away, division, advantage)


def _days(matches: pa.Table) -> Iterator[list[_Match]]:
    """The matches day by day (UTC): results of a day are known only on the next."""
    columns = ("region", "division", "tier", "season", "home_team", "away_team")
    rows = list(zip(range(matches.num_rows), *(matches[name].to_pylist() for name in columns), strict=True))
    days = np.asarray(matches["kickoff_utc"].cast(pa.timestamp("us")), dtype="datetime64[D]")
    for part in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(days)) + 1):
        yield [rows[i] for i in part.tolist()]


def _numbers(matches: pa.Table, name: str) -> Floats:
    return np.asarray(matches[name].cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
