"""Who meets whom and when: double round robins on weekends, some rounds in midweek."""

from datetime import date, datetime, time, timedelta

import numpy as np

from worker.batch.goals import Ints

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
