"""The filters of a session, their form in the URL, and the query they make for the API."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from urllib.parse import parse_qsl, urlencode
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import param

from app.domain.vocabulary import Staking

ANY = ""
MAX_NAMES = 20  # regions or tournaments in one request, as the API allows
STATUSES = (
    "upcoming",
    "live",
    "awaiting_result",
    "finished",
    "postponed",
    "cancelled",
    "abandoned",
    "awarded",
    "all",
)
# upcoming matches without a result after their kick-off are still shown, in a group of their own
API_STATUSES: Mapping[str, tuple[str, ...] | None] = {"all": None, "upcoming": ("awaiting_result", "upcoming")}
SORTS = ("time", "-time", "edge")
VIEWS = ("matches", "value", "performance", "operations")

# days from the start of today in the viewer's time zone: first (included), last (excluded); None is open
PERIODS: Mapping[str, tuple[int | None, int | None]] = {
    "all": (None, None),
    "today": (0, 1),
    "tomorrow": (1, 2),
    "next3": (0, 3),
    "next7": (0, 7),
    "yesterday": (-1, 0),
    "last7": (-6, 1),
    "last30": (-29, 1),
    "last90": (-89, 1),
    "last365": (-364, 1),
}
FUTURE = frozenset({"tomorrow", "next3", "next7"})
MAX_FIELDS = 100  # of a URL
Params = dict[str, str | tuple[str, ...]]  # of the API; a tuple stands for a repeated parameter


class Filters(param.Parameterized):
    """The filters of one session; every parameter has a name in the URL."""

    status = param.Selector(default="upcoming", objects=list(STATUSES))
    period = param.Selector(default="all", objects=list(PERIODS))
    region = param.List(default=[], item_type=str, bounds=(0, MAX_NAMES))
    tournament = param.List(default=[], item_type=str, bounds=(0, MAX_NAMES))
    q = param.String(default=ANY)
    edge = param.Integer(default=None, bounds=(-100, 100), allow_None=True, doc="min edge, %")
    rroi = param.Integer(default=None, bounds=(-100, 1000), allow_None=True, doc="min region ROI, %")
    value = param.Boolean(default=False, doc="value bets only")
    sort = param.Selector(default="time", objects=list(SORTS))
    stake = param.Selector(default="flat", objects=[staking.value for staking in Staking])
    view = param.Selector(default="matches", objects=list(VIEWS))

    NAMES = ("status", "period", "region", "tournament", "q", "edge", "rroi", "value", "sort", "stake", "view")
    LISTS = frozenset({"region", "tournament"})  # in the URL once for each value
    KEPT_ON_RESET = frozenset({"stake", "view"})  # ways of looking, which a reset of the filters leaves

    def values(self) -> dict[str, Any]:
        """Return the values by name."""
        return {name: getattr(self, name) for name in self.NAMES}

    def to_url(self) -> str:
        """Return the query of the URL without the defaults."""
        changed = {n: v for n, v in self.values().items() if v != self.param[n].default}
        return urlencode({n: int(v) if isinstance(v, bool) else v for n, v in changed.items()}, doseq=True)

    def read_url(self, query: str) -> None:
        """Set every value from the query of a URL; a missing or wrong one gets its default."""
        url_values: dict[str, Any] = {}
        for name, value in parse_qsl(query.removeprefix("?"), max_num_fields=MAX_FIELDS):
            url_values[name] = [*url_values.get(name, []), value] if name in self.LISTS else value
        self.param.update(**self._defaults())
        self.change({name: url_values[name] for name in self.NAMES if name in url_values})

    def _defaults(self) -> dict[str, Any]:
        return {name: [] if name in self.LISTS else self.param[name].default for name in self.NAMES}

    def reset(self) -> None:
        """Set the defaults; the view stays."""
        self.param.update(**{n: v for n, v in self._defaults().items() if n not in self.KEPT_ON_RESET})

    def change(self, patch: Mapping[str, Any]) -> None:
        """Set the valid values of a patch, and the filters that depend on them."""
        values = {n: self._parse(n, v) for n, v in patch.items() if n in self.NAMES}
        possible = {n: v for n, v in values.items() if self._is_possible(n, v)}
        self.param.update(**(possible | self._dependent_values(possible)))

    def _dependent_values(self, patch: Mapping[str, Any]) -> dict[str, Any]:
        steps: dict[str, Any] = {}
        if "region" in patch and "tournament" not in patch and patch["region"] != self.region:
            steps["tournament"] = []
        status, period = patch.get("status", self.status), patch.get("period", self.period)
        if status == "finished" and period in FUTURE:
            # finished matches of the future are none: what was touched last wins
            steps |= {"status": "upcoming"} if "period" in patch else {"period": "all"}
        return steps

    def _parse(self, name: str, value: Any) -> Any:
        if name in {"edge", "rroi"}:
            return _parse_integer(value)
        if name in self.LISTS:
            values = [value] if isinstance(value, str) else list(value or ())
            return sorted({text for each in values if (text := str(each).strip()[:100])})
        if name == "value":
            return value in (True, 1, "1", "true")
        return str(value).strip()[:100]

    def _is_possible(self, name: str, value: Any) -> bool:
        try:
            self.param[name]._validate(value)
        except ValueError:
            return False
        return True

    # --- the query of the API ------------------------------------------------------------------------------

    def api_params(self, *, now: datetime, zone: tzinfo) -> Params:
        """Return the query parameters of the API; days begin in the time zone of the viewer."""
        first, last = PERIODS[self.period]
        params = {
            "status": API_STATUSES.get(self.status, (self.status,)),
            "region": tuple(self.region) or None,
            "tournament": tuple(self.tournament) or None,
            "q": self.q or None,
            "from": _day_start(now, zone, first),
            "to": _day_start(now, zone, last),
            "min_edge": None if self.edge is None else f"{self.edge / 100:g}",
            "min_region_roi": None if self.rroi is None else str(self.rroi),
            "value": "true" if self.value else None,
        }
        return {name: value for name, value in params.items() if value is not None}

    def api_sort(self) -> str:
        """Return the sort of the API: upcoming matches soonest first, others newest first."""
        if self.sort == "edge":
            return "-edge"
        soonest = (self.status in {"upcoming", "live"}) == (self.sort == "time")
        return "kickoff" if soonest else "-kickoff"

    def finished_params(self, *, now: datetime, zone: tzinfo) -> Params:
        """Return the same query for finished matches; a period that lies ahead has none and is left out."""
        params = self.api_params(now=now, zone=zone)
        left_out = {"from", "to"} if self.period in FUTURE else set()
        return {name: value for name, value in params.items() if name not in left_out} | {"status": ("finished",)}

    def active_names(self) -> list[str]:
        """Return the names of the filters that hide matches, the likeliest culprit first."""
        order = ("q", "value", "edge", "rroi", "tournament", "region", "period", "status")
        return [n for n in order if getattr(self, n) not in (self.param[n].default, "all")]


def parse_time_zone(name: str) -> tzinfo:
    """Return the time zone of that name, or UTC where it is unknown."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def _day_start(now: datetime, zone: tzinfo, days: int | None) -> str | None:
    if days is None:
        return None
    day = now.astimezone(zone).date() + timedelta(days=days)
    start = datetime(day.year, day.month, day.day, tzinfo=zone)
    return start.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _parse_integer(value: Any) -> int | None:
    try:
        return None if value in (None, ANY) else round(float(value))
    except (TypeError, ValueError, OverflowError):
        return -(10**9)  # out of every bound, so that it is refused like other wrong values
