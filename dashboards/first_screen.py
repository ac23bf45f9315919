"""The first screen, rendered on the server: what the browser shows before any script runs.

`assets/first_screen.html` has the markup of `assets/row.js` and `assets/results.js`; a browser test compares them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from itertools import groupby
from typing import Any

import orjson
from jinja2 import Environment, FileSystemLoader

from app.schemas import RoiOut, SnapshotOut
from dashboards import format as f
from dashboards.filters import FUTURE, Filters
from dashboards.static import ASSETS
from dashboards.store import CachedAnswer, CardsPage

N_ROWS = 26  # a screen of 1,440 px
SUSPECT_EDGE = 0.3
OLD_ODDS_S = 4 * f.HOUR_S
OLD_RESULTS_S = 7 * f.DAY_S
SURE_BETS = 30  # below it an interval by normal approximation says little, so nothing is coloured
_DAY_OVER_MS = 12 * 3600 * 1000  # where only the day is published, it is over half a day after 15:00 UK
_STATES = {
    "finished": "FT",
    "postponed": "postp.",
    "cancelled": "canc.",
    "live": "live",
    "awaiting_result": "awaited",
    "abandoned": "aband.",
    "awarded": "awarded",
}
_NO_ODDS = {
    "no_opening_price": "no odds: only the closing price of this match is known",
    "contradicted_price": "no odds: other bookmakers contradict the price",
}
_SUSPECT = "An edge above 30 % is likelier a wrong or old price than value: check the odds"
VIEWS = {"matches": "Matches", "value": "Value bets", "performance": "Performance", "operations": "Operations"}
_environment = Environment(loader=FileSystemLoader(ASSETS), autoescape=True, trim_blocks=True, lstrip_blocks=True)


@dataclass(frozen=True, slots=True)
class FirstData:
    """What the first screen shows; a part is None where the API did not give it in time."""

    page: CachedAnswer[CardsPage] | None
    exact: CachedAnswer[RoiOut] | None
    settled: CachedAnswer[RoiOut] | None

    @property
    def snapshot(self) -> SnapshotOut | None:
        """The snapshot of what there is."""
        answer = self.page or self.exact
        return answer.value.snapshot if answer else None


@dataclass(frozen=True, slots=True)
class Reader:
    """When and where the page is read."""

    now: datetime
    zone: tzinfo
    locale: f.Locale

    @property
    def today(self) -> date:
        """The day of the reader."""
        return self.now.astimezone(self.zone).date()


def render_first_screen(filters: Filters, data: FirstData, reader: "Reader") -> str:
    """Return the HTML of the first screen."""
    snapshot = data.snapshot
    page = data.page.value if data.page else None
    return _environment.get_template("first_screen.html").render(
        view=filters.view,
        views=VIEWS,
        state=filters.values(),
        n_narrowing=len([name for name in filters.active_names() if name not in {"status", "value"}]),
        fresh=snapshot and _freshness(snapshot, reader),
        is_simulated=bool(snapshot and snapshot.simulated),
        cards=_result_cards(filters, data),
        items=_list_items(filters, page, reader) if page else None,
        is_empty=page is not None and page.n_rows == 0,
    )


def _freshness(snapshot: SnapshotOut, reader: "Reader") -> Mapping[str, Any]:
    until, now = snapshot.data_until, reader.now
    is_old = until is not None and (now - until).total_seconds() > OLD_RESULTS_S
    return {
        "until": f"Results to {reader.locale.day(until.astimezone(reader.zone))}" if until else "No results yet",
        "is_old": is_old,
        "ago": f.ago(until, now) if until and is_old else None,
        "built": f.ago(snapshot.built_at, now),
        "is_simulated": snapshot.simulated,
        "source": None if snapshot.simulated else snapshot.source,
    }


# --- the rows --------------------------------------------------------------------------------------------------


def _is_awaited(row: Mapping[str, Any], now_ms: float) -> bool:
    over: float = row["t"] + (0 if row["timed"] else _DAY_OVER_MS)
    status: str = row["status"]
    return status == "awaiting_result" or (status == "upcoming" and over < now_ms)


def _list_items(filters: Filters, page: CardsPage, reader: "Reader") -> list[dict[str, Any]]:
    """Return heads and rows in the order of the list."""
    rows, now_ms = orjson.loads(page.rows), 1000 * reader.now.timestamp()
    if filters.sort == "edge":
        return [_row_item(row, reader, has_context=True) for row in rows[:N_ROWS]]
    awaited = [row for row in rows if filters.status == "upcoming" and _is_awaited(row, now_ms)]
    others = [row for row in rows if row not in awaited] if awaited else rows
    items = list(_day_items(others[:N_ROWS], reader))
    if not awaited:
        return items
    n = f"{f.count(len(awaited))}{'' if others or not page.next_cursor else '+'}"
    head = {"kind": "awaited", "n": f"{n} {'match' if len(awaited) == 1 else 'matches'} past kick-off"}
    return [head, *items] if rows[0] in awaited else [*items, head]


def _day_items(rows: list[Mapping[str, Any]], reader: "Reader") -> Iterator[dict[str, Any]]:
    days: dict[Any, list[Mapping[str, Any]]] = {}
    for row in rows:
        days.setdefault(f.local_day(row["t"], is_timed=row["timed"], zone=reader.zone), []).append(row)
    for day, of_day in days.items():
        yield {"kind": "day", "title": reader.locale.day_title(day, reader.today)}
        ordered = sorted(of_day, key=lambda row: (row["region"], row["tour"]))
        for (region, tournament), of_group in groupby(ordered, key=lambda row: (row["region"], row["tour"])):
            group = list(of_group)
            yield {
                "kind": "group",
                "region": region,
                "tournament": tournament,
                "roi": _region_roi(group[0]["roi"]),
            }
            yield from (_row_item(row, reader) for row in group)


def _region_roi(roi: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if roi is None:
        return None
    half = None if roi["low"] is None else f"±{f.decimal((roi['high'] - roi['low']) / 2)}"
    return {"n": f.count(roi["n"]), "percent": None if roi["pct"] is None else f.percent(roi["pct"]), "half": half}


def _row_item(row: Mapping[str, Any], reader: "Reader", *, has_context: bool = False) -> dict[str, Any]:
    money, now = row["money"], reader.now
    is_value = bool(money and money["value"])
    is_suspect = is_value and money["edge"][money["best"]] > SUSPECT_EDGE
    day = f.local_day(row["t"], is_timed=row["timed"], zone=reader.zone)
    where = f.join([reader.locale.short_day(day, reader.today), row["region"], row["tour"]])
    return {
        "kind": "row",
        "id": row["id"],
        "where": where if has_context else None,
        "is_value": is_value,
        "is_suspect": is_suspect,
        "is_awaited": _is_awaited(row, 1000 * now.timestamp()),
        "ms": row["t"] if row["timed"] else None,
        "time": reader.locale.time(f.at(row["t"]).astimezone(reader.zone)) if row["timed"] else f.DASH,
        "state": _state(row, now),
        "teams": [(row["home"], row["out"] == 0, 0), (row["away"], row["out"] == 2, 1)],
        "score": row["score"],
        "tiles": [_tile(row, outcome, is_value=is_value) for outcome in range(3)],
        "signal": _signal(row, now, is_suspect=is_suspect),
        "pick": _pick(row),
        "url": money["url"] if money else None,
    }


def _state(row: Mapping[str, Any], now: datetime) -> str:
    if _is_awaited(row, 1000 * now.timestamp()):
        return "result awaited"
    status: str = row["status"]
    if status != "upcoming":
        return _STATES.get(status, status)
    wait_s = row["t"] / 1000 - now.timestamp()
    return f"in {f.duration(wait_s)}" if row["timed"] and wait_s < 2 * f.HOUR_S else ""


def _tile(row: Mapping[str, Any], outcome: int, *, is_value: bool) -> Mapping[str, Any]:
    money = row["money"]
    is_best = is_value and money["best"] == outcome
    names = [("pick", row["pick"] == outcome), ("value", is_best), ("result", row["out"] == outcome)]
    return {
        "classes": f.join([f"o{outcome}", *(name for name, is_on in names if is_on)], " "),
        "heat": f.heat(row["p"][outcome]),
        "sign": f.SIGNS[outcome],
        "p": f.probability(row["p"][outcome]),
        "odds": f.odds(money["odds"][outcome]) if money and money["odds"][outcome] else f.DASH,
        "is_value": is_best,
    }


def _signal(row: Mapping[str, Any], now: datetime, *, is_suspect: bool) -> Mapping[str, Any]:
    money = row["money"]
    if money is None:
        return {"quiet": "no odds", "title": _NO_ODDS.get(row["why"], "no odds for this match")}
    best, edge = money["best"], f.edge(money["edge"][money["best"]])
    age = _odds_age(row, now)
    if not money["value"]:
        return {"quiet": edge, "age": "too few matches" if row["thin"] else age}
    text = f"{'⚠' if is_suspect else '▲'} {f.SIGNS[best]} @ {f.odds(money['odds'][best])} "
    profit = money["profit"]
    if profit is None:
        return {"chip": text, "edge": edge, "is_suspect": is_suspect, "age": age}
    bet = "" if best == row["pick"] else f"bet on {f.SIGNS[best]} "
    won = profit > 0
    result = f"{bet}{'won' if won else 'lost'} {f.units(profit, 2)}"
    return {"chip": text, "edge": edge, "is_suspect": is_suspect, "result": result, "won": won}


def _odds_age(row: Mapping[str, Any], now: datetime) -> str | None:
    age_s = now.timestamp() - row["money"]["at"] / 1000
    return f"odds {f.duration(age_s)} old" if row["status"] == "upcoming" and age_s >= OLD_ODDS_S else None


def _pick(row: Mapping[str, Any]) -> Mapping[str, Any]:
    if row["hit"] is None:
        return {"text": f"Pick {f.SIGNS[row['pick']]}", "classes": "chip"}
    tone = "hit" if row["hit"] else "miss"
    text = "✓ Hit" if row["hit"] else "✗ Miss"
    return {"text": text, "classes": f"chip {tone}{' seen' if row['ins'] else ''}", "is_in_sample": row["ins"]}


# --- the strip of results --------------------------------------------------------------------------------------


def _result_cards(filters: Filters, data: FirstData) -> list[Mapping[str, Any]] | None:
    if data.exact is None or (data.settled is None and filters.status in {"upcoming", "live"}):
        return None
    exact, money = data.exact.value, (data.settled or data.exact).value
    any_time = ", any time" if filters.period in FUTURE else ""
    scope = f"settled matches like these{any_time}" if data.settled else "these matches"
    total = f.count(data.page.value.total) if data.page else f.DASH
    excluded = exact.n_in_sample_excluded
    return [
        {"name": "ROI", "small": scope, "kind": "roi", **_roi_card(money)},
        {"name": "Profit", **_profit_card(money)},
        {"name": "Accuracy", **_accuracy_card(money)},
        {
            "name": "Open value bets",
            "value": f.count(exact.n_open_value_bets),
            "under": f"edge ≥ {f.probability(exact.value_edge)}",
        },
        {
            "name": "Matches",
            "value": total,
            "under": f"{f.count(excluded)} in-sample left out of results" if excluded else "that pass the filters",
        },
    ]


def _roi_card(money: RoiOut) -> Mapping[str, Any]:
    stake = "¼ Kelly" if money.staking == "kelly" else "flat 1 u"
    if not money.n_bets:
        return {"stake": stake, "value": f.DASH, "under": "no settled value bets here"}
    roi, low, high = money.roi_pct, money.roi_ci_low, money.roi_ci_high
    if money.too_few or roi is None or low is None or high is None:
        return {
            "stake": stake,
            "value": "too few bets",
            "tone": "small",
            "under": f"{f.count(money.n_bets)} settled, {money.min_bets} needed",
        }
    reach = 1.1 * max(abs(low), abs(high), 10)
    places = [f"{50 + 50 * min(max(value / reach, -1), 1):.1f}%" for value in (low, high, roi)]
    is_sure = money.n_bets >= SURE_BETS and (low > 0 or high < 0)
    promised = f.percent(money.mean_edge_pct or 0.0)
    return {
        "stake": stake,
        "value": f.percent(roi),
        "tone": ("good" if roi > 0 else "bad") if is_sure else "",
        "interval": places,
        "under": f"95 % CI {f.percent(low)} … {f.percent(high)} · expected {promised}",
    }


def _profit_card(money: RoiOut) -> Mapping[str, Any]:
    if not money.n_bets or money.average_odds is None:
        return {"value": f.DASH, "under": "0 bets"}

    def say(amount: float) -> str:
        return f"{f.percent(100 * amount)} of bankroll" if money.staking == "kelly" else f.units(amount)

    drawdown = say(-abs(money.max_drawdown or 0.0))
    under = f"{f.count(money.n_bets)} bets · avg odds {f.odds(money.average_odds)} · drawdown {drawdown}"
    return {"value": say(money.profit or 0.0), "under": under}


def _accuracy_card(money: RoiOut) -> Mapping[str, Any]:
    if not money.n_predicted or money.accuracy is None:
        return {"value": f.DASH, "under": "no finished matches here"}
    others = [("market favourite", money.accuracy_market), ("always home", money.accuracy_home)]
    under = f.join([f"{name} {f.share(value)}" for name, value in others if value is not None])
    return {"small": f"n={f.count(money.n_predicted)}", "value": f.share(money.accuracy), "under": under}
