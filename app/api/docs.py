"""The API's description, for programs and for people.

Alone because each resource of the API has its handler module.
"""

from pathlib import Path

from aiohttp import web

from app import appkeys

STATIC = Path(__file__).parent / "static"
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Touchline API</title>
<link rel="stylesheet" href="/docs/static/swagger-ui.css">
<link rel="icon" href="data:,">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/static/swagger-ui-bundle.js"></script>
<script src="/docs/static/docs.js"></script>
</body>
</html>
"""


async def get_openapi(request: web.Request) -> web.Response:
    """This description."""
    headers = {"Cache-Control": "no-cache"}
    return web.Response(body=request.app[appkeys.OPENAPI], content_type="application/json", headers=headers)


async def get_docs(request: web.Request) -> web.Response:
    """This description as a page on which every endpoint can be tried; all its files are local."""
    headers = {
        "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:",
        "Cache-Control": "no-cache",
    }
    return web.Response(text=_PAGE, content_type="text/html", headers=headers)
