"""Who gets in: names of this machine, pages of this origin, and no address that takes all the room."""

import asyncio
from pathlib import Path

import pytest

from app.auth.rate_limit import client_network
from tests.service.test_connection import request, serving
from tests.support.serving import Client, Serve

pytestmark = pytest.mark.timeout(600)
PATHS = ["/livez", "/predict/cards/", "/metrics", "/openapi.json", "/docs", "/docs/static/docs.js", "/nowhere"]


FOREIGN_HOSTS = ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "192.0.2.1", "", "a b"]
OWN_HOSTS = [
    "localhost",
    "LOCALHOST:8000",
    "localhost.",
    "127.0.0.1",
    "127.0.0.1:1",
    "127.0.0.9",
    "[::1]",
    "[::1]:8000",
]


async def test_loopback_answers_to_its_own_names_alone(client: Client) -> None:
    """DNS rebinding: a page points its own name at 127.0.0.1, and to the browser the API is of its own origin."""
    for path in PATHS:
        for host in FOREIGN_HOSTS:
            async with client.get(path, headers={"Host": host}) as response:
                said = await response.json(content_type="application/problem+json")
            assert (response.status, said["code"]) == (421, "host-unknown"), (path, host)
    for host in OWN_HOSTS:
        assert (await client.get("/livez", headers={"Host": host})).status == 200, host


async def test_further_names_are_a_setting(serve: Serve) -> None:
    client = await serve(allowed_hosts=("api.example",))
    assert (await client.get("/livez", headers={"Host": "api.example:443"})).status == 200
    assert (await client.get("/livez", headers={"Host": "localhost"})).status == 200
    assert (await client.get("/livez", headers={"Host": "x.api.example"})).status == 421


async def test_beyond_loopback_any_name_will_do(serve: Serve) -> None:
    client = await serve(app_host="0.0.0.0", app_allow_public=True)
    assert (await client.get("/livez", headers={"Host": "anything.example"})).status == 200


CHANGING = [("POST", "/artifacts/refresh"), ("POST", "/predict/async/"), ("POST", "/sql")]
FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost:1"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:1"},
]


async def test_page_of_another_origin_changes_nothing(client: Client) -> None:
    """A plain form: the browser asks nobody before it sends it."""
    form = {"Content-Type": "text/plain"}
    for method, path in CHANGING:
        for headers in FOREIGN:
            async with client.request(method, path, headers=headers | form, data=b"x=1") as response:
                said = await response.json(content_type="application/problem+json")
            assert (response.status, said["code"]) == (403, "origin-refused"), (path, headers)


async def test_own_pages_listed_pages_and_programs_may(serve: Serve) -> None:
    client = await serve(cors_origins=("https://shop.example",))
    own = f"{client.server.host}:{client.server.port}"
    allowed: list[dict[str, str]] = [
        {},
        {"Origin": f"http://{own}"},
        {"Origin": "https://shop.example", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://behind-a-proxy.example", "Sec-Fetch-Site": "same-origin"},
    ]
    for headers in allowed:
        assert (await client.post("/artifacts/refresh", headers=headers)).status == 200


async def test_reading_across_origins_stays_a_matter_of_cors(client: Client) -> None:
    foreign = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    async with client.get("/predict/cards/", headers=foreign) as response:
        assert response.status == 200
        assert "Access-Control-Allow-Origin" not in response.headers


async def kept_open(port: int, address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    writer.write(request().replace(b"Connection: close\r\n", b""))
    return reader, writer


async def test_one_address_leaves_room_for_the_others(tmp_path: Path) -> None:
    async with serving(tmp_path, max_connections=10) as port:
        greedy = [await kept_open(port, "127.0.0.1") for _ in range(10)]
        answers = [await reader.readuntil(b"\r\n\r\n") for reader, _ in greedy]
        assert [answer.split()[1] for answer in answers] == [b"200"] * 5 + [b"503"] * 5
        others = [await kept_open(port, f"127.0.0.{n}") for n in range(2, 7)]
        assert [(await reader.readuntil(b"\r\n\r\n")).split()[1] for reader, _ in others] == [b"200"] * 5
        last = await kept_open(port, "127.0.0.9")
        assert (await last[0].readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 503")
        for _, writer in greedy[:5]:
            writer.close()
        while True:  # a place is free when the server has seen its client go
            reader, writer = await kept_open(port, "127.0.0.1")
            if (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200"):
                break
            writer.close()
        for _, each in (*greedy, *others, last, (reader, writer)):
            each.close()


async def test_addresses_of_one_ipv6_network_are_one_client() -> None:
    assert client_network("2001:db8::1") == client_network("2001:db8::ffff:1") != client_network("2001:db8:0:1::1")
    assert client_network("::ffff:192.0.2.7") == client_network("192.0.2.7") == "192.0.2.7"
    assert client_network("fe80::1%eth0") == client_network("fe80::2")
