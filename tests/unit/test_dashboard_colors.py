import itertools

import pytest

from dashboards import pages

AA_TEXT = 4.5
AA_SIGN = 3.0
THEMES = {"light": pages.LIGHT, "dark": pages.DARK}
Colour = tuple[float, float, float]


def parse(token: str) -> Colour:
    if token.startswith("#"):
        return tuple(int(token[i : i + 2], 16) for i in (1, 3, 5))  # type: ignore[return-value]  # three of them
    return tuple(float(part) for part in token.split())  # type: ignore[return-value]  # three of them


def over(front: Colour, back: Colour, alpha: float) -> Colour:
    return tuple(f * alpha + b * (1 - alpha) for f, b in zip(front, back, strict=True))  # type: ignore[return-value]


def luminance(colour: Colour) -> float:
    linear = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: Colour, b: Colour) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("name", THEMES)
def test_text_can_be_read_on_every_surface(name: str) -> None:
    tokens = {key: parse(value) for key, value in THEMES[name].items()}
    pairs = [*itertools.product(("text", "muted"), ("page", "paper", "sunken"))]
    pairs += [("good", "good-soft"), ("bad", "bad-soft"), ("warn", "warn-soft"), ("on-brand", "brand")]
    pairs += [
        ("good", "paper"),
        ("bad", "paper"),
        ("warn", "paper"),
        ("good", "sunken"),
        ("bad", "sunken"),
        ("warn", "sunken"),
    ]
    poor = {pair: contrast(tokens[pair[0]], tokens[pair[1]]) for pair in pairs}
    assert {pair: round(value, 2) for pair, value in poor.items() if value < AA_TEXT} == {}


@pytest.mark.parametrize("name", THEMES)
def test_one_text_colour_can_be_read_on_every_shade_of_probability(name: str) -> None:
    tokens = {key: parse(value) for key, value in THEMES[name].items()}
    for percent in range(3, 61):  # what `heat` of format.js gives, as its own test says
        shade = over(tokens["heat"], tokens["paper"], percent / 100)
        assert contrast(tokens["text"], shade) >= AA_TEXT
        odds = over(tokens["text"], shade, 0.92)  # the odds line is a little lighter
        assert contrast(odds, shade) >= AA_TEXT


@pytest.mark.parametrize("name", THEMES)
def test_borders_of_controls_and_signs_stand_out(name: str) -> None:
    tokens = {key: parse(value) for key, value in THEMES[name].items()}
    for token in ("edge-line", "brand", "good", "warn"):
        assert contrast(tokens[token], tokens["paper"]) >= AA_SIGN


def test_both_themes_name_the_same_colours() -> None:
    assert pages.LIGHT.keys() == pages.DARK.keys()
    assert pages.render_colors().count("--paper:") == 3


def test_fonts_name_only_files_that_were_given() -> None:
    css = pages.render_fonts(
        "here", ["roboto-latin-400-normal-A.woff2", "roboto-latin-ext-700-normal-B.woff2", "icons.woff2"]
    )
    assert css.count("@font-face") == 2
    assert "icons" not in css
    assert css.count("unicode-range") == 1
