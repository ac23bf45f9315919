"""The garbage collector of a process that serves."""

import subprocess
import sys

import pytest

LOOK = """
import gc
from app.runtime import freeze_gc
before = gc.get_threshold()
with freeze_gc():
    kept = gc.get_freeze_count()
    loop = []; loop.append(loop); del loop
    print(kept > 1000, gc.collect() >= 1)
print(gc.get_freeze_count() < kept, gc.get_threshold() == before)
"""


@pytest.mark.timeout(600)  # starts a process
def test_what_is_there_is_left_alone_and_new_garbage_is_still_collected() -> None:
    """In a process of its own: what is frozen here would stay."""
    said = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["True"] * 4
