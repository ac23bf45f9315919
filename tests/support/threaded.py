"""The API as `python -m app` serves it, in a thread with a loop of its own: one for a module of synchronous tests."""

import asyncio
import queue
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager

from app import appkeys
from app.main import create_app
from app.server import listening
from app.settings import Settings
from tests.support.live import MemorySource, serving

START_TIMEOUT_S = 120


class Server:
    """The API until told to stop, with a worker that holds tiny models where one is wanted."""

    def __init__(self, settings: Settings, *, with_worker: bool = False) -> None:
        self._settings = settings.model_copy(update={"app_port": 0})
        self._with_worker = with_worker
        self.url: queue.Queue[str] = queue.Queue()

    async def serve(self) -> None:
        """Serve; the address goes into `url`."""
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        app = create_app(self._settings)
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(listening(app))
            await app[appkeys.SNAPSHOTS].refresh()
            if self._with_worker:
                await stack.enter_async_context(serving(self._settings, MemorySource()))
            self.url.put(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
            await self._stopped.wait()

    def stop(self) -> None:
        """From another thread."""
        self._loop.call_soon_threadsafe(self._stopped.set)


@contextmanager
def served(settings: Settings, *, with_worker: bool = False) -> Iterator[str]:
    """The address of an API whose artifacts are open."""
    server = Server(settings, with_worker=with_worker)
    thread = threading.Thread(target=asyncio.run, args=(server.serve(),))
    thread.start()
    try:
        yield server.url.get(timeout=START_TIMEOUT_S)
    finally:
        server.stop()
        thread.join(30)
