"""The API keeps to its own description under requests nobody thought of."""

import asyncio
import queue
import threading
from collections.abc import Iterator

import pytest
import schemathesis
from aiohttp import web
from hypothesis import HealthCheck, Phase
from hypothesis import settings as examples
from schemathesis.specs.openapi.checks import positive_data_acceptance

from app import appkeys
from app.api.openapi import document
from app.api.routes import ROUTES
from app.main import create_app
from app.settings import Settings
from tests.support.build_artifacts import write_artifacts
from tests.support.build_keys import a_key, as_setting
from tests.support.live import MemorySource, serving, settings_for
from tests.support.models import FEATURES

# an answer of /events has no end
schema = schemathesis.openapi.from_dict(document(ROUTES)).exclude(path="/events")
TEXT, KEY = a_key()


@pytest.fixture(scope="module")
def base_url(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Iterator[str]:
    """The API on a port, with a worker, in a thread with a loop of its own; Schemathesis is synchronous."""
    home = tmp_path_factory.mktemp("requests")
    write_artifacts(home / "artifacts", feature_names=FEATURES)
    values = {"artifacts_uri": str(home / "artifacts"), "touchline_home": home, "model_aliases": ("champion",)}
    values["api_keys"] = as_setting(KEY)
    server = Server(settings_for(redis_url, **values))
    thread = threading.Thread(target=asyncio.run, args=(server.serve(),))
    thread.start()
    yield server.url.get(timeout=20)
    server.stop()
    thread.join(10)


class Server:
    """The API and a worker until told to stop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.url: queue.Queue[str] = queue.Queue()

    async def serve(self) -> None:
        """Serve; the address goes into `url`."""
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        app = create_app(self._settings)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        await app[appkeys.SNAPSHOTS].refresh()
        async with serving(self._settings, MemorySource()):
            self.url.put(f"http://127.0.0.1:{runner.addresses[0][1]}")
            await self._stopped.wait()
        await runner.cleanup()

    def stop(self) -> None:
        """From another thread."""
        self._loop.call_soon_threadsafe(self._stopped.set)


@pytest.mark.timeout(120)
@schema.parametrize()
@examples(
    max_examples=15,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)
def test_answers_fit_the_description(case: schemathesis.Case, base_url: str) -> None:
    """No undescribed status, no body that does not fit, no 500; what breaks the schema is refused.

    That all that fits is accepted is not asked: a cursor is a word only the service can make, and 7.0 is an integer to
    JSON Schema but not to whoever must tell 2**53 from 2**53 + 1.
    """
    case.call_and_validate(base_url=base_url, headers={"X-API-Key": TEXT}, excluded_checks=[positive_data_acceptance])
