"""Addresses to listen on: reading, guarding and binding them."""

import hmac
import ipaddress
import re
import socket
from typing import Final

from pydantic import SecretStr

from pipeline.errors import InvalidInput

BACKLOG: Final = 1024

_ADDRESS: Final = re.compile(r"(\[[0-9a-fA-F:.%\w]+\]|[^\[\]:\s/]+):(\d{1,5})", re.ASCII)


class Guard:
    """Who may send: anybody on loopback, or whoever carries the token.

    Args:
        token: the secret; None lets everybody in.
        scheme: what stands before it in the header that carries it.
        setting: the variable that sets it, for people.
    """

    def __init__(
        self,
        token: SecretStr | None,
        *,
        scheme: str = "Bearer ",
        setting: str = "MESHWEIR_INTAKE_TOKEN",
    ) -> None:
        self._expected = None if token is None else f"{scheme}{token.get_secret_value()}".encode()
        self._setting = setting

    @property
    def is_open(self) -> bool:
        """True when no token is asked for."""
        return self._expected is None

    def admits(self, carried: bytes) -> bool:
        """Whether the value of the header that carries the token lets its sender in."""
        return self._expected is None or hmac.compare_digest(carried, self._expected)

    def check_address(self, address: str, *, field: str) -> tuple[str, int]:
        """Host and port of an address that is safe to listen on.

        Raises:
            InvalidInput: it is no address, or other machines can reach it and no token is set.
        """
        host, port = split_address(address, field=field)
        if self.is_open and not is_loopback(host):
            raise InvalidInput(
                field,
                found=address,
                allowed="a loopback address such as 127.0.0.1, or any address once senders must "
                f"carry a token: set {self._setting}",
            )
        return host, port


def split_address(address: str, *, field: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT``; raises InvalidInput for anything else."""
    match = _ADDRESS.fullmatch(address)
    if match is None or int(match[2]) > 65_535:
        raise InvalidInput(
            field, found=address, allowed="HOST:PORT, such as 127.0.0.1:4318 or [::1]:0"
        )
    return match[1].strip("[]"), int(match[2])


def bind(host: str, port: int, *, field: str) -> socket.socket:
    """A socket that listens on an address; raises InvalidInput when it cannot be had."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise cannot_listen(field, host, port, str(error)) from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(where)
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise cannot_listen(field, host, port, error.strerror or str(error)) from error
    return bound


def cannot_listen(field: str, host: str, port: int, reason: str) -> InvalidInput:
    """The error for an address that cannot be had."""
    return InvalidInput(
        field,
        found=join_address(host, port),
        allowed=f"an address that can be listened on ({reason}); port 0 picks a free one",
    )


def join_address(host: str, port: int) -> str:
    """``HOST:PORT``, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches that host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
