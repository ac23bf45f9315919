"""Colours of the page, light and dark, as CSS variables: the only place that knows a colour."""

from collections.abc import Iterable, Mapping

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


def heat_alpha(probability: float) -> float:
    """Opacity of the shade of a probability: one text colour stays readable on all of them."""
    return 0.03 + 0.57 * min(max((probability - 0.08) / 0.84, 0.0), 1.0)


# Roboto comes with panel-material-ui's wheel; the range keeps the second file unloaded until a name needs it
LATIN_EXT = "U+0100-02BA,U+02BD-02C5,U+02C7-02CC,U+02CE-02D7,U+02DD-02FF,U+0304,U+0308,U+0329,U+1E00-1E9F,U+1EF2-1EFF"
FONT = '"Touchline Sans",system-ui,-apple-system,"Segoe UI",Roboto,sans-serif'


def css() -> str:
    """The variables: by the system's preference, unless the viewer chose."""
    light, dark = _block(LIGHT, "light"), _block(DARK, "dark")
    return (
        f":root{{{light}--font:{FONT};}}"
        f"@media (prefers-color-scheme:dark){{:root:not([data-theme=light]){{{dark}}}}}"
        f":root[data-theme=dark]{{{dark}}}"
    )


def fonts(url: str, names: Iterable[str]) -> str:
    """The @font-face rules of the Roboto files among `names`, served under `url`."""
    return "".join(_face(url, name) for name in names if name.startswith("roboto-latin-"))


def _face(url: str, name: str) -> str:
    weight = "600 700" if "-700-" in name else "400 500"
    characters = f"unicode-range:{LATIN_EXT};" if "-latin-ext-" in name else ""
    source = f'src:url("{url}/{name}") format("woff2");'
    return f'@font-face{{font-family:"Touchline Sans";font-display:swap;font-weight:{weight};{characters}{source}}}'


def _block(tokens: Mapping[str, str], scheme: str) -> str:
    return "".join(f"--{name}:{value};" for name, value in tokens.items()) + SCHEMES[scheme]
