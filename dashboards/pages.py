"""The pages there are and what surrounds them: one template, one board per session."""

import asyncio
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import panel as pn
from bokeh.embed.bundle import extension_dirs
from jinja2 import Template
from panel.io.resources import _env

from dashboards import theme
from dashboards.feed import Feed
from dashboards.store import Store
from dashboards.views.board import ASSETS, Board

EXTENSION = "touchline"
ASSETS_URL = f"static/extensions/{EXTENSION}"
FONTS_URL = f"{ASSETS_URL}-fonts"
SETTLE_S = 1.0  # after it, Panel's own hooks have let go of a closed session
TITLE = "Touchline · match forecasts"


def install_assets() -> None:
    """Let the server deliver the page's own scripts and styles."""
    extension_dirs[EXTENSION] = ASSETS
    extension_dirs[f"{EXTENSION}-fonts"] = _fonts()


@cache
def _fonts() -> Path:
    """The folder of fonts in panel-material-ui, found without importing the package."""
    spec = find_spec("panel_material_ui")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("panel-material-ui is not installed; the page takes its fonts from it.")
    return Path(spec.origin).parent / "dist"


@cache
def _css() -> str:
    return theme.css() + theme.fonts(FONTS_URL, sorted(path.name for path in _fonts().glob("*.woff2")))


@cache
def _template() -> Template:
    template: Template = _env.from_string((ASSETS / "page.html").read_text(encoding="utf-8"))
    return template


@cache
def _modules() -> list[str]:
    return sorted(path.name for path in Path(ASSETS).glob("*.js"))


def match_page(store: Store, feed: Feed) -> Any:
    """A new session's page."""
    page = pn.Template(_template(), items={"board": Board(store, feed)})
    pn.state.on_session_destroyed(_forget)
    page.add_variable("page_title", TITLE)
    page.add_variable("assets", ASSETS_URL)
    page.add_variable("theme_css", _css())
    page.add_variable("modules", _modules())
    return page


def _forget(_: Any) -> None:
    """Panel 1.9.4 keeps the name of every template's root for ever, in a list it searches on each message."""
    asyncio.get_running_loop().call_later(SETTLE_S, _drop_dead_roots)


def _drop_dead_roots() -> None:
    pn.state._fake_roots[:] = [ref for ref in pn.state._fake_roots if ref in pn.state._views]
