"""How Python's garbage collector is to treat a process that serves."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

YOUNG_OBJECTS = 10_000  # the default of 700 is reached within a handful of requests


@contextmanager
def settled() -> Iterator[None]:
    """Leave alone what has been imported and built so far: looking through it again took up to 100 ms at a time."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 50)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        # or it would still be there when extension modules count what they have left
        gc.unfreeze()
