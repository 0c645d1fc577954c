"""Addresses to listen on: how they are written, which are loopback, and binding one."""

import ipaddress
import re
import socket
from typing import Annotated, Final

from pydantic import AfterValidator

from pipeline.errors import InvalidInput

ALLOWED: Final = "HOST:PORT with a port of 0..65535, such as 127.0.0.1:8080 or [::1]:0"
BACKLOG: Final = 1024

_ADDRESS: Final = re.compile(r"(\[[0-9a-fA-F:.%\w]+\]|[^\[\]:\s/]+):(\d{1,5})", re.ASCII)


def split_address(address: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT``; raises ValueError for anything else."""
    match = _ADDRESS.fullmatch(address)
    if match is None or int(match[2]) > 65_535:
        raise ValueError(ALLOWED)
    return match[1].strip("[]"), int(match[2])


def _checked(address: str) -> str:
    split_address(address)
    return address


ListenAddress = Annotated[str, AfterValidator(_checked)]
"""A text of the form HOST:PORT; port 0 asks the system for a free one."""


def is_loopback(address: str) -> bool:
    """True when only this machine can reach ``address``."""
    host, _ = split_address(address)
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bind(address: str, *, field: str) -> socket.socket:
    """A listening socket at ``address``.

    Raises:
        InvalidInput: the address cannot be had; says why and names ``field``.
    """
    host, port = split_address(address)
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as problem:
        raise _cannot(field, address, problem) from problem
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(BACKLOG)
    except OSError as problem:
        listener.close()
        raise _cannot(field, address, problem) from problem
    return listener


def bound_address(listener: socket.socket) -> str:
    """Where a socket really listens, as HOST:PORT."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _cannot(field: str, address: str, problem: OSError) -> InvalidInput:
    reason = problem.strerror or str(problem)
    return InvalidInput(
        field, found=address, allowed=f"an address that can be had ({reason}); port 0 picks one"
    )
