"""Fonbet's line: the feed in both shapes, its increments, and the derived table."""

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from worker.pipeline.bookmaker_feed.fonbet import BadFeed, FeedMatch, read_feed

KICKOFF = datetime(2026, 9, 12, 14, tzinfo=UTC)
SPORTS = [
    {"id": 1, "kind": "sport", "name": "Футбол"},
    {"id": 2, "kind": "sport", "name": "Хоккей"},
    {"id": 40, "kind": "segment", "parentId": 1, "name": "Англия. Премьер-лига"},
    {"id": 50, "kind": "segment", "parentId": 2, "name": "КХЛ"},
]
ODDS = {921: 2.1, 922: 3.4, 923: 3.6}


def event(number: int = 7, **changes: Any) -> dict[str, Any]:
    names = {"team1": "Арсенал", "team2": "Челси", "place": "line", "kind": 1, "rootKind": 1}
    return {"id": number, "level": 1, "sportId": 40, "startTime": int(KICKOFF.timestamp())} | names | changes


def flat(number: int = 7, odds: dict[int, float] = ODDS) -> list[dict[str, Any]]:
    return [{"e": number, "f": factor, "v": price} for factor, price in odds.items()]


def grouped(number: int = 7, odds: dict[int, float] = ODDS) -> list[dict[str, Any]]:
    return [{"e": number, "countAll": 3, "factors": [{"f": factor, "v": price} for factor, price in odds.items()]}]


def feed(folder: Path, name: str = "feed.json", version: int = 0, **parts: Any) -> Path:
    defaults = {"sports": SPORTS, "events": [event()], "customFactors": flat()} if not version else {"events": []}
    path = folder / name
    path.write_text(json.dumps({"fromVersion": version} | defaults | parts, ensure_ascii=False), "utf-8")
    return path


@pytest.mark.parametrize("factors", [flat(), grouped()], ids=["2019", "2026"])
def test_both_shapes_of_prices_give_the_match(tmp_path: Path, factors: list[dict[str, Any]]) -> None:
    line = read_feed([feed(tmp_path, customFactors=factors)])
    expected = FeedMatch(7, "Англия. Премьер-лига", "Арсенал", "Челси", KICKOFF, (2.1, 3.4, 3.6), is_live=False)
    assert line.matches == [expected]


def test_gzipped_feed_is_read(tmp_path: Path) -> None:
    path = feed(tmp_path)
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert len(read_feed([path]).matches) == 1


NOT_OURS = [event(sportId=50), event(level=2, parentId=6), event(sportId=99)]


@pytest.mark.parametrize("other", NOT_OURS, ids=["hockey", "half", "unknown segment"])
def test_what_is_no_football_match_is_not_in_the_line(tmp_path: Path, other: dict[str, Any]) -> None:
    line = read_feed([feed(tmp_path, events=[other])])
    assert not line.matches
    assert not line.skipped


LEFT_OUT = [
    ({"events": [event(rootKind=5)]}, "special"),
    ({"events": [event(team2="")]}, "special"),
    ({"events": [event(place="notActive")]}, "not_active"),
    ({"customFactors": flat(odds={921: 1.5, 923: 2.5})}, "no_1x2"),
    ({"customFactors": flat(odds=ODDS | {922: 0})}, "no_1x2"),
    ({"customFactors": []}, "no_1x2"),
    ({"customFactors": flat(odds=ODDS | {922: 34})}, "bad_odds_triple"),
    ({"eventBlocks": [{"eventId": 7, "state": "blocked"}]}, "suspended"),
    ({"eventBlocks": [{"eventId": 7, "state": "partial", "factors": [923]}]}, "suspended"),
]


@pytest.mark.parametrize(("parts", "reason"), LEFT_OUT)
def test_football_without_a_price_to_take_is_counted(tmp_path: Path, parts: dict[str, Any], reason: str) -> None:
    line = read_feed([feed(tmp_path, **parts)])
    assert not line.matches
    assert line.skipped == {reason: 1}


def test_block_of_other_markets_does_not_touch_1x2(tmp_path: Path) -> None:
    blocks = [{"eventId": 7, "state": "partial", "factors": [930]}]
    assert len(read_feed([feed(tmp_path, eventBlocks=blocks)]).matches) == 1


def test_increments_apply_in_the_order_of_versions_not_of_files(tmp_path: Path) -> None:
    first = feed(tmp_path, "a.json", 100, customFactors=flat(odds={921: 2.3}))
    second = feed(tmp_path, "b.json", 200, customFactors=flat(odds={921: 2.2}))
    snapshot = feed(tmp_path, "c.json")
    for order in ([snapshot, first, second], [second, first, snapshot]):
        assert read_feed(order).matches[0].odds == (2.2, 3.4, 3.6)


def test_increment_can_withdraw_unblock_and_add(tmp_path: Path) -> None:
    snapshot = feed(tmp_path, eventBlocks=[{"eventId": 7, "state": "blocked"}])
    unblocked = feed(tmp_path, "1.json", 100, eventBlocks=[{"eventId": 7, "state": "unblocked"}])
    withdrawn = feed(tmp_path, "2.json", 200, customFactors=flat(odds={922: 0}))
    added = feed(tmp_path, "3.json", 300, events=[event(8)], customFactors=grouped(8))
    assert not read_feed([snapshot]).matches
    assert len(read_feed([snapshot, unblocked]).matches) == 1
    line = read_feed([snapshot, unblocked, withdrawn, added])
    assert [each.event_id for each in line.matches] == [8]
    assert line.skipped == {"no_1x2": 1}


def test_snapshot_stands_for_itself(tmp_path: Path) -> None:
    """Of two full snapshots the newer one counts: what it does not list any more has no price."""
    old = feed(tmp_path, "line_2026-09-10.json", events=[event(7), event(8)], customFactors=flat(7) + flat(8))
    new = feed(tmp_path, "line_2026-09-12.json", customFactors=flat(odds=ODDS | {921: 2.3}))
    for order in ([old, new], [new, old]):
        assert [(each.event_id, each.odds[0]) for each in read_feed(order).matches] == [(7, 2.3)]


BROKEN = [
    ({"events": [event(7), event(8, startTime=None)]}, {"bad_event": 1}),
    ({"events": [event(7), {k: v for k, v in event(8).items() if k != "startTime"}]}, {"bad_event": 1}),
    ({"events": [event(7), {k: v for k, v in event(8).items() if k != "id"}]}, {"bad_event": 1}),
    ({"events": [event(7), None]}, {"bad_event": 1}),
    ({"events": [event(7), event(8, team1=5)]}, {"bad_event": 1}),
    ({"customFactors": [*flat(7), {"e": 8, "f": 921, "v": None}]}, {"no_1x2": 1}),
    ({"customFactors": [*flat(7), *flat(8)[1:], {"f": 921, "v": 2}]}, {"bad_factor": 1, "no_1x2": 1}),
    ({"customFactors": [*flat(7), {"e": 8, "factors": [{"v": 2}]}]}, {"bad_factor": 1, "no_1x2": 1}),
    ({"sports": [*SPORTS, {"name": "x"}], "events": [event(7)]}, {"bad_sport": 1}),
    ({"eventBlocks": [{"state": "blocked"}], "events": [event(7)]}, {"bad_block": 1}),
    ({"events": [event(7), event(8, level="1")]}, {"bad_event": 1}),
    ({"events": [event(7), event(8, sportId=None)]}, {"bad_event": 1}),
    ({"events": [event(7), event(8, team1="  ")]}, {"special": 1}),
    ({"events": [event(7), event(8, place="NotActive")]}, {"not_active": 1}),
    ({"eventBlocks": [{"eventId": 8, "state": "partial", "factors": ["922", [1]]}]}, {"suspended": 1}),
    ({"eventBlocks": [{"eventId": 8, "state": "partial", "factors": {"922": 1}}]}, {"suspended": 1}),
    ({"eventBlocks": {"8": {"state": "blocked"}}, "events": [event(7)]}, {"bad_block": 1}),
]


def test_list_that_is_none_is_counted(tmp_path: Path) -> None:
    result = read_feed([feed(tmp_path, events={"7": event(7)})])
    assert (result.matches, result.skipped) == ([], {"bad_event": 1})


@pytest.mark.parametrize(("parts", "skipped"), BROKEN)
def test_entry_that_cannot_be_read_costs_no_other(
    tmp_path: Path, parts: dict[str, Any], skipped: dict[str, int]
) -> None:
    whole = {"events": [event(7), event(8)], "customFactors": flat(7) + flat(8)} | parts
    result = read_feed([feed(tmp_path, **whole)])
    assert [each.event_id for each in result.matches] == [7]
    assert result.skipped == skipped


def test_instants_in_milliseconds_and_prices_in_quotes_are_read(tmp_path: Path) -> None:
    prices = [{"e": 7, "f": 921, "v": "2,1"}, {"e": 7, "f": 922, "v": "3.4"}, {"e": 7, "f": 923, "v": 3.6}]
    path = feed(tmp_path, events=[event(startTime=int(KICKOFF.timestamp() * 1000))], customFactors=prices)
    (match,) = read_feed([path]).matches
    assert (match.kickoff, match.odds) == (KICKOFF, (2.1, 3.4, 3.6))


@pytest.mark.parametrize("part", ["events", "sports", "customFactors", "eventBlocks"])
def test_list_that_is_null_is_empty(tmp_path: Path, part: str) -> None:
    assert not read_feed([feed(tmp_path, **{part: None})]).skipped.keys() - {"no_1x2"}


def test_live_match_says_so(tmp_path: Path) -> None:
    assert read_feed([feed(tmp_path, events=[event(place="live")])]).matches[0].is_live


def derived(folder: Path, **changes: Any) -> Path:
    one = {"time": int(KICKOFF.timestamp()), "sportName": 1, "Liga": "Футбол. Англия. Премьер-Лига"}
    whole = one | {"team1": "Арсенал", "team2": "Челси", "bids": {"1": 2.1, "X": 3.4, "2": 3.6}} | changes
    path = folder / "derived.json"
    path.write_text(json.dumps({"7": whole}), "utf-8")
    return path


def test_derived_table_gives_the_match(tmp_path: Path) -> None:
    (match,) = read_feed([derived(tmp_path)]).matches
    assert (match.event_id, match.odds, match.kickoff) == (7, (2.1, 3.4, 3.6), KICKOFF)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sportName": 121}, {"special": 1}),
        ({"bids": {"1": 2.1, "2": 1.7}}, {"no_1x2": 1}),
        ({"bids": {"1": 2.1, "X": 34, "2": 36}}, {"bad_odds_triple": 1}),
        ({"Liga": "Хоккей. КХЛ"}, {}),
    ],
)
def test_derived_events_that_are_no_football_match_with_prices(
    tmp_path: Path, changes: dict[str, Any], reason: dict[str, int]
) -> None:
    line = read_feed([derived(tmp_path, **changes)])
    assert not line.matches
    assert line.skipped == reason


def test_derived_entry_that_is_no_event_costs_no_other(tmp_path: Path) -> None:
    path = derived(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"8": None, "x": {"bids": {}}}))
    line = read_feed([path])
    assert ([each.event_id for each in line.matches], line.skipped) == ([7], {"bad_event": 2})


@pytest.mark.parametrize("content", ["", "[]", "<html>", '{"a": 1}', '{"x": {"bids": {}}}'])
def test_file_that_is_no_feed_is_a_named_error(tmp_path: Path, content: str) -> None:
    path = tmp_path / "feed.json"
    path.write_text(content)
    with pytest.raises(BadFeed):
        read_feed([path])
