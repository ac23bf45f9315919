from datetime import timedelta

import pytest

from app.schemas import ProbabilitiesOut
from dashboards.store import keep_safe_link, render_card
from tests.support.build_cards import KICKOFF, a_card


def test_a_row_keeps_every_digit_of_the_match_id() -> None:
    assert render_card(a_card(2**63 - 1))["id"] == "9223372036854775807"


def test_a_row_counts_outcomes_and_instants() -> None:
    row = render_card(a_card())
    assert (row["t"], row["timed"]) == (KICKOFF.timestamp() * 1000, True)
    assert (row["pick"], row["out"], row["hit"], row["score"]) == (0, None, None, None)
    assert row["p"] == [0.5, 0.3, 0.2]
    assert (row["money"]["best"], row["money"]["value"]) == (1, True)
    assert row["money"]["edge"] == [-0.05, 0.08, -0.1]
    assert row["roi"] == {"pct": 4.2, "n": 40, "low": -10.0, "high": 18.4}


def test_a_finished_row_has_score_and_verdict() -> None:
    row = render_card(a_card(status="finished", home_score=0, away_score=2, outcome="away", hit=False))
    assert (row["score"], row["out"], row["hit"]) == ([0, 2], 2, False)


def test_a_row_says_when_its_kickoff_is_only_a_day() -> None:
    assert render_card(a_card(kickoff_known=False))["timed"] is False


def test_a_row_without_odds_has_no_money() -> None:
    row = render_card(a_card(money=None, region_roi=None, no_odds_reason="no_opening_price"))
    assert row["why"] == "no_opening_price"
    assert (row["money"], row["roi"]) == (None, None)


def test_a_row_tells_the_consensus_only_where_edges_come_from_it() -> None:
    card = a_card()
    assert card.money is not None
    consensus = ProbabilitiesOut(home=0.48, draw=0.32, away=0.2)
    own = dict(zip(("home", "draw", "away"), render_card(card)["money"]["edge"], strict=True))
    of_model = card.money.model_copy(update={f"model_edge_{side}": edge for side, edge in own.items()})
    of_consensus = card.money.model_copy(update={f"model_edge_{side}": edge + 0.01 for side, edge in own.items()})
    rendered = [
        render_card(card.model_copy(update={"money": money, "consensus": given}))["consensus"]
        for money, given in ((of_model, consensus), (of_consensus, consensus), (of_consensus, None), (None, consensus))
    ]
    assert rendered == [None, [0.48, 0.32, 0.2], None, None]


def test_an_instant_with_microseconds_is_a_whole_number() -> None:
    assert isinstance(render_card(a_card(kickoff_utc=KICKOFF + timedelta(microseconds=3)))["t"], int)


@pytest.mark.parametrize("url", ["https://bookmaker.example/event/1?x=1", "https://xn--bcher-kva.example/"])
def test_plain_https_links_are_kept(url: str) -> None:
    assert keep_safe_link(url) == url


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "data:text/html,<script>alert(1)</script>",
        "http://bookmaker.example/",
        "//bookmaker.example/",
        "https://",
        "https://bank.example@evil.example/",
        "https://[broken",
        " https://bookmaker.example/",
    ],
)
def test_any_other_link_is_left_out(url: str | None) -> None:
    assert keep_safe_link(url) is None
