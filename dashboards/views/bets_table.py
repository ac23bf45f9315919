"""The value bets as a table to sort, filter and walk through: a Tabulator, made when the view is first opened."""

from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any

import panel as pn
from bokeh.models.widgets.tables import DateFormatter, NumberFormatter
from panel.models.tabulator import DataTabulator

from app.schemas import CardOut
from dashboards.format import SIGNS

OUTCOMES = ("home", "draw", "away")
PAGE_ROWS = 50
HEIGHT_PX = 640
_CSS = """
.tabulator { border: 1px solid var(--line); border-radius: 12px; background: var(--paper); color: var(--text); font-size: .8125rem; font-variant-numeric: tabular-nums }
.tabulator .tabulator-header, .tabulator .tabulator-header .tabulator-headers, .tabulator .tabulator-header .tabulator-col, .tabulator .tabulator-footer, .tabulator .tabulator-footer .tabulator-footer-contents, .tabulator .tabulator-footer .tabulator-paginator { background: var(--paper) !important; color: var(--text) !important; border-color: var(--line) !important }
.tabulator .tabulator-header .tabulator-col:focus-visible { outline: 2px solid var(--brand); outline-offset: -2px }
.tabulator .tabulator-header .tabulator-col.tabulator-sortable:hover, .tabulator .tabulator-row.tabulator-selectable:hover { background: var(--sunken) }
.tabulator .tabulator-tableholder, .tabulator .tabulator-tableholder .tabulator-table { background: var(--paper); color: var(--text) }
.tabulator .tabulator-row, .tabulator .tabulator-row.tabulator-row-even { background: var(--paper); border-bottom: 1px solid var(--line); color: var(--text) }
.tabulator .tabulator-row .tabulator-cell { border-color: transparent; padding: .4rem .5rem }
.tabulator .tabulator-header-filter input { border: 1px solid var(--edge-line); border-radius: 4px; background: var(--paper); color: var(--text); min-height: 1.75rem }
.tabulator .tabulator-footer .tabulator-page { background: var(--paper); color: var(--text); border: 1px solid var(--edge-line) }
.tabulator .tabulator-footer .tabulator-page.active { background: var(--brand); color: var(--on-brand) !important }
.tabulator .tabulator-footer .tabulator-page:disabled { color: var(--muted); opacity: 1 }
"""  # noqa: E501
# what decides comes first: at 1,440 px the last ones are reached by scrolling
COLUMNS = (
    *("Kick-off", "Match", "Bet", "Edge %", "Odds", "Fair price", "Best price", "Bookmaker", "Edge at best %"),
    *("¼ Kelly %", "Result", "Profit u", "Odds age h", "League"),
)
_RIGHT = ("Odds", "Best price", "Fair price", "Edge %", "Edge at best %", "¼ Kelly %", "Odds age h", "Profit u")
_FILTERS: Mapping[str, Mapping[str, str]] = {
    "League": {"type": "input", "func": "like", "placeholder": "contains"},
    "Match": {"type": "input", "func": "like", "placeholder": "contains"},
    "Bet": {"type": "input", "func": "=", "placeholder": "1, X, 2"},
    "Odds": {"type": "number", "func": "<=", "placeholder": "at most"},
    "Bookmaker": {"type": "input", "func": "like", "placeholder": "contains"},
    "Edge %": {"type": "number", "func": "<=", "placeholder": "at most"},
    "Result": {"type": "input", "func": "like", "placeholder": "won, lost"},
}


def list_scripts() -> list[str]:
    """Return the addresses of Tabulator's own scripts, which the browser loads with the first table."""
    return [str(url) for url in DataTabulator.__javascript__]


def build_row(card: CardOut, zone: tzinfo) -> dict[str, Any] | None:
    """Return a value bet as a row of the table; None where the card is none."""
    money = card.money
    if money is None or not money.is_value:
        return None
    i = OUTCOMES.index(money.best_outcome)
    odds = (money.odds.home, money.odds.draw, money.odds.away)[i]
    # of the probability that the edge is from, the model's or the consensus
    fair_price = odds / (1 + money.best_edge)
    best = (money.best_odds.home, money.best_odds.draw, money.best_odds.away)[i]
    maker = (money.best_bookmaker.home, money.best_bookmaker.draw, money.best_bookmaker.away)[i]
    score = f" {card.home_score}–{card.away_score}" if card.home_score is not None else ""
    result = "open" if money.profit is None else "won" if money.profit > 0 else "lost"
    return {
        "Kick-off": _local(card.kickoff_utc, zone),
        "League": f"{card.region} · {card.tournament}",
        "Match": f"{card.home_team} – {card.away_team}",
        "Bet": SIGNS[i],
        "Odds": odds,
        "Best price": best,
        "Bookmaker": maker or money.bookmaker,
        "Fair price": fair_price,
        "Edge %": 100 * money.best_edge,
        "Edge at best %": None if best is None else 100 * (best / fair_price - 1),
        "¼ Kelly %": 100 * money.kelly_stake,
        "Odds age h": money.odds_age_s / 3600,
        "Result": f"{result}{score}",
        "Profit u": money.profit,
    }


def _local(instant: datetime, zone: tzinfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None)  # the table formats what it is given, in no zone


class ValueBets:
    """The table of one session. It is made with its first rows: a table without columns cannot be drawn."""

    def __init__(self, frame: Any) -> None:
        numbers = {name: NumberFormatter(format="0,0.00", nan_format="–") for name in _RIGHT}
        numbers |= {name: NumberFormatter(format="0,0.0", nan_format="–") for name in _RIGHT if "%" in name}
        numbers["Odds age h"] = NumberFormatter(format="0", nan_format="–")
        self.table = pn.widgets.Tabulator(
            frame,
            show_index=False,
            disabled=True,
            selectable=False,
            pagination="local",
            page_size=PAGE_ROWS,
            height=HEIGHT_PX,  # with it the head stays while the rows are scrolled
            sizing_mode="stretch_width",
            layout="fit_data_fill",
            theme="simple",
            header_filters=dict(_FILTERS),
            text_align=dict.fromkeys(_RIGHT, "right"),
            formatters={"Kick-off": DateFormatter(format="%a %d %b %Y %H:%M"), **numbers},
            stylesheets=[_CSS],
        )

    def show(self, frame: Any) -> None:
        """Show other rows; sorting and filters of the reader stay."""
        self.table.value = frame


def build_frame(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Return the rows as a frame. Blocks: the first call imports pandas."""
    import pandas as pd  # noqa: PLC0415  half a second that no other view needs

    return pd.DataFrame(rows, columns=list(COLUMNS))
