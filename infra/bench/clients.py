"""Many HTTP clients in one lean process, so that they take little from the servers they measure.

python -m infra.bench.clients PORT CLIENTS SECONDS FILE: asks for the paths in FILE in turn, one a line with its
headers after tabs, each client as soon as it has its answer, and prints what it saw as one JSON object.
"""

import json
import selectors
import socket
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import cycle
from pathlib import Path
from time import perf_counter

import numpy as np

_END = b"\r\n\r\n"
_LENGTH = b"content-length: "
_LAST_CHUNK = b"\r\n0\r\n\r\n"
_READ_BYTES = 65_536
_GIVE_UP_S = 60.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What the clients saw: times, answers a second, and how many were no success or were known before."""

    clients: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    per_s: float
    failed: int
    known: int  # had an Age header
    answers: int


@dataclass(slots=True)
class _Client:
    socket: socket.socket
    received: bytes = b""
    asked_at: float = 0.0

    def ask(self, line: str) -> None:
        path, *headers = line.split("\t")
        request = "\r\n".join([f"GET {path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()
        self.received = b""
        self.asked_at = perf_counter()
        self.socket.sendall(request)

    def answer(self) -> bytes | None:
        """The whole answer, once it is here."""
        more = self.socket.recv(_READ_BYTES)
        if not more:
            raise ConnectionError("the server hung up")
        self.received += more
        head = self.received.find(_END)
        if head < 0:
            return None
        length = _length(self.received[:head])
        is_whole = self.received.endswith(_LAST_CHUNK) if length is None else len(self.received) >= head + 4 + length
        return self.received if is_whole else None


def _length(head: bytes) -> int | None:
    """How long the body is; None when it comes in chunks."""
    if head[9:12] == b"304":
        return 0
    lower = head.lower()
    start = lower.find(_LENGTH)
    return None if start < 0 else int(lower[start + len(_LENGTH) :].split(b"\r", 1)[0])


@dataclass(slots=True)
class _Tally:
    took_ms: list[float] = field(default_factory=list)
    failed: int = 0
    known: int = 0

    def note(self, answer: bytes, took_s: float) -> None:
        self.took_ms.append(1000 * took_s)
        self.failed += answer[9:12] not in {b"200", b"304"}
        self.known += b"\r\nAge: " in answer[:1000]


def measure(port: int, clients: int, seconds: float, paths: Iterator[str]) -> Seen:
    """Ask for so many seconds, and wait for the last answers."""
    tally = _Tally()
    with selectors.DefaultSelector() as selector:
        for _ in range(clients):
            connection = socket.create_connection(("127.0.0.1", port))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client = _Client(connection)
            selector.register(connection, selectors.EVENT_READ, client)
            client.ask(next(paths))
        start = perf_counter()
        _turn(selector, tally, start + seconds, paths)
        elapsed_s = perf_counter() - start
    p50, p95, p99 = (float(value) for value in np.percentile(tally.took_ms, [50, 95, 99]))
    return Seen(clients, p50, p95, p99, len(tally.took_ms) / elapsed_s, tally.failed, tally.known, len(tally.took_ms))


def _turn(selector: selectors.BaseSelector, tally: _Tally, end: float, paths: Iterator[str]) -> None:
    while selector.get_map():
        events = selector.select(_GIVE_UP_S)
        if not events:
            raise TimeoutError(f"no answer within {_GIVE_UP_S:.0f} s")
        for key, _ in events:
            client: _Client = key.data
            answer = client.answer()
            if answer is None:
                continue
            now = perf_counter()
            tally.note(answer, now - client.asked_at)
            if now < end:
                client.ask(next(paths))
            else:
                selector.unregister(client.socket)
                client.socket.close()


def main() -> None:
    """Measure and print."""
    port, clients, seconds, file = sys.argv[1:]
    paths = cycle(Path(file).read_text(encoding="utf-8").splitlines())
    sys.stdout.write(json.dumps(asdict(measure(int(port), int(clients), float(seconds), paths))))


if __name__ == "__main__":
    main()
