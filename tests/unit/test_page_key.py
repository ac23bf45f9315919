"""The match page's key: there once the API asks for keys, and then always the same."""

from pathlib import Path

import pytest

from app.auth import keys as auth_keys
from app.auth.keyring import Keyring, load_keys
from app.settings import Settings
from infra.local.__main__ import PAGE_KEY_SCOPES, ensure_page_key
from infra.local.children import LocalError
from infra.local.home import Home
from tests.support.build_keys import a_key


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(touchline_home=tmp_path)


def test_no_key_while_the_api_asks_for_none(settings: Settings) -> None:
    assert ensure_page_key(settings, Home(settings.touchline_home)) is None
    assert load_keys(settings.keys) == []


def test_page_gets_a_key_of_its_own_beside_the_others_and_keeps_it(settings: Settings) -> None:
    _, other = a_key()
    auth_keys.write_keys(settings.keys.file, [other])
    first, again = (ensure_page_key(settings, Home(settings.touchline_home)) for _ in range(2))
    assert first == again
    assert first is not None
    keys = load_keys(settings.keys)
    assert (len(keys), keys[0]) == (2, other)
    assert Keyring(keys).find(first).scopes == PAGE_KEY_SCOPES


def test_key_of_the_environment_is_enough(settings: Settings) -> None:
    auth_keys.write_keys(settings.keys.file, [a_key()[1]])
    given = settings.model_copy(update={"api_key": "x.y"})
    assert ensure_page_key(given, Home(settings.touchline_home)) is None


def test_broken_file_is_one_sentence(settings: Settings) -> None:
    settings.keys.file.write_text("[")
    with pytest.raises(LocalError, match="API keys cannot be read"):
        ensure_page_key(settings, Home(settings.touchline_home))
