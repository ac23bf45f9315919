"""Read dates, times and seasons as files write them, and say when prices were collected."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta, timezone
from functools import lru_cache
from zoneinfo import ZoneInfo

UK = ZoneInfo("Europe/London")
DEFAULT_KICKOFF = time(15)
COLLECTED_AT = time(15)  # "Friday afternoon" and "Tuesday afternoon" in the publisher's note
LATEST_COLLECTION = timedelta(hours=1)  # before kick-off, when the afternoon of collection would be too late
FRIDAY, SATURDAY, SUNDAY, MONDAY, TUESDAY = 4, 5, 6, 0, 1
_DAYS_SINCE_COLLECTION = {FRIDAY: 0, SATURDAY: 1, SUNDAY: 2, MONDAY: 3, TUESDAY: 0, 2: 1, 3: 2}
_WEEKDAY = re.compile(r"\A[^\W\d_]{2,12}\.?,?\s+(?=\d)")
_NUMBERS = re.compile(r"(\d{1,2})[/.-]\s?(\d{1,2})[/.-]\s?(\d{4}|\d{2})\.?$")
_ISO_DATE = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})$")
_ISO_WITHIN = re.compile(r"(\d{4})-(\d{2})-(\d{2})")
_COMPACT_DATE = re.compile(r"((?:19|20)\d\d)(\d\d)(\d\d)$")
_DAY_AND_MONTH = re.compile(
    r"(\d{1,2})(?:st|nd|rd|th|\.)?(?:\s+de)?[ -]\s*([^\W\d_]+)\.?,?(?:\s+de)?[ -](\d{4}|\d{2})$"
)
_MONTH_AND_DAY = re.compile(r"(?:[^\W\d_]+,\s+)?([^\W\d_]+)\.? (\d{1,2})(?:st|nd|rd|th)?,? (\d{4})$")
_SERIAL = re.compile(r"(\d{5})(?:\.0)?$")
_FIRST_SERIAL, _SERIALS = date(1899, 12, 30), range(20_000, 73_000)  # days of spreadsheets: 1954 to 2099
# whole words: the first letters of a month are another month's elsewhere (marraskuu is November)
_MONTHS = {
    word: month
    for month, words in enumerate(
        (
            "jan january januar januari janvier enero ene gennaio gen janeiro",
            "feb february februar februari février fév febrero febbraio fevereiro fev",
            "mar march märz mrz maart mrt mars marzo março",
            "apr april avril avr abril abr aprile",
            "may mai mei maj mayo maggio mag maio",
            "jun june juni juin junio giugno giu junho",
            "jul july juli juillet juil julio luglio lug julho",
            "aug august augustus augusti août agosto ago",
            "sep sept september septembre septiembre settembre set setembro",
            "oct october oktober okt octobre octubre ottobre ott outubro out",
            "nov november novembre noviembre novembro",
            "dec december dezember dez décembre déc diciembre dic dicembre dezembro",
        ),
        1,
    )
    for word in words.split()
}
_DAY_AND_CLOCK = re.compile(
    r"(.*\d[./-]?)(?: |(?<=\d)T)(\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?\s*(?:[AaPp]\.?[Mm]\.?)?\s*(?:Z|[+-]\d\d:?\d\d)?)$"
)
_SERIAL_AND_CLOCK = re.compile(r"(\d{5})(\.\d+)$")
_MIDNIGHT = re.compile(r"0?0:00(:00(\.0+)?)?")
_CLOCK = re.compile(
    r"(\d{1,2})[:.hHuU](\d{2})(?::\d\d(?:\.\d+)?)?\s*(?:([AaPp]\.?[Mm]\.?)|[hH]|[hH]rs|[Uu]hr)?"
    r"\s*(Z|UTC|(?:UTC|GMT)?[+-]\d{1,2}(?::?\d\d)?)?$"
)
_SHORT_CLOCK = re.compile(r"(\d{1,2})\s*(?:[hH]|[Uu]hr|([AaPp])\.?[Mm]\.?)$")
_DIGITS = re.compile(r"(\d{1,2})(\d{2})(?:\.0)?$")
_DAY_FRACTION = re.compile(r"0?[.,]\d{2,}$")
_SEASON_FOLDER = re.compile(r"(?:^|[^0-9])(\d{2})(\d{2})(?![0-9])")
_SEASON_YEARS = re.compile(r"(?<!\d)(\d{4}|\d{2})(?:\s*[/._–—-]\s*(\d{4}|\d{1,2}))?(?!\d)")
_MINORITY = 0.05  # of a file's dates: so many may be slips of the pen under an order that the others prove

_LONGEST_SEASON = timedelta(days=400)
_FEWEST_DAYS = 3  # of a file that may have two-digit years in front
_STALE = timedelta(days=7)  # how long after their day fixtures still make sense without a result

DateOrder = str  # "dmy", "mdy" or "ymd"; dates that begin with a year of four digits have one reading
Reading = tuple[time | None, timezone | None]


@lru_cache(maxsize=65_536)
def parse_date(text: str, order: DateOrder = "dmy") -> date | None:
    """Return the day of a text, which may have a weekday before it and a time of day behind it, or None.

    Read are `dd/mm/yy`, `dd/mm/yyyy` (or in another order), ISO, `20240816`, `16 Aug 2024`, `Aug 16, 2024` and the
    number of the day that spreadsheets write.
    """
    whole = split_clock(text)[0]
    text = _WEEKDAY.sub("", whole, count=1)
    if numbers := _NUMBERS.match(text):
        first, second, third = numbers.groups()
        if order == "ymd":
            return _date_or_none(_full_year(first), int(second), int(third)) if len(third) == 2 else None
        day, month = (first, second) if order == "dmy" else (second, first)
        return _date_or_none(_full_year(third), int(month), int(day))
    if iso := _ISO_DATE.match(text) or _COMPACT_DATE.match(text):
        year, month, day = (int(group) for group in iso.groups())
        return _date_or_none(year, month, day)
    if serial := _SERIAL.match(text):
        number = int(serial[1])
        return _FIRST_SERIAL + timedelta(days=number) if number in _SERIALS else None
    return _parse_month_name(whole) or _parse_month_name(text)


def _parse_month_name(text: str) -> date | None:
    if named := _DAY_AND_MONTH.match(text):
        day, month, year = named.groups()
    elif named := _MONTH_AND_DAY.match(text):
        month, day, year = named.groups()
    else:
        return None
    return _date_or_none(_full_year(year), _MONTHS.get(month.lower(), 0), int(day))


@lru_cache(maxsize=65_536)
def split_clock(text: str) -> tuple[str, str]:
    """Return the day and the time of day of a cell that holds both; no time where it holds one."""
    if ":" in text or "." in text:
        both = _DAY_AND_CLOCK.match(text) or _SERIAL_AND_CLOCK.match(text)
        if both:
            return both[1].strip(), "" if both[2].strip("0") == "." else both[2]
    return text, ""


def is_midnight(clock: str) -> bool:
    """Whether a time of day begins with 00:00: of a column where all do, it is none."""
    return _MIDNIGHT.match(clock) is not None


def _full_year(text: str) -> int:
    year = int(text)
    return year if len(text) == 4 else year + (2000 if year < 70 else 1900)


def _date_or_none(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day) if 1880 <= year <= 2100 else None
    except ValueError:
        return None


def judge_dates(
    texts: Iterable[str], season_year: int | None, played: Collection[str] = (), today: date = date.max
) -> tuple[Mapping[str, date | None], frozenset[str], DateOrder]:
    """Return each text's day, the texts that stay ambiguous, and the order, decided once from all of them.

    Day first is the publisher's order. Month first is taken when only it reads every date, or when only it keeps the
    dates inside the season, or those of the rows that were `played` in the past. Where both orders are proved by some
    dates, those that either would read are ambiguous; so are all of a list that is old in the one and coming in the
    other. Years of two digits in front are told by the days: they change more often.
    """
    counts = Counter(texts)
    readings = {text: (parse_date(text, "dmy"), parse_date(text, "mdy")) for text in counts}
    if _has_year_first(readings, season_year):
        return {text: parse_date(text, "ymd") or parse_date(text) for text in counts}, frozenset(), "ymd"
    only_dmy = sum(counts[text] for text, (dmy, mdy) in readings.items() if dmy and not mdy)
    only_mdy = sum(counts[text] for text, (dmy, mdy) in readings.items() if mdy and not dmy)
    either = {text for text, (dmy, mdy) in readings.items() if dmy and mdy and dmy != mdy}
    order, is_mixed = "mdy" if only_mdy > only_dmy else "dmy", False
    if only_dmy == only_mdy == 0 and either:
        order = _order_in_time([readings[text] for text in either], season_year)
        if order == "dmy":
            order, is_mixed = _order_by_now({text: readings[text] for text in either}, played, today)
    place = 0 if order == "dmy" else 1
    days = {text: pair[place] for text, pair in readings.items()}
    is_mixed = is_mixed or min(only_dmy, only_mdy) > _MINORITY * (only_dmy + only_mdy)
    return days, frozenset(either if is_mixed else ()), order


Pair = tuple[date | None, date | None]  # a text read day first and month first


def _order_in_time(pairs: Iterable[Pair], season_year: int | None) -> DateOrder:
    if season_year is None:
        return "dmy"
    outside = [sum(1 for pair in pairs if not _is_in_season(pair[k], season_year)) for k in (0, 1)]
    return "mdy" if outside[1] < outside[0] else "dmy"


def _order_by_now(readings: Mapping[str, Pair], played: Collection[str], today: date) -> tuple[DateOrder, bool]:
    """Return the order of dates that either would read, by what cannot be: results to come, and fixtures of old."""
    pairs = [(dmy, mdy) for dmy, mdy in readings.values() if dmy and mdy]
    results = [(dmy, mdy) for text, (dmy, mdy) in readings.items() if dmy and mdy and text in played]
    if any(dmy > today for dmy, _ in results) and not any(mdy > today for _, mdy in results):
        return "mdy", False
    is_old = not results and all(dmy + _STALE < today for dmy, _ in pairs)
    return "dmy", is_old and all(today - _STALE <= mdy for _, mdy in pairs)


def _has_year_first(readings: Mapping[str, Pair], season_year: int | None) -> bool:
    """Whether the dates of a file begin with a year of two digits."""
    numbers = [found.groups() for text in readings if (found := _NUMBERS.match(text))]
    if len(numbers) < _FEWEST_DAYS or any(len(each[2]) > 2 for each in numbers):
        return False
    years = [parse_date("/".join(each), "ymd") for each in numbers]
    known = [day for day in years if day is not None]
    if len(known) < len(numbers):
        return False
    days = [dmy for dmy, _ in readings.values() if dmy is not None]
    if season_year is not None:
        return all(is_in_season(day, season_year) for day in known) and not any(
            is_in_season(day, season_year) for day in days
        )
    is_wide = not days or max(days) - min(days) > _LONGEST_SEASON
    return is_wide and len({each[2] for each in numbers}) > 2 * len({each[0] for each in numbers})


def _is_in_season(day: date | None, season_year: int) -> bool:
    return day is not None and is_in_season(day, season_year)


def is_in_season(day: date, season_year: int) -> bool:
    """Whether a day can belong to the season over two years that begins in `season_year`."""
    return date(season_year, 6, 15) <= day <= date(season_year + 1, 8, 31)


@lru_cache(maxsize=4096)
def parse_time(text: str) -> Reading:
    """Return a time of day, with its offset from UTC where it says one; (None, None) for what is no time.

    Read are 20:00, 20.00, 20h00, 20:00 Uhr, 8:00 PM, 8pm, 2000, 20:00+02:00, 20:00 UTC+2 and the fraction of a day that
    spreadsheets write.
    """
    if clock := _CLOCK.match(text):
        return _time_or_none(int(clock[1]), int(clock[2]), clock[3]), _offset(clock[4])
    if short := _SHORT_CLOCK.match(text):
        return _time_or_none(int(short[1]), 0, short[2]), None
    if len(text) >= 3 and (digits := _DIGITS.match(text)):
        return _time_or_none(int(digits[1]), int(digits[2]), None), None
    if _DAY_FRACTION.match(text):
        minutes = round(float(text.replace(",", ".")) * 24 * 60)
        return _time_or_none(minutes // 60, minutes % 60, None), None
    return None, None


def _time_or_none(hour: int, minute: int, half: str | None) -> time | None:
    if half:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half[0] in "pP" else 0)
    return time(hour, minute) if hour < 24 and minute < 60 else None


def _offset(text: str | None) -> timezone | None:
    if not text:
        return None
    if text in {"Z", "UTC"}:
        return UTC
    sign, digits = text.lstrip("UTCGM")[0], text.lstrip("UTCGM")[1:].replace(":", "")
    hours, minutes = (int(digits[:-2]), int(digits[-2:])) if len(digits) > 2 else (int(digits), 0)
    span = timedelta(hours=hours, minutes=minutes)
    return timezone(-span if sign == "-" else span) if span < timedelta(hours=24) else None


@lru_cache(maxsize=65_536)
def kickoff_utc(day: date, at: time | None, offset: timezone | None = None) -> datetime:
    """Return the instant of a kick-off given in UK local time or with an offset; 15:00 UK where no time is known."""
    return datetime.combine(day, at or DEFAULT_KICKOFF, UK if offset is None else offset).astimezone(UTC)


@lru_cache(maxsize=65_536)
def collected_utc(kickoff: datetime, list_day: date | None = None) -> datetime:
    """Return when the pre-match price was collected: Friday or Tuesday afternoon, no later than the list's day."""
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


@lru_cache(maxsize=65_536)
def split_season(day: date, folder_year: int | None = None) -> str:
    """Return the season over two years, as `2024/25`, by the date; the folder's name decides in the overlap of 2020."""
    year = day.year if day >= _turn_of(day.year) else day.year - 1
    overlap = date(2020, 7, 1) <= day <= date(2020, 8, 10)
    if overlap and folder_year in {2019, 2020}:
        year = folder_year
    return f"{year}/{(year + 1) % 100:02d}"


def folder_year(name: str) -> int | None:
    """Return the year in which the season of a name such as `2425` or `E0_2425.csv` begins."""
    for first, second in _SEASON_FOLDER.findall(name):
        if (int(first) + 1) % 100 == int(second):
            return _full_year(first)
    return None


@lru_cache(maxsize=4096)
def parse_season(text: str, day: date) -> str | None:
    """Return a season of any spelling in our form (`2012/13`, `2024`), or None.

    Read are 2012/2013, 2024, 24/25, 2024–25, and Apertura or Clausura: halves of a season over two years where the one
    is played from July and the other until June, of a calendar year otherwise.
    """
    years = _SEASON_YEARS.findall(text)
    if len(years) != 1:
        return None
    first, second = years[0]
    if not second and len(first) == 2:
        return None
    year = _full_year(first)
    if second:
        end = second[-2:] if len(second) > 1 else first[-2] + second
        return f"{year}/{end}" if (year + 1) % 100 == int(end) else None
    lower = text.lower()
    if "apertura" in lower and day.month >= 7:
        return f"{year}/{(year + 1) % 100:02d}"
    if "clausura" in lower and day.month <= 6:
        return f"{year - 1}/{year % 100:02d}"
    return _season_in_digits(first, day) or str(year)


def _season_in_digits(digits: str, day: date) -> str | None:
    """Return the season of `2425`, as folders are named, when the four digits are no year that fits the day."""
    start, end = _full_year(digits[:2]), int(digits[2:])
    if (start + 1) % 100 != end or is_in_named_season(day, digits):
        return None
    season = f"{start}/{end:02d}"
    return season if is_in_named_season(day, season) else None


@lru_cache(maxsize=65_536)
def is_in_named_season(day: date, season: str) -> bool:
    """Whether a day can belong to a season in our form; its last play-off may be played far in the next one."""
    year = int(season[:4])
    if "/" in season:
        return date(year, 5, 1) <= day <= date(year + 2, 2, 28)
    return date(year - 1, 11, 1) <= day <= date(year + 1, 8, 31)


def iso_date_in(name: str) -> date | None:
    """Return the date in a file's name such as `fixtures_2026-08-20.csv.gz`."""
    iso = _ISO_WITHIN.search(name)
    return _date_or_none(*(int(group) for group in iso.groups())) if iso else None
