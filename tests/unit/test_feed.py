"""The log of events and those who listen, without HTTP."""

import time
from contextlib import ExitStack

import pytest

from app.errors import FeedFull
from app.events.feed import EventLog, Feed


def kinds(log: EventLog, last_id: str) -> list[str] | None:
    found = log.since(last_id)
    return None if found is None else [event.kind for event in found]


def test_event_is_written_as_the_standard_has_it() -> None:
    event = EventLog().append("odds", b'{"a":1}')
    assert event.encode() == f'id: {event.id}\nevent: odds\ndata: {{"a":1}}\n\n'.encode()


def test_what_was_missed_is_what_came_after() -> None:
    log = EventLog()
    start = log.last_id
    first, _second = log.append("a", b"{}"), log.append("b", b"{}")
    assert kinds(log, start) == ["a", "b"]
    assert kinds(log, first.id) == ["b"]
    assert kinds(log, log.last_id) == []


def test_what_fell_out_of_the_log_is_not_known_any_more() -> None:
    log = EventLog(kept_events=2)
    start = log.last_id
    ids = [log.append(kind, b"{}").id for kind in "abc"]
    assert kinds(log, start) is None
    assert kinds(log, ids[0]) == ["b", "c"]


def test_the_log_is_bounded_by_bytes_too() -> None:
    log = EventLog(kept_bytes=100)
    ids = [log.append("a", b"x" * 40).id for _ in range(3)]
    assert kinds(log, ids[0]) == ["a", "a"]
    log.append("huge", b"x" * 101)
    assert kinds(log, ids[2]) is None
    assert kinds(log, log.last_id) == []


@pytest.mark.parametrize("broken", ["", "-", "x-1", "{epoch}-", "{epoch}-2", "{epoch}--1", "{epoch}-1 ", "1-{epoch}"])
def test_ids_that_nobody_gave_are_not_known(broken: str) -> None:
    log = EventLog()
    epoch = log.append("a", b"{}").id.partition("-")[0]
    assert kinds(log, broken.format(epoch=epoch)) is None


def test_ids_of_a_later_process_are_later_ones() -> None:
    earlier = EventLog().last_id
    time.sleep(0.001)
    assert earlier < EventLog().last_id


async def test_listeners_get_the_present_state_then_all_that_comes() -> None:
    feed = Feed(limit=1)
    feed.publish("snapshot", b"1", state="snapshot")
    feed.publish("odds", b"2")
    feed.publish("snapshot", b"3", state="snapshot")
    with feed.listen(None, lambda: None) as listener:
        feed.publish("odds", b"4")
        assert [event.data for event in await listener.take(1) or ()] == [b"3", b"4"]
        assert await listener.take(0.01) == []


async def test_limit_counts_those_who_listen_now() -> None:
    feed = Feed(limit=1)
    with feed.listen(None, lambda: None), pytest.raises(FeedFull), feed.listen(None, lambda: None):
        pass
    with feed.listen(None, lambda: None):
        assert feed.n_listeners == 1


async def test_one_key_leaves_half_of_the_places_to_others() -> None:
    feed = Feed(limit=4)
    with ExitStack() as stack:
        for caller in ("a", "a", "b"):
            stack.enter_context(feed.listen(None, lambda: None, caller=caller))
        with pytest.raises(FeedFull, match="of this caller"), feed.listen(None, lambda: None, caller="a"):
            pass
        stack.enter_context(feed.listen(None, lambda: None, caller="c"))
        assert feed.n_listeners == 4


async def test_listener_that_takes_nothing_is_dropped() -> None:
    feed, dropped = Feed(limit=2), []
    with feed.listen(None, lambda: dropped.append(True)) as listener:
        for _ in range(1000):
            feed.publish("odds", b"{}")
        assert (feed.n_listeners, feed.n_dropped, dropped) == (0, 1, [True])
        assert await listener.take(1) is None


async def test_closing_ends_those_who_listen_and_those_who_come() -> None:
    feed = Feed(limit=2)
    with feed.listen(None, lambda: None) as before:
        feed.close()
        with feed.listen(None, lambda: None) as after:
            assert [await each.take(1) for each in (before, after)] == [None, None]
