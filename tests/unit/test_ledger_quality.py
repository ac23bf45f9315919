"""Scores of settled ledger rows, against what can be computed by hand."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from app.domain.scoring import losses
from app.ledger.evaluation import Role, Rules, VersionQuality, evaluate_ledger

START = datetime(2026, 8, 1, tzinfo=UTC)
RULES = Rules(value_edge=0.05, min_bets=2, min_n=2)
SIDES = ("home", "draw", "away")


def a_row(match_id: int = 7, outcome: int = 0, **changes: Any) -> dict[str, Any]:
    """A row as the query gives it: home win at 0.5, priced at 2.2, closed at 2.0."""
    row: dict[str, Any] = {
        "match_id": match_id, "task_id": "t1", "model_name": "m", "model_version": "1", "model_alias": "champion",
        "answered_at": START, "outcome": outcome, "shadow_name": None, "shadow_version": None,
        "n_history_home": None, "n_history_away": None,
    }  # fmt: skip
    row |= three("proba", 0.5, 0.3, 0.2) | three("odds", 2.2, 3.2, 4.0) | three("closing", 2.0, 3.6, 4.5)
    return row | three("shadow", None, None, None) | changes


def three(name: str, *values: float | None) -> dict[str, Any]:
    return {f"{name}_{side}": value for side, value in zip(SIDES, values, strict=True)}


def a_shadowed_row(match_id: int, outcome: int, *proba: float, version: str = "2") -> dict[str, Any]:
    shadow = {"shadow_name": "m", "shadow_version": version} | three("shadow", *proba)
    return a_row(match_id, outcome, **shadow)


def version(rows: list[dict[str, Any]], role: Role = Role.ANSWERED, rules: Rules = RULES) -> VersionQuality:
    (found,) = [each for each in evaluate_ledger(rows, rules).versions if each.role is role]
    return found


def test_scores_of_two_matches() -> None:
    found = version([a_row(1, 0), a_row(2, 2)])
    assert found.scores is not None
    assert (found.n, found.aliases) == (2, ("champion",))
    assert found.scores.log_loss.value == pytest.approx(-(np.log(0.5) + np.log(0.2)) / 2)
    assert found.scores.brier.value == pytest.approx(((0.25 + 0.09 + 0.04) + (0.25 + 0.09 + 0.64)) / 2)
    assert found.scores.rps.value == pytest.approx(((0.25 + 0.04) + (0.25 + 0.64)) / 4)
    assert found.scores.log_loss.low < found.scores.log_loss.value < found.scores.log_loss.high
    assert sum(each.n for each in found.scores.bins) == 6


def test_money_of_two_matches() -> None:
    money = version([a_row(1, 0), a_row(2, 2)]).money
    assert (money.roi.n_bets, money.roi.n_wins, money.roi.profit) == (2, 1, pytest.approx(0.2))
    assert money.roi.roi_pct == pytest.approx(10)
    assert money.n_closing == 2
    assert money.closing_value is not None
    # about half of 1/2 + 1/3.6 + 1/4.5 = 1 is fair: no margin to take out
    assert money.closing_value.value == pytest.approx(0.5 * 2.2 - 1)


def test_the_last_prediction_of_a_match_counts_and_no_other() -> None:
    early = a_row(1, 0, answered_at=START - timedelta(hours=1), **three("proba", 0.1, 0.1, 0.8))
    found = version([early, a_row(1, 0), a_row(2, 0)])
    assert found.n == 2
    assert found.scores is not None
    assert found.scores.log_loss.value == pytest.approx(-np.log(0.5))


def test_each_version_is_judged_on_its_own() -> None:
    found = evaluate_ledger([a_row(1), a_row(1, model_version="3", model_alias="candidate")], RULES).versions
    assert [(each.version, each.n, each.aliases) for each in found] == [
        ("1", 1, ("champion",)),
        ("3", 1, ("candidate",)),
    ]


def test_too_few_matches_have_no_scores_and_too_few_bets_no_return() -> None:
    found = version([a_row(1), a_row(2)], rules=Rules(value_edge=0.05, min_bets=20, min_n=30))
    assert found.scores is None
    assert (found.n, found.money.roi.n_bets, found.money.roi.roi_pct) == (2, 2, None)
    assert found.money.roi.too_few
    assert found.money.closing_value is None


def test_without_odds_there_are_scores_and_no_bets() -> None:
    nothing = three("odds", None, None, None) | three("closing", None, None, None)
    found = version([a_row(n, 0, **nothing) for n in range(3)])
    assert found.scores is not None
    assert (found.money.roi.n_bets, found.money.n_closing) == (0, 0)


def test_no_bet_where_the_edge_is_too_small_and_no_closing_value_without_a_closing_price() -> None:
    rows = [a_row(1, **three("odds", 2.05, 3.0, 4.0)), a_row(2, **three("closing", None, None, None)), a_row(3)]
    money = version(rows).money
    assert (money.roi.n_bets, money.n_closing) == (2, 1)


def test_shadow_beside_the_version_that_answered() -> None:
    rng = np.random.default_rng(0)
    outcomes = rng.integers(0, 3, 50)
    probabilities = rng.dirichlet([4, 3, 3], 50)
    rows = [a_shadowed_row(n, int(outcomes[n]), *probabilities[n]) for n in range(50)]
    found = evaluate_ledger(rows, RULES)
    assert [(each.role, each.version, each.n) for each in found.versions] == [
        (Role.ANSWERED, "1", 50),
        (Role.SHADOW, "2", 50),
    ]
    (comparison,) = found.comparisons
    assert (comparison.answered, comparison.shadow, comparison.n) == (("m", "1"), ("m", "2"), 50)
    theirs = np.tile([0.5, 0.3, 0.2], (50, 1))
    expected = losses(probabilities, outcomes).log_loss - losses(theirs, outcomes).log_loss
    assert comparison.log_loss is not None
    assert comparison.log_loss.value == pytest.approx(expected.mean())
    assert comparison.log_loss.high - comparison.log_loss.low == pytest.approx(
        2 * 1.959964 * expected.std(ddof=1) / 50**0.5, rel=1e-6
    )


def test_two_shadow_versions_do_not_count_a_match_twice_for_the_version_that_answered() -> None:
    rows = [a_shadowed_row(1, 0, 0.6, 0.2, 0.2, version=version) for version in ("2", "3")] + [a_row(2)]
    found = evaluate_ledger(rows, RULES)
    assert [(each.role, each.version, each.n) for each in found.versions] == [
        (Role.ANSWERED, "1", 2), (Role.SHADOW, "2", 1), (Role.SHADOW, "3", 1),
    ]  # fmt: skip
    assert [(each.n, each.log_loss) for each in found.comparisons] == [(1, None), (1, None)]


def test_nothing_settled_is_nothing() -> None:
    found = evaluate_ledger([], RULES)
    assert (found.versions, found.comparisons) == ([], [])
