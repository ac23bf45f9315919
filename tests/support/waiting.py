"""Waiting for what other processes do, in tests without a loop."""

import socket
import time
from collections.abc import Callable

import psutil


def eventually(check: Callable[[], bool], timeout_s: float = 60.0) -> bool:
    """Whether it holds before that time is over."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if check():
            return True
        time.sleep(0.05)
    return False


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs; one whose end nobody has asked for yet does not."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def accepts(port: int) -> bool:
    """Whether somebody answers on the loopback."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0
