"""The process whose forks run queries: it has imported all that they need, and reads no query itself."""

import gc
import os
import selectors
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from app.sql.protocol import ENDED, KILL, READY, STARTED
from app.sql.runner import run_query, warm_up
from app.sql.sandbox import lower_priority, set_parent_death_signal

_ORDER_BYTES = 64
_NO_PROCESS = -1


def main() -> None:
    """Be ready, then do as the socket says whose number is the argument."""
    # at a terminal it reaches the service too, which first lets queries end and then ends this process
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=int(sys.argv[1]))
    said = os.dup(sys.stdout.fileno())
    # what a library prints is no message of ours, and a fork keeps no hold of what these go through
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    warm_up()
    # what is shared with the forks stays shared: no collection writes to it
    gc.freeze()
    ForkLoop(control, said).serve()


class ForkLoop:
    """A loop over orders (`fork` with a socket for it; `kill` and a number) and over the ends of forks.

    It answers an order to fork with `started` and the number of the process (-1: there is none). When one ends it sends
    `ended`, its number and exit code.
    """

    def __init__(self, control: socket.socket, said: int) -> None:
        self._control = control
        self._said = said
        self._alive: dict[int, int] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ, self._handle_order)

    def serve(self) -> NoReturn:
        """Until the other end of the socket is closed."""
        self._send(READY)
        while True:
            for key, _ in self._selector.select():
                act: Callable[[], None] = key.data
                act()

    def _handle_order(self) -> None:
        order, sockets, _, _ = socket.recv_fds(self._control, _ORDER_BYTES, 1)
        if not order:
            os._exit(0)
        if sockets:
            self._fork(sockets[0])
        elif (pid := int(order.removeprefix(KILL))) in self._alive.values():
            # its number is nobody else's before its end has been taken note of
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _fork(self, asked: int) -> None:
        # its other end closes when the fork ends, however it does
        ended, alive = os.pipe()
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError:
            pid = _NO_PROCESS
        if pid == 0:
            os.close(ended)
            self._run_child(asked, parent)
        os.close(alive)
        os.close(asked)
        if pid == _NO_PROCESS:
            os.close(ended)
        else:
            self._alive[ended] = pid
            self._selector.register(ended, selectors.EVENT_READ, lambda: self._reap(ended))
        self._send(b"%s %d\n" % (STARTED, pid))

    def _run_child(self, asked: int, parent: int) -> NoReturn:
        """Be a fork: keep nothing of the parent's but what it has imported."""
        try:
            set_parent_death_signal(parent)
            lower_priority()
            self._selector.close()
            self._control.close()
            for descriptor in (self._said, *self._alive):
                os.close(descriptor)
            run_query(asked)
        finally:
            # whatever happens, a fork never goes on as its parent would
            os._exit(1)

    def _reap(self, ended: int) -> None:
        self._selector.unregister(ended)
        os.close(ended)
        pid, status = os.waitpid(self._alive.pop(ended), 0)
        self._send(b"%s %d %d\n" % (ENDED, pid, os.waitstatus_to_exitcode(status)))

    def _send(self, message: bytes) -> None:
        os.write(self._said, message)
