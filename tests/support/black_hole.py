"""A server that takes every connection and answers nothing, as one does that hangs."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def black_hole() -> Iterator[int]:
    """Its port. The system takes the connections; nobody ever reads them."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as server:
        yield server.getsockname()[1]
