"""Numbers, days and ages as the page writes them; `assets/format.js` has the same for what the browser draws."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import ROUND_HALF_UP, Decimal

DASH = "–"
SIGNS = ("1", "X", "2")
MINUTE_S, HOUR_S, DAY_S = 60.0, 3600.0, 86_400.0
_AMERICAN = frozenset({"US", "PH"})
_WORDS = {0: "Today", 1: "Tomorrow", -1: "Yesterday"}


def _round(value: float, digits: int, *, scale: int = 1) -> Decimal:
    """Round half away from zero, as browsers do; Python's format rounds half to even."""
    return (Decimal(value) * scale).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)


def _signed(rounded: Decimal) -> str:
    return f"{'+' if rounded > 0 else '−' if rounded < 0 else ''}{abs(rounded):,}"


def count(value: int) -> str:
    """Return a whole number, "1,234"."""
    return f"{value:,}"


def probability(value: float) -> str:
    """Return a probability without decimals, "49%"."""
    return f"{_round(value, 0, scale=100)}%"


def share(value: float) -> str:
    """Return a share with one decimal, "48.6%"."""
    return f"{_round(value, 1, scale=100):,}%"


def edge(value: float) -> str:
    """Return an edge with its sign, "+15.4%"."""
    return f"{_signed(_round(value, 1, scale=100))}%"


def percent(value: float) -> str:
    """Return a signed number of percent, "−5.0%"."""
    return f"{_signed(_round(value, 1))}%"


def units(value: float, digits: int = 1) -> str:
    """Return an amount of stakes, "−234.7 u"."""
    return f"{_signed(_round(value, digits))}\u202fu"


def odds(value: float) -> str:
    """Return decimal odds, "2.01"."""
    return f"{_round(value, 2):,}"


def loss(value: float) -> str:
    """Return a score, "0.9904"."""
    return f"{_round(value, 4)}"


def decimal(value: float) -> str:
    """Return a number with one decimal."""
    return f"{_round(value, 1):,}"


def heat(value: float) -> str:
    """Return the opacity of the shade of a probability."""
    return f"{_round(0.03 + 0.57 * min(max((value - 0.08) / 0.84, 0.0), 1.0), 3)}"


def duration(seconds: float) -> str:
    """Return a span in its largest fitting unit."""
    span = abs(seconds)
    if span < MINUTE_S:
        return "less than a minute"
    if span < 90 * MINUTE_S:
        return f"{_round(span / MINUTE_S, 0)} min"
    if span < 48 * HOUR_S:
        return f"{_round(span / HOUR_S, 0)} h"
    return f"{_round(span / DAY_S, 0)} d"


def ago(then: datetime, now: datetime) -> str:
    """Return how long ago an instant was."""
    seconds = (now - then).total_seconds()
    return "just now" if seconds < MINUTE_S else f"{duration(seconds)} ago"


@dataclass(frozen=True, slots=True)
class Locale:
    """Days and clock as English readers of a region write them: the month first and 12 hours, or neither."""

    is_american: bool = False

    @classmethod
    def from_header(cls, accept_language: str) -> "Locale":
        """Return the locale of the first language in an Accept-Language header."""
        language, *subtags = accept_language.split(",", maxsplit=1)[0].split(";", maxsplit=1)[0].strip().split("-")
        regions = [tag.upper() for tag in subtags if len(tag) == 2]
        return cls(regions[0] in _AMERICAN if regions else language.lower() == "en")

    def day(self, value: date) -> str:
        """Return a day with its year, "1 Dec 2026"."""
        if self.is_american:
            return f"{value:%b} {value.day}, {value.year}"
        return f"{value.day} {_month(value)} {value.year}"

    def short_day(self, value: date, today: date) -> str:
        """Return a day with its weekday, "Tue 1 Dec"; with the year where it is another one."""
        if self.is_american:
            return f"{value:%a, %b} {value.day}" + ("" if value.year == today.year else f", {value.year}")
        return f"{value:%a} {value.day} {_month(value)}" + ("" if value.year == today.year else f" {value.year}")

    def day_title(self, value: date, today: date) -> tuple[str, str]:
        """Return "Today" and "Mon 23 Nov", or "Sat 29 Aug" and "86 days ago"."""
        days, name = (value - today).days, self.short_day(value, today)
        if days in _WORDS:
            return _WORDS[days], name
        return name, f"in {days} days" if days > 0 else f"{-days} days ago"

    def time(self, value: datetime) -> str:
        """Return a time of the day, "19:45"."""
        return f"{value.hour % 12 or 12}:{value:%M %p}" if self.is_american else f"{value:%H:%M}"


def _month(value: date) -> str:
    return "Sept" if value.month == 9 else f"{value:%b}"  # as British English has it


def local_day(ms: int, *, is_timed: bool, zone: tzinfo) -> date:
    """Return the day of a kick-off; without a time it is the published day, whatever the time zone."""
    return at(ms).astimezone(zone if is_timed else UTC).date()


def at(ms: int) -> datetime:
    """Return the instant of epoch milliseconds."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)


def join(parts: Sequence[str | None], separator: str = " · ") -> str:
    """Return the parts that are there in one line."""
    return separator.join(part for part in parts if part)
