"""A card as the browser gets it: short names, numbers instead of words, links that are safe to follow."""

from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from app.schemas import CardMoneyOut, CardOut, Odds1X2Out, ProbabilitiesOut, RegionRoiRefOut

OUTCOMES = ("home", "draw", "away")


def row_of(card: CardOut) -> dict[str, Any]:
    """One match; instants are epoch milliseconds, outcomes 0 home, 1 draw, 2 away."""
    return {
        "id": str(card.match_id),  # 63 bits do not fit into a JavaScript number
        "t": _millis(card.kickoff_utc),
        "timed": card.kickoff_known,
        "region": card.region,
        "tour": card.tournament,
        "home": card.home_team,
        "away": card.away_team,
        "status": card.status,
        "score": None if card.home_score is None else [card.home_score, card.away_score],
        "p": triple(card.probabilities),
        "pick": OUTCOMES.index(card.predicted),
        "out": None if card.outcome is None else OUTCOMES.index(card.outcome),
        "hit": card.hit,
        "ins": card.in_sample,
        "thin": card.too_little_history,
        "model": [card.model.name, card.model.version, card.model.stage, card.model.run_id],
        "at": _millis(card.computed_at),
        "money": None if card.money is None else _money(card.money),
        "roi": None if card.region_roi is None else _region_roi(card.region_roi),
    }


def _money(money: CardMoneyOut) -> dict[str, Any]:
    return {
        "odds": triple(money.odds),
        "fair": triple(money.fair),
        "edge": [money.edge_home, money.edge_draw, money.edge_away],
        "best": OUTCOMES.index(money.best_outcome),
        "value": money.is_value,
        "kelly": money.kelly_stake,
        "profit": money.profit,
        "margin": money.overround,
        "maker": money.bookmaker,
        "url": safe_link(money.event_url),
        "at": _millis(money.captured_at),
    }


def _region_roi(roi: RegionRoiRefOut) -> dict[str, Any]:
    return {"pct": roi.roi_pct, "n": roi.n_bets, "low": roi.ci_low, "high": roi.ci_high}


def safe_link(url: str | None) -> str | None:
    """The link when it is plain https to a named host; scraped links may be anything."""
    if url is None or not url.startswith("https://"):
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return url if parts.hostname and parts.username is None else None


def triple(prices: ProbabilitiesOut | Odds1X2Out) -> list[float]:
    """Home, draw, away."""
    return [round(prices.home, 5), round(prices.draw, 5), round(prices.away, 5)]


def _millis(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)
