"""What a process gives up before it runs the SQL of a stranger; DuckDB is told the same, this holds if it fails."""

import ctypes
import math
import os
import resource
import signal
import struct
import sys
import time

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_CREATE_RULESET, _RESTRICT_SELF = 444, 446  # system calls, the same numbers on every architecture
# execute, write, remove, make, refer, truncate and ioctl: bits 0, 1 and 4 to 15; reading is bits 2 and 3
_FILE_RIGHTS = 0xFFFF & ~0b1100
_FILE_RIGHTS_BY_ABI = {1: 0x1FFF, 2: 0x3FFF, 3: 0x7FFF, 4: 0x7FFF}
_NET_RIGHTS = 0b11  # bind and connect of TCP
_CAPABILITY_VERSION = 0x20080522
_PRIORITY = 10


def enter_sandbox() -> None:
    """Die with the parent; write no file, run no program, reach no network.

    Limits hold everywhere. Landlock, an empty network and no capabilities are taken where the kernel gives them.
    """
    libc, parent = _libc(), os.getppid()
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _leave_network(libc)
    _forbid_writing(libc)
    _drop_capabilities(libc)
    for kind in (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
        resource.setrlimit(kind, (0, 0))
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    # last: a change of credentials would undo it
    set_parent_death_signal(parent)


def set_parent_death_signal(parent: int) -> None:
    """Be killed when that process, which is the parent, ends; end at once if it has ended already."""
    _libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def lower_priority() -> None:
    """Go last in the queue for the processor."""
    os.nice(_PRIORITY)


def limit_resources(*, memory_bytes: int, cpu_s: int) -> None:
    """Allow so much more memory and processor time than was used, and no more files; what takes longer gets SIGXCPU."""
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123  # no more imports than needed
        in_use = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + memory_bytes,) * 2)
    # a start with nothing compiled may have taken longer than a query may
    ends_s = math.ceil(time.process_time()) + cpu_s
    resource.setrlimit(resource.RLIMIT_CPU, (ends_s, ends_s + 1))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _leave_network(libc: ctypes.CDLL) -> None:
    # as root at once, as another user in a user namespace of its own where that is allowed
    if libc.unshare(_CLONE_NEWNET) != 0:
        libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)


def _forbid_writing(libc: ctypes.CDLL) -> None:
    abi = libc.syscall(_CREATE_RULESET, None, 0, 1)
    if abi < 1:
        return
    files = _FILE_RIGHTS & _FILE_RIGHTS_BY_ABI.get(abi, 0xFFFF)
    attributes = struct.pack("QQ", files, _NET_RIGHTS if abi >= 4 else 0)
    ruleset = libc.syscall(_CREATE_RULESET, attributes, 16 if abi >= 4 else 8, 0)
    if ruleset >= 0:
        libc.syscall(_RESTRICT_SELF, ruleset, 0)
        os.close(ruleset)


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    """Root without capabilities is held by the permissions of files like anybody."""
    header = struct.pack("Ii", _CAPABILITY_VERSION, 0)
    libc.capset(header, struct.pack("IIIIII", *(0,) * 6))


if sys.platform != "linux":
    raise RuntimeError("SQL of strangers runs on Linux alone: elsewhere it cannot be confined")
