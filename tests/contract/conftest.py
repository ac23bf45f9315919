"""Fixtures of the contract tests: the API on a port, with a worker behind it, with keys on and off."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.build_artifacts import write_artifacts
from tests.support.build_keys import a_key, as_setting
from tests.support.live import settings_for
from tests.support.models import FEATURES
from tests.support.serving import artifacts, client, serve
from tests.support.threaded import served

__all__ = ["artifacts", "client", "serve"]


@pytest.fixture(scope="session")
def contract_artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Artifacts that both of the APIs below serve."""
    return write_artifacts(tmp_path_factory.mktemp("contract") / "artifacts", feature_names=FEATURES)


@pytest.fixture(scope="session")
def open_url(tmp_path_factory: pytest.TempPathFactory, redis_url: str, contract_artifacts: Path) -> Iterator[str]:
    """The address of an API without keys."""
    values = {"artifacts_uri": str(contract_artifacts), "model_aliases": ("champion",)}
    home = tmp_path_factory.mktemp("open")
    with served(settings_for(redis_url, touchline_home=home, **values), with_worker=True) as url:
        yield url


@pytest.fixture(scope="session")
def keyed_url(
    tmp_path_factory: pytest.TempPathFactory, redis_url: str, contract_artifacts: Path
) -> Iterator[tuple[str, str]]:
    """The address of an API with keys, and SQL, and a key with every scope."""
    text, key = a_key()
    values = {"artifacts_uri": str(contract_artifacts), "model_aliases": ("champion",), "sql_enabled": True}
    home = tmp_path_factory.mktemp("keyed")
    settings = settings_for(redis_url, touchline_home=home, api_keys=as_setting(key), **values)
    with served(settings, with_worker=True) as url:
        yield url, text
