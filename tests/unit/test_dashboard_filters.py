from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.schemas import CardsQuery
from dashboards.filters import PERIODS, SORTS, STATUSES, VIEWS, Filters, parse_time_zone

NOW = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")

words = st.text(min_size=1, max_size=40).map(str.strip).filter(bool)
names = st.lists(words, max_size=3)
states = st.fixed_dictionaries(
    {
        "status": st.sampled_from(STATUSES),
        "period": st.sampled_from(sorted(PERIODS)),
        "region": names,
        "tournament": names,
        "q": st.one_of(st.just(""), words),
        "edge": st.none() | st.integers(-100, 100),
        "rroi": st.none() | st.integers(-100, 1000),
        "value": st.booleans(),
        "sort": st.sampled_from(SORTS),
        "stake": st.sampled_from(["flat", "kelly"]),
        "view": st.sampled_from(VIEWS),
    }
)


def asked(query: str) -> dict[str, str | tuple[str, ...]]:
    filters = Filters()
    filters.read_url(query)
    return filters.api_params(now=NOW, zone=BERLIN)


@given(states)
def test_a_url_gives_back_the_filters_it_was_made_from(state: dict[str, object]) -> None:
    first, second = Filters(), Filters()
    first.change(state)
    second.read_url("?" + first.to_url())
    assert second.values() == first.values()


@given(states)
def test_every_state_is_a_question_the_api_understands(state: dict[str, object]) -> None:
    filters = Filters()
    filters.change(state)
    question = filters.api_params(now=NOW, zone=BERLIN)
    listed = {"status": [question["status"]]} if "status" in question else {}
    CardsQuery.model_validate({**question, **listed, "sort": filters.api_sort()})


def test_a_reset_leaves_the_way_of_looking_and_an_address_does_not() -> None:
    filters = Filters()
    filters.read_url("?region=Italy&view=performance&stake=kelly")
    filters.reset()
    assert filters.to_url() == "stake=kelly&view=performance"
    filters.read_url("?region=Italy")
    assert filters.to_url() == "region=Italy"


def test_defaults_are_not_in_the_url() -> None:
    assert Filters().to_url() == ""


@pytest.mark.parametrize(
    "query",
    ["status=Foo", "period=never", "edge=999", "edge=abc", "rroi=1e400", "sort=up", "?&&=", "unknown=1", "edge=nan"],
)
def test_what_a_url_cannot_mean_is_left_at_its_default(query: str) -> None:
    filters = Filters()
    filters.read_url(query)
    assert filters.values() == Filters().values()


def test_what_a_url_does_not_name_is_reset() -> None:
    filters = Filters()
    filters.change({"region": "Italy", "edge": 10})
    filters.read_url("?region=Spain")
    assert (filters.region, filters.edge) == (["Spain"], None)


def test_a_day_begins_in_the_viewers_time_zone() -> None:
    assert asked("period=today")["from"] == "2026-11-22T23:00:00Z"
    assert asked("period=today")["to"] == "2026-11-23T23:00:00Z"


def test_a_period_across_the_change_of_clocks_keeps_local_midnight() -> None:
    filters = Filters()
    filters.change({"status": "all", "period": "last30"})
    question = filters.api_params(now=NOW, zone=BERLIN)
    assert question["from"] == "2026-10-24T22:00:00Z"  # still summer time
    assert question["to"] == "2026-11-23T23:00:00Z"


def test_all_and_any_ask_for_nothing() -> None:
    assert asked("status=all") == {}


def test_value_bets_only_is_the_flag_of_the_api_and_not_an_edge() -> None:
    assert asked("value=1&status=all") == {"value": "true"}
    assert asked("value=1&edge=20&status=all") == {"value": "true", "min_edge": "0.2"}


def test_several_regions_in_an_address_are_several_regions() -> None:
    assert asked("status=all&region=Italy&region=Spain")["region"] == ("Italy", "Spain")
    filters = Filters()
    filters.read_url("region=Spain&region=Italy&region=Spain&tournament=Serie+A&tournament=La+Liga")
    assert filters.to_url() == "region=Italy&region=Spain&tournament=La+Liga&tournament=Serie+A"


def test_more_regions_than_the_api_takes_are_ignored() -> None:
    filters = Filters()
    filters.read_url("&".join(f"region=R{n}" for n in range(21)))
    assert filters.region == []


def test_finished_matches_keep_a_period_that_has_begun_and_leave_out_one_that_lies_ahead() -> None:
    filters = Filters()
    for period, bounds in {"last30": {"from", "to"}, "today": {"from", "to"}, "next7": set(), "all": set()}.items():
        filters.read_url(f"period={period}&region=Italy&value=1")
        params = filters.finished_params(now=NOW, zone=BERLIN)
        assert params.keys() == {"status", "region", "value"} | bounds
        assert params["status"] == "finished"


def test_another_region_drops_the_tournament() -> None:
    filters = Filters()
    filters.change({"region": "Italy", "tournament": "Serie A"})
    filters.change({"region": "Spain"})
    assert filters.tournament == []


def test_finished_and_a_future_period_exclude_each_other_and_the_last_touched_wins() -> None:
    filters = Filters()
    filters.change({"period": "next7"})
    filters.change({"status": "finished"})
    assert filters.period == "all"
    filters.change({"period": "tomorrow"})
    assert filters.status == "upcoming"


@pytest.mark.parametrize(
    ("query", "order"),
    [
        ("", "kickoff"),
        ("status=finished", "-kickoff"),
        ("sort=-time", "-kickoff"),
        ("status=finished&sort=-time", "kickoff"),
        ("sort=edge", "-edge"),
    ],
)
def test_coming_matches_are_shown_soonest_first_and_others_newest_first(query: str, order: str) -> None:
    filters = Filters()
    filters.read_url(query)
    assert filters.api_sort() == order


def test_narrowing_names_what_hides_matches() -> None:
    filters = Filters()
    filters.read_url("q=abc&value=1&status=all&sort=edge")
    assert filters.active_names() == ["q", "value"]


@pytest.mark.parametrize("name", ["", "Mars/Olympus", "../etc/passwd", "\0", "a" * 5000])
def test_an_unknown_time_zone_is_utc(name: str) -> None:
    assert parse_time_zone(name) is UTC
