"""Dates as the publisher writes them: kick-off instants, seasons, and when prices were collected."""

import re
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

UK = ZoneInfo("Europe/London")
DEFAULT_KICKOFF = time(15)
COLLECTED_AT = time(15)  # "Friday afternoon" and "Tuesday afternoon" in the publisher's note
LATEST_COLLECTION = timedelta(hours=1)  # before kick-off, when the afternoon of collection would be too late
FRIDAY, SATURDAY, SUNDAY, MONDAY, TUESDAY = 4, 5, 6, 0, 1
_DAYS_SINCE_COLLECTION = {FRIDAY: 0, SATURDAY: 1, SUNDAY: 2, MONDAY: 3, TUESDAY: 0, 2: 1, 3: 2}
_DATE = re.compile(r"(\d{1,2})[/.-](\d{1,2})[/.-](\d{2}|\d{4})$")
_ISO_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})")
_SEASON_FOLDER = re.compile(r"(?:^|[^0-9])(\d{2})(\d{2})(?![0-9])")
_SEASON_NAME = re.compile(r"(\d{4})(?:\s*[/-]\s*(\d{4}|\d{2}))?$")


@lru_cache(maxsize=65_536)
def parse_date(text: str) -> date | None:
    """`dd/mm/yy`, `dd/mm/yyyy` or ISO; None for anything else."""
    if found := _DATE.match(text):
        day, month, year = (int(group) for group in found.groups())
        if year < 100:
            year += 2000 if year < 70 else 1900
    elif found := _ISO_DATE.match(text):
        year, month, day = (int(group) for group in found.groups())
    else:
        return None
    return _date_or_none(year, month, day)


def _date_or_none(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day) if 1880 <= year <= 2100 else None
    except ValueError:
        return None


@lru_cache(maxsize=4096)
def parse_time(text: str) -> time | None:
    """`HH:MM`; None for anything else."""
    try:
        return time.fromisoformat(text.rjust(5, "0")).replace(tzinfo=None)
    except ValueError:
        return None


@lru_cache(maxsize=65_536)
def kickoff_utc(day: date, at: time | None) -> datetime:
    """The instant of a kick-off given in UK local time; 15:00 where no time is known."""
    return datetime.combine(day, at or DEFAULT_KICKOFF, UK).astimezone(UTC)


@lru_cache(maxsize=65_536)
def collected_utc(kickoff: datetime, list_day: date | None = None) -> datetime:
    """When the pre-match price was collected: Friday or Tuesday afternoon, no later than the list's day."""
    day = kickoff.astimezone(UK).date()
    day -= timedelta(days=_DAYS_SINCE_COLLECTION[day.weekday()])
    collected = min(datetime.combine(day, COLLECTED_AT, UK).astimezone(UTC), kickoff - LATEST_COLLECTION)
    if list_day is None:
        return collected
    # a list says its day, not its hour: prices may look a few hours too old, never too fresh
    return min(collected, datetime.combine(list_day, time(0), UK).astimezone(UTC))


def _turn_of(year: int) -> date:
    # the spring of 2020 was played in July, and in Italy until 2 August
    return date(year, 8, 1) if year == 2020 else date(year, 7, 1)


def split_season(day: date, folder_year: int | None = None) -> str:
    """The season over two years, as `2024/25`: by the date; the folder's name decides only in the overlap of 2020."""
    year = day.year if day >= _turn_of(day.year) else day.year - 1
    overlap = date(2020, 7, 1) <= day <= date(2020, 8, 10)
    if overlap and folder_year in {2019, 2020}:
        year = folder_year
    return f"{year}/{(year + 1) % 100:02d}"


def folder_year(name: str) -> int | None:
    """The year in which the season of a name such as `2425` or `E0_2425.csv` begins."""
    for first, second in _SEASON_FOLDER.findall(name):
        if (int(first) + 1) % 100 == int(second):
            return int(first) + (2000 if int(first) < 70 else 1900)
    return None


def named_season(name: str) -> str | None:
    """A season as the extra leagues write it (`2012/2013`, `2024`), in our form (`2012/13`, `2024`)."""
    found = _SEASON_NAME.match(name)
    if found is None:
        return None
    first, second = found.groups()
    return f"{first}/{second[-2:]}" if second else first


def iso_date_in(name: str) -> date | None:
    """The date in a file's name such as `fixtures_2026-08-20.csv.gz`."""
    found = _ISO_DATE.search(name)
    return _date_or_none(*(int(group) for group in found.groups())) if found else None
