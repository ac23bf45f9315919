"""The change feed over HTTP: real artifacts that change, a real worker, clients that come back, dawdle or vanish."""

import asyncio
import signal
import socket
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from app import appkeys
from app.artifacts.contract import ODDS
from tests.service.test_api_snapshots import publish, truncated
from tests.service.test_main import started, wait_ready
from tests.support.build_artifacts import FIRST_ID, NOW, Edit
from tests.support.events import Listener, listening
from tests.support.live import MemorySource, serving, settings_for
from tests.support.serving import NO_REDIS, Client, Serve, json_of, until

pytestmark = pytest.mark.timeout(600)  # waits for conditions on a machine that may be busy


def raised(*match_ids: int) -> Edit:
    """Odds in which the home price of some matches has moved."""

    def change(table: pa.Table) -> pa.Table:
        moved = pc.is_in(table["match_id"], pa.array(match_ids, pa.int64()))
        home = pc.if_else(moved, pc.add(table["odds_home"], 0.5), table["odds_home"])
        return table.set_column(table.column_names.index("odds_home"), "odds_home", home)

    return change


def recaptured(table: pa.Table) -> pa.Table:
    return table.set_column(
        table.column_names.index("captured_at"),
        "captured_at",
        pc.add(table["captured_at"], pa.scalar(timedelta(minutes=1))),
    )


async def swap(client: Client, folder: Path, **changes: object) -> str:
    """Publish new artifacts and have them taken; the new snapshot's id."""
    await asyncio.to_thread(publish, folder, **changes)
    await client.app[appkeys.SNAPSHOTS].refresh()
    current = client.app[appkeys.SNAPSHOTS].current
    assert current is not None
    return current.id


def n_listeners(client: Client) -> int:
    return client.app[appkeys.FEED].n_listeners


async def until_nobody_listens(client: Client) -> None:
    async def is_quiet() -> bool:
        return n_listeners(client) == 0

    await until(is_quiet, timeout_s=60)


async def test_new_listener_is_told_where_things_stand(client: Client) -> None:
    served = (await json_of(client, "/predict/odds/"))["snapshot"]
    async with listening(client) as listener:
        head = listener.response.headers
        assert (head["Content-Type"], head["Cache-Control"]) == ("text/event-stream", "no-store")
        assert 1000 <= int((await listener.block())["retry"]) < 5000
        heard = await listener.next()
    assert heard.kind == "snapshot"
    assert heard.data == {name: served[name] for name in ("id", "built_at", "source", "stale")}


async def test_swap_tells_the_snapshot_and_exactly_the_matches_whose_odds_moved(
    client: Client, artifacts: Path
) -> None:
    before = (await json_of(client, "/predict/odds/"))["items"]
    moved = [before[0]["match_id"], before[5]["match_id"]]
    async with listening(client) as listener:
        await listener.next_of("snapshot")
        snapshot = await swap(client, artifacts, edit={ODDS: raised(*moved)}, now=NOW)
        assert (await listener.next()).data["id"] == snapshot
        odds = await listener.next()
    assert odds.kind == "odds"
    assert odds.data == {"snapshot": snapshot, "match_ids": moved, "total": 2, "truncated": False}


async def test_matches_that_came_went_or_were_computed_anew_are_told(client: Client, artifacts: Path) -> None:
    def without_first(table: pa.Table) -> pa.Table:
        return table.slice(1)

    async with listening(client) as listener:
        await listener.next_of("snapshot")
        await swap(client, artifacts, seed=0, edit={ODDS: without_first})
        gone = await listener.next_of("odds")
        await swap(client, artifacts, seed=1)
        anew = await listener.next_of("predictions")
    assert gone.data["total"] == 1
    assert anew.data["total"] == 60
    assert anew.data["match_ids"][0] == FIRST_ID + 48  # the next kick-off of a match to come


async def test_odds_captured_again_at_the_same_price_are_no_news(client: Client, artifacts: Path) -> None:
    async with listening(client) as listener:
        await listener.next_of("snapshot")
        await swap(client, artifacts, edit={ODDS: recaptured})
        assert (await listener.next()).kind == "snapshot"
        last = await swap(client, artifacts, edit={ODDS: raised(FIRST_ID + 1)})
        assert (await listener.next()).data["id"] == last


async def test_snapshot_that_cannot_be_replaced_is_told_as_stale(client: Client, artifacts: Path) -> None:
    async with listening(client) as listener:
        assert (await listener.next()).data["stale"] is False
        await asyncio.to_thread(publish, artifacts, n_matches=70)
        await asyncio.to_thread(truncated, artifacts)
        await client.app[appkeys.SNAPSHOTS].refresh()
        stale = await listener.next()
    assert (stale.kind, stale.data["stale"]) == ("snapshot", True)
    assert "fault" not in stale.data  # it may name paths


async def test_more_changes_than_are_listed_are_marked(
    client: Client, artifacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.store.changes.LISTED_MATCHES", 7)
    async with listening(client) as listener:
        await listener.next_of("snapshot")
        await swap(client, artifacts, seed=3)
        odds = await listener.next_of("odds")
    assert len(odds.data["match_ids"]) == 7
    assert odds.data["total"] > 7
    assert odds.data["truncated"] is True


async def test_files_that_vanished_under_the_old_snapshot_mean_look_at_everything(
    client: Client, artifacts: Path
) -> None:
    async with listening(client) as listener:
        await listener.next_of("snapshot")
        old = client.app[appkeys.SNAPSHOTS].current
        assert old is not None
        await asyncio.to_thread((old.folder / ODDS).unlink)
        snapshot = await swap(client, artifacts, edit={ODDS: raised(FIRST_ID + 1)})
        odds, predictions = await listener.next_of("odds"), await listener.next_of("predictions")
    unknown = {"snapshot": snapshot, "match_ids": [], "total": None, "truncated": True}
    assert odds.data == predictions.data == unknown


async def test_listener_that_comes_back_is_told_what_it_missed(client: Client, artifacts: Path) -> None:
    async with listening(client) as listener:
        seen = await listener.next_of("snapshot")
    async with listening(client) as stayed:
        await stayed.next_of("snapshot")
        for n in (1, 2):
            await swap(client, artifacts, edit={ODDS: raised(FIRST_ID + n)})
            await stayed.next_of("odds")
    async with listening(client, seen.id) as listener:
        heard = [await listener.next() for _ in range(4)]
    assert [each.kind for each in heard] == ["snapshot", "odds", "snapshot", "odds"]
    assert heard[1].data["match_ids"] == [FIRST_ID + 1]
    numbers = [int(each.id.rpartition("-")[2]) for each in heard]
    assert numbers == list(range(numbers[0], numbers[0] + 4))


@pytest.mark.parametrize("last_id", ["feedc0ffee-3", "nonsense", "0-0"])
async def test_listener_of_another_life_is_told_to_start_anew(client: Client, last_id: str) -> None:
    async with listening(client) as listener:
        await listener.next_of("snapshot")
    async with listening(client, last_id) as listener:
        reset, snapshot = await listener.next(), await listener.next()
    assert (reset.kind, snapshot.kind) == ("reset", "snapshot")
    assert reset.id == snapshot.id
    async with listening(client, reset.id) as listener:
        client.app[appkeys.FEED].publish("odds", b"{}")
        assert (await listener.next()).kind == "odds"


async def test_silence_is_broken_by_signs_of_life(serve: Serve) -> None:
    client = await serve(event_heartbeat_s=0.05)
    async with listening(client) as listener:
        await listener.next_of("snapshot")
        assert [await listener.block() for _ in range(3)] == [{"": ""}] * 3


async def test_head_says_what_get_would_and_ends(client: Client) -> None:
    async with client.head("/events") as response:
        assert (response.status, response.headers["Content-Type"]) == (200, "text/event-stream")
        assert await response.read() == b""
    assert n_listeners(client) == 0


async def test_one_address_may_hold_half_of_all_places(serve: Serve) -> None:
    client = await serve(event_clients=4)
    async with listening(client), listening(client), client.get("/events") as refused:
        assert (refused.status, (await refused.json())["code"]) == (503, "feed-full")
        assert int(refused.headers["Retry-After"]) > 0
    await until_nobody_listens(client)
    async with listening(client) as listener:
        await listener.next_of("snapshot")


async def test_reader_that_does_not_read_is_dropped_and_the_others_are_not(client: Client) -> None:
    """It costs a bounded amount of memory, and nobody waits for it."""
    feed = client.app[appkeys.FEED]
    reader, writer = await asyncio.open_connection(client.server.host, client.server.port, limit=1024)
    writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    async with listening(client) as listener:
        await listener.next_of("snapshot")
        n_sent = await _flood(client, listener)
    assert feed.n_dropped == 1
    assert n_sent < 5000
    writer.close()


async def _flood(client: Client, listener: Listener) -> int:
    """Publish until somebody is dropped; the listener, who reads, gets everything."""
    feed, data = client.app[appkeys.FEED], b'"%b"' % (b"x" * 100_000)
    n_sent = 0
    while feed.n_dropped == 0:
        feed.publish("odds", data)
        n_sent += 1
        assert (await listener.next()).kind == "odds"
    assert n_listeners(client) == 1
    return n_sent


async def test_client_that_vanishes_leaves_nothing(client: Client) -> None:
    async with listening(client) as listener:
        await listener.next_of("snapshot")
        assert n_listeners(client) == 1
        listener.response.close()
    await until_nobody_listens(client)


async def test_models_are_told_as_workers_take_them_up(serve: Serve, redis_url: str) -> None:
    live = settings_for(redis_url, model_aliases=("champion",))
    source = MemorySource()
    client = await serve(redis_url=redis_url, queue_name=live.queue_name)
    async with listening(client) as listener, serving(live, source):
        assert (await listener.next_of("model")).data == {"alias": "champion", "version": "1"}
        source.version = "2"
        assert (await listener.next_of("model")).data == {"alias": "champion", "version": "2"}
        async with listening(client) as newcomer:
            assert (await newcomer.next_of("model")).data["version"] == "2"


async def test_open_streams_do_not_delay_a_stop(artifacts: Path, tmp_path: Path) -> None:
    """Their readers get a proper end."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environ = {"APP_PORT": str(port), "TOUCHLINE_HOME": str(tmp_path), "ARTIFACTS_URI": str(artifacts)}
    with started(**environ, REDIS_URL=NO_REDIS, LOG_FORMAT="json") as process:
        await asyncio.to_thread(wait_ready, f"http://127.0.0.1:{port}/readyz?need=reads")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b"event: snapshot")
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(9):  # the server waits 10 s for answers that do not end
            rest = await reader.read()
        writer.close()
        _, said = await asyncio.to_thread(process.communicate, timeout=20)
    assert rest.endswith(b"0\r\n\r\n")
    assert (process.returncode, "Traceback" in said) == (0, False)
