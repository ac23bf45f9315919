"""Client connections: limits on request heads and bodies, timeouts, refused connections, and `Expect`."""

import asyncio
from collections import Counter

import orjson
import structlog
from aiohttp import HttpVersion11, hdrs, web
from aiohttp.http_exceptions import LineTooLong

from app.api.headers import identify
from app.api.problems import HTTP_CODES, MEDIA_TYPE, problem, problem_of_http_error
from app.auth.rate_limit import client_network

log = structlog.get_logger(__name__)

MAX_URL_BYTES = 4096
# the parser tells by this number alone which limit was broken, so it differs from the one above
MAX_FIELD_BYTES = 8190
MAX_HEADERS = 64
HEAD_TIMEOUT_S = 10.0  # a browser sends its head at once; who takes longer holds the connection for its own sake
KEEPALIVE_S = 75.0
LINGER_S = 2.0  # a client that is answered before its body has come may finish sending, unread, for so long
FAREWELL_S = 1.0  # so long a client that is connected may ask once more when the service is told to stop
_FAREWELL_POLL_S = 0.02
_CONTINUE = "100-continue"
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Connection(web.RequestHandler):
    """aiohttp's own, impatient with slow heads, and answering in problems when it cannot read one."""

    __slots__ = ("_factory", "_head_due")

    def __init__(self, server: web.Server, factory: "ConnectionFactory", *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=KEEPALIVE_S,
            access_log=None,  # type: ignore[arg-type]  # None is how aiohttp spells none
            max_line_size=MAX_URL_BYTES,
            max_field_size=MAX_FIELD_BYTES,
            max_headers=MAX_HEADERS,
            lingering_time=LINGER_S,
            # a coded body is refused where a body is read; a kilobyte would else become a gigabyte before anyone asks
            auto_decompress=False,
        )
        self._factory = factory
        self._head_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the clock of the first head; those of later ones end with the connection's keep-alive."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # of a TCP server
        if not self._factory.admit(self, transport):
            self.close()
            transport.write(_FULL)
            transport.close()
            return
        super().connection_made(transport)
        self._head_due = asyncio.get_running_loop().call_later(HEAD_TIMEOUT_S, self._end_without_head)

    def _end_without_head(self) -> None:
        if not self._request_count:
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the clock."""
        if self._head_due is not None:
            self._head_due.cancel()
        self._factory.forget(self)
        super().connection_lost(exc)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Say "Connection: close" with the last answer: when the service stops, or while a body is still to come.

        What aiohttp refuses before any middleware runs, as an expectation of an unknown place, becomes a problem here.
        """
        if isinstance(resp, web.HTTPException) and resp.status >= 400:
            resp = problem_of_http_error(request, resp)
        is_last = self._factory.is_closing or not request.content.is_eof()
        if is_last and isinstance(resp, web.StreamResponse):
            resp.force_close()
        return await super().finish_response(request, resp, start_time)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  # it quotes what was sent
    ) -> web.StreamResponse:
        """What could not be read, as a problem. Neither log nor answer quote it: there may be a key in it."""
        status = _status(status, exc)
        log.info("request.unreadable", status=status, error=type(exc).__name__, remote=request.remote)
        return _problem(status)


def _status(status: int, exc: BaseException | None) -> int:
    if isinstance(exc, LineTooLong):
        return 414 if exc.args[1] == MAX_URL_BYTES else 431
    return 431 if "Too many headers" in str(exc) else status


def _problem(status: int) -> web.Response:
    code = HTTP_CODES.get(status, "http-error")
    title = code.replace("-", " ").capitalize()
    members = {"type": f"urn:problem:{code}", "title": title, "status": status, "code": code, "detail": f"{title}."}
    headers = {hdrs.SERVER: "touchline", "X-Content-Type-Options": "nosniff"}
    response = web.Response(body=orjson.dumps(members), status=status, content_type=MEDIA_TYPE, headers=headers)
    response.force_close()
    return response


class ConnectionFactory:
    """Opens a connection for each client that comes, as long as there is room for it and for its address."""

    def __init__(self, server: web.Server, *, max_connections: int, max_per_address: int) -> None:
        self._server = server
        self._max_connections = max_connections
        self._max_per_address = max_per_address
        self._networks: dict[Connection, str] = {}
        self._by_network: Counter[str] = Counter()
        self.is_closing = False

    def __call__(self) -> Connection:
        return Connection(self._server, self, loop=asyncio.get_running_loop())

    def admit(self, connection: Connection, transport: asyncio.Transport) -> bool:
        """Count a new connection; false when there is no room for it."""
        peer = transport.get_extra_info("peername")
        network = client_network(peer[0]) if isinstance(peer, tuple) else "unix"
        if len(self._networks) >= self._max_connections or self._by_network[network] >= self._max_per_address:
            return False
        self._networks[connection] = network
        self._by_network[network] += 1
        return True

    def forget(self, connection: Connection) -> None:
        """Take a connection that has ended off the count."""
        network = self._networks.pop(connection, None)
        if network is not None:
            self._by_network[network] -= 1
            if not self._by_network[network]:
                del self._by_network[network]

    async def close(self, listener: asyncio.Server) -> None:
        """Let nobody else in; each client that is connected may ask once more, and its answer says to come no more.

        To a client whose question is under way, a connection that just ends is an error.
        """
        self.is_closing = True
        await asyncio.sleep(_FAREWELL_POLL_S)  # who has knocked is let in: closing turns them away unheard
        listener.close()
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + FAREWELL_S
        while self._server.connections and loop.time() < ends_at:  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(_FAREWELL_POLL_S)


async def check_expectation(request: web.Request) -> web.Response | None:
    """Refuse every expectation but 100-continue, before any middleware runs.

    The client is told to go on by `send_continue`, where its body is read: never before its key is checked.
    """
    expected = request.headers.get(hdrs.EXPECT, "")
    if request.version < HttpVersion11 or expected.lower() == _CONTINUE:
        return None
    identify(request)
    detail = f"The only expectation that is met is {_CONTINUE}, not {expected[:100]!r}."
    return problem(request, 417, HTTP_CODES[417], "Expectation Failed", detail)


async def send_continue(request: web.Request) -> None:
    """Tell a client that waits for it to send its body."""
    if request.version >= HttpVersion11 and request.headers.get(hdrs.EXPECT, "").lower() == _CONTINUE:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself has not begun
