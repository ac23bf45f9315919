"""Builds cards and answers of the API for tests of the match page."""

from datetime import UTC, datetime
from typing import Any

from app.schemas import CardOut, CardsOut, RoiOut, SnapshotOut

KICKOFF = datetime(2026, 11, 28, 15, tzinfo=UTC)
EARLIER = datetime(2026, 11, 23, 9, tzinfo=UTC)


def a_snapshot(**changes: Any) -> SnapshotOut:
    """A fresh simulated snapshot."""
    values = {"id": "s1", "source": "simulated", "simulated": True, "built_at": EARLIER, "data_until": EARLIER}
    return SnapshotOut.model_validate(values | {"stale": False, "has_manifest": True} | changes)


def a_card(match_id: int = 2**62 + 1, **changes: Any) -> CardOut:
    """An upcoming match with a value bet on the draw."""
    thirds = {"home": 0.5, "draw": 0.3, "away": 0.2}
    money = {
        "odds": {"home": 1.9, "draw": 3.6, "away": 4.5},
        "bookmaker": "Bet365 (pre-match)",
        "event_url": "https://bookmaker.example/event/1",
        "captured_at": EARLIER,
        "odds_age_s": 3600.0,
        "overround": 0.026,
        "implied": {"home": 0.526, "draw": 0.278, "away": 0.222},
        "fair": {"home": 0.513, "draw": 0.271, "away": 0.216},
        "edge_home": -0.05,
        "edge_draw": 0.08,
        "edge_away": -0.1,
        "best_edge": 0.08,
        "best_outcome": "draw",
        "is_value": True,
        "kelly_stake": 0.0077,
        "profit": None,
        "model_edge_home": -0.05,
        "model_edge_draw": 0.08,
        "model_edge_away": -0.1,
        "best_odds": {"home": 1.95, "draw": 3.7, "away": None},
        "best_bookmaker": {"home": "bwin", "draw": "Pinnacle", "away": None},
        "edge_at_best": 0.11,
        "outcome_at_best": "draw",
        "is_value_at_best": True,
        "profit_at_best": None,
    }
    values = {
        "match_id": match_id,
        "kickoff_utc": KICKOFF,
        "kickoff_known": True,
        "region": "England",
        "tournament": "Premier League",
        "season": "2026/27",
        "home_team": "Ashford Town",
        "away_team": "Elmwick City",
        "status": "upcoming",
        "home_score": None,
        "away_score": None,
        "outcome": None,
        "probabilities": thirds,
        "predicted": "home",
        "too_little_history": False,
        "hit": None,
        "no_odds_reason": None,
        "market": {"home": 0.51, "draw": 0.27, "away": 0.22},
        "consensus": thirds,
        "model_minus_market": {"home": -0.01, "draw": 0.03, "away": -0.02},
        "in_sample": False,
        "model": {"name": "soccer-match-outcome", "version": "3", "stage": "champion", "run_id": "0" * 32},
        "computed_at": EARLIER,
        "money": money,
        "region_roi": {"roi_pct": 4.2, "n_bets": 40, "ci_low": -10.0, "ci_high": 18.4},
    }
    return CardOut.model_validate(values | changes)


def a_page(*cards: CardOut, **changes: Any) -> CardsOut:
    """A page of cards."""
    values = {
        "snapshot": a_snapshot(),
        "value_edge": 0.05,
        "edge_from": "consensus",
        "devig": "power",
        "total": len(cards),
    }
    values |= {"next_cursor": None, "items": cards}
    return CardsOut.model_validate(values | changes)


def some_results(**changes: Any) -> RoiOut:
    """Results of forty bets."""
    values = {
        "n_matches": 100, "n_bets": 40, "n_wins": 12, "hit_rate": 0.3, "staked": 40.0, "profit": 2.0, "roi_pct": 5.0,
        "roi_ci_low": -40.0, "roi_ci_high": 50.0, "too_few": False, "snapshot": a_snapshot(), "staking": "flat",
        "value_edge": 0.05, "edge_from": "consensus", "min_bets": 20, "average_odds": 3.9, "mean_edge_pct": 9.1,
        "max_drawdown": 7.0,
        "n_clv": 0, "clv_pct": None, "clv_ci_low": None, "clv_ci_high": None, "ci_method": "normal",
        "n_open_value_bets": 3, "n_predicted": 100, "accuracy": 0.5, "accuracy_market": 0.52, "accuracy_home": 0.44,
        "n_in_sample_excluded": 0,
    }  # fmt: skip
    return RoiOut.model_validate(values | changes)
