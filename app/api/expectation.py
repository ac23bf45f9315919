"""What a request expects before it sends its body."""

from aiohttp import HttpVersion11, hdrs, web

from app.api.headers import identify
from app.api.problems import HTTP_CODES, problem


async def expect(request: web.Request) -> web.Response | None:
    """Tell the client to go on; whatever else it expects of us is a problem, given before any middleware runs."""
    expected = request.headers.get(hdrs.EXPECT, "")
    if request.version < HttpVersion11:
        return None
    if expected.lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself has not begun
        return None
    identify(request)
    detail = f"Nothing is known of the expectation {expected[:100]!r}; 100-continue is."
    return problem(request, 417, HTTP_CODES[417], "Expectation Failed", detail)
