"""Free ports on loopback, held until the demo is over."""

import socket
from types import TracebackType
from typing import Self

from api.demo.envoy import LOOPBACK, Address


class Ports:
    """Hands out free ports and keeps each reserved while it is open.

    A reservation is a bound socket that shares its port (``SO_REUSEPORT``) and does not listen: no
    other program gets the port, while Envoy, which shares ports too, may listen on it.
    """

    def __init__(self) -> None:
        self._held: list[socket.socket] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        while self._held:
            self._held.pop().close()

    def reserve(self) -> Address:
        """A free port for an Envoy."""
        return _address(self._bind(shared=True))

    def listen(self) -> tuple[Address, socket.socket]:
        """A free port for a server of this process, and the socket that it shall serve."""
        bound = self._bind(shared=False)
        bound.listen(128)
        return _address(bound), bound

    def _bind(self, *, shared: bool) -> socket.socket:
        # asyncio turns Nagle's delay off only where the protocol is stated
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._held.append(bound)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((LOOPBACK, 0))
        return bound


def free_address(wanted: Address) -> Address:
    """``wanted`` when its port is free, else a free port of the same host.

    Nothing holds the port: whoever is told it must listen soon.
    """
    for address in (wanted, Address(0, wanted.host)):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
            # as servers do: a port whose last connection ended a moment ago is free
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind((address.host, address.port))
            except OSError:
                continue
            return _address(trial)
    raise OSError(f"no free port on {wanted.host}")


def _address(bound: socket.socket) -> Address:
    return Address(bound.getsockname()[1])
