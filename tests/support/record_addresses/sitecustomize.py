"""Python runs this at the start of every process that has this folder on its path: it writes down whom it talks to.

Each address outside this machine that a socket connects or sends to, and each name that is looked up, goes as a line
into the file that RECORD_ADDRESSES names. Alone because of its name, which is Python's.
"""

import os
import sys
from ipaddress import ip_address

_FILE = os.environ.get("RECORD_ADDRESSES", "")  # noqa: TID251  # it belongs to no service


def _is_here(host: object) -> bool:
    if isinstance(host, bytes):
        host = host.decode()
    if host in {None, "", "localhost", os.uname().nodename}:
        return True
    try:
        address = ip_address(str(host).partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _record(event: str, args: tuple[object, ...]) -> None:
    if event in {"socket.connect", "socket.sendto"} and isinstance(args[1], tuple):
        host: object = args[1][0]
    elif event in {"socket.getaddrinfo", "socket.gethostbyname"}:
        host = args[0]
    else:
        return
    if not _is_here(host):
        line = f"{event} {host!r} by {sys.argv}\n".encode()
        file = os.open(_FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, line)
        os.close(file)


if _FILE:
    sys.addaudithook(_record)
