"""The page of a session: template, colors, fonts and assets around one board."""

import asyncio
from collections.abc import Awaitable, Iterable, Mapping
from datetime import UTC, datetime, tzinfo
from functools import cache
from typing import Any
from urllib.parse import unquote, urlencode

import panel as pn
from bokeh.application.application import SessionContext
from bokeh.application.handlers.handler import Handler
from bokeh.document import Document
from jinja2 import Template
from markupsafe import Markup
from panel.io.resources import _env

from app.client import ApiFailure
from app.schemas import RoiOut
from dashboards.change_feed import ChangeFeed
from dashboards.filters import Filters, Params, parse_time_zone
from dashboards.first_screen import FirstData, Reader, render_first_screen
from dashboards.format import Locale
from dashboards.static import ASSETS, assets_url, list_fonts
from dashboards.store import CachedAnswer, CardsPage, Store
from dashboards.views.board import Board

FIRST_S = 1.0  # how long a page waits for its first rows; without them it shows its outline
ZONE_COOKIE = "touchline-zone"
MAX_QUERY = 2000
DESCRIPTION = "Forecasts of football matches beside the odds: probabilities, edges, value bets and how they did."
SETTLE_S = 1.0  # after it, Panel's own hooks have let go of a closed session
TITLE = "Touchline · match forecasts"

# Contrast of text on each surface, and of text on the darkest probability shade, is checked by a test.
LIGHT: Mapping[str, str] = {
    "page": "#f4f7fa",
    "paper": "#ffffff",
    "sunken": "#edf2f6",
    "line": "#e0e7ee",
    "edge-line": "#8596a6",
    "text": "#14202b",
    "muted": "#556575",
    "brand": "#1f5faf",
    "on-brand": "#ffffff",
    "heat": "31 95 175",
    "good": "#08724f",
    "good-soft": "#e3f4ed",
    "bad": "#a83d07",
    "bad-soft": "#fdeee4",
    "warn": "#8a4b00",
    "warn-soft": "#fff3dc",
}
DARK: Mapping[str, str] = {
    "page": "#0d1319",
    "paper": "#141b22",
    "sunken": "#1b242d",
    "line": "#27323d",
    "edge-line": "#70808f",
    "text": "#e7edf3",
    "muted": "#9fafbd",
    "brand": "#7db2f5",
    "on-brand": "#0b1622",
    "heat": "74 144 226",
    "good": "#4fd1a1",
    "good-soft": "#12302a",
    "bad": "#ff9d66",
    "bad-soft": "#35221a",
    "warn": "#ffc266",
    "warn-soft": "#332812",
}

# the browser's own parts follow too, and the switch shows the sun or the moon
SCHEMES = {
    "light": "color-scheme:light;--show-in-light:block;--show-in-dark:none;",
    "dark": "color-scheme:dark;--show-in-light:none;--show-in-dark:block;",
}


# Roboto comes with panel-material-ui's wheel; the range keeps the second file unloaded until a name needs it
LATIN_EXT = "U+0100-02BA,U+02BD-02C5,U+02C7-02CC,U+02CE-02D7,U+02DD-02FF,U+0304,U+0308,U+0329,U+1E00-1E9F,U+1EF2-1EFF"
FONT = '"Touchline Sans",system-ui,-apple-system,"Segoe UI",Roboto,sans-serif'


@cache
def _render_css() -> str:
    return render_colors() + render_fonts(assets_url(), list_fonts())


@cache
def _load_template() -> Template:
    template: Template = _env.from_string((ASSETS / "page.html").read_text(encoding="utf-8"))
    return template


def build_page(store: Store, feed: ChangeFeed, first_screens: "FirstScreens", *, api_url: str) -> Any:
    """Return the page of a new session."""
    page = pn.Template(_load_template(), items={"board": Board(store, feed, api_url=api_url)})
    pn.state.on_session_destroyed(_schedule_cleanup)
    page.add_variable("page_title", TITLE)
    page.add_variable("assets", assets_url())
    page.add_variable("theme_css", _render_css())
    page.add_variable("font", next(name for name in list_fonts() if "-latin-400-" in name))
    page.add_variable("description", DESCRIPTION)
    page.add_variable("first_screen", first_screens.take(pn.state.curdoc.session_context.id))
    return page


class FirstScreens(Handler):
    """Renders the first screen of a session, while its document does not exist yet. A hook of Bokeh's application."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store
        self._screens: dict[str, Markup] = {}

    def modify_document(self, doc: Document) -> None:
        """Leave the document as it is."""

    async def on_session_created(self, session_context: SessionContext) -> None:
        """Load what the address asks for, from the cache of all sessions where it has it."""
        request: Any = session_context.request
        filters = Filters()
        filters.read_url(_read_query(request)[:MAX_QUERY])
        zone = parse_time_zone(unquote(request.cookies.get(ZONE_COOKIE, "")) if request else "")
        language = request.headers.get("Accept-Language", "") if request else ""
        reader = Reader(datetime.now(UTC), zone, Locale.from_header(language))
        data = await self._load(filters, reader.now, zone)
        self._screens[session_context.id] = Markup(render_first_screen(filters, data, reader))  # noqa: S704  escaped by Jinja

    def take(self, session_id: str) -> Markup:
        """Return the first screen of a session, once."""
        return self._screens.pop(session_id, Markup(""))

    async def _load(self, filters: Filters, now: datetime, zone: tzinfo) -> FirstData:
        params = filters.api_params(now=now, zone=zone)
        staking: Params = {} if filters.stake == filters.param.stake.default else {"staking": filters.stake}
        page: Awaitable[CachedAnswer[CardsPage]] | None = None
        exact: Awaitable[CachedAnswer[RoiOut]] | None = None
        settled: Awaitable[CachedAnswer[RoiOut]] | None = None
        if filters.view != "operations":
            exact = self._store.load_results({**params, **staking})
            if filters.status in {"upcoming", "live"}:
                settled = self._store.load_results({**filters.finished_params(now=now, zone=zone), **staking})
        if filters.view == "matches":
            page = self._store.load_cards(params, sort=filters.api_sort())
        return FirstData(*await asyncio.gather(*(self._wait(answer) for answer in (page, exact, settled))))

    @staticmethod
    async def _wait(answer: Awaitable[Any] | None) -> Any:
        """Return an answer, or None where it fails or is late: the live page says why."""
        if answer is None:
            return None
        try:
            async with asyncio.timeout(FIRST_S):
                return await answer
        except (ApiFailure, TimeoutError):
            return None


def _read_query(request: Any) -> str:
    """Return the query of the address that a session was opened at."""
    arguments = request.arguments if request else {}
    values = {name: [value.decode("utf-8", "replace") for value in values] for name, values in arguments.items()}
    return urlencode(values, doseq=True)


def _schedule_cleanup(_: Any) -> None:
    """Panel 1.9.4 keeps the name of every template's root for ever, in a list it searches on each message."""
    asyncio.get_running_loop().call_later(SETTLE_S, _drop_dead_roots)


def _drop_dead_roots() -> None:
    pn.state._fake_roots[:] = [ref for ref in pn.state._fake_roots if ref in pn.state._views]


def render_colors() -> str:
    """Return the CSS variables: by the system's preference, unless the viewer chose."""
    light, dark = _render_tokens(LIGHT, "light"), _render_tokens(DARK, "dark")
    return (
        f":root{{{light}--font:{FONT};}}"
        f"@media (prefers-color-scheme:dark){{:root:not([data-theme=light]){{{dark}}}}}"
        f":root[data-theme=dark]{{{dark}}}"
    )


def render_fonts(url: str, names: Iterable[str]) -> str:
    """Return the @font-face rules of the Roboto files among `names`, served under `url`."""
    return "".join(_render_font_face(url, name) for name in names if name.startswith("roboto-latin-"))


def _render_font_face(url: str, name: str) -> str:
    weight = "600 700" if "-700-" in name else "400 500"
    characters = f"unicode-range:{LATIN_EXT};" if "-latin-ext-" in name else ""
    source = f'src:url("{url}/{name}") format("woff2");'
    return f'@font-face{{font-family:"Touchline Sans";font-display:swap;font-weight:{weight};{characters}{source}}}'


def _render_tokens(tokens: Mapping[str, str], scheme: str) -> str:
    return "".join(f"--{name}:{value};" for name, value in tokens.items()) + SCHEMES[scheme]
