"""A guarded HTTP connection: bounds on the head of a request, its time, and on connections.

uvicorn bounds none of them: a sender could open any number of connections, send headers without
end, or none at all. Bodies are bounded where they are read.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

_TOO_MANY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-type: text/plain\r\n"
    b"content-length: 21\r\nconnection: close\r\n\r\ntoo many connections\n"
)
_HEAD_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain\r\n"
    b"content-length: 22\r\nconnection: close\r\n\r\nthe head is too large\n"
)
_TOO_SLOW: Final = (
    b"HTTP/1.1 408 Request Timeout\r\ncontent-type: text/plain\r\n"
    b"content-length: 21\r\nconnection: close\r\n\r\nthe head is too slow\n"
)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one listener: bytes of a head, seconds it may take, connections at once."""

    max_head_bytes: int
    head_seconds: float
    max_connections: int


class GuardedConnection(HttpToolsProtocol):
    """One connection of uvicorn that keeps to ``limits``; make a class of it with ``guarded``."""

    limits: ClassVar[Limits]

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._in_head = True
        self._ended_here = False
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Refuse the connection when there are too many; else wait for a head."""
        super().connection_made(transport)
        if len(self.connections) > self.limits.max_connections:
            self._refuse(_TOO_MANY)
        else:
            self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer."""
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count the bytes of a head, and begin its time with its first byte."""
        if self.transport.is_closing():
            return
        if self._in_head and self._head_timer is None:
            self._arm()
        self._ended_here = False
        super().data_received(data)
        # these bytes may be the end of a body, with at most the beginning of the next head
        if self._in_head and not self._ended_here:
            self._head_bytes += len(data)
            if self._head_bytes > self.limits.max_head_bytes and not self.transport.is_closing():
                self._refuse(_HEAD_TOO_LARGE)

    def on_headers_complete(self) -> None:
        """The head is there; the body has its own bounds."""
        self._in_head = False
        self._head_bytes = 0
        self._disarm()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The next byte belongs to the next head."""
        self._in_head = True
        self._ended_here = True
        super().on_message_complete()

    def _arm(self) -> None:
        self._head_timer = self.loop.call_later(self.limits.head_seconds, self._too_slow)

    def _disarm(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self._refuse(_TOO_SLOW)

    def _refuse(self, answer: bytes) -> None:
        self._disarm()
        self.transport.write(answer)
        self.transport.close()


def guarded(limits: Limits) -> type[GuardedConnection]:
    """A class of connections that keep to these limits."""
    return type("GuardedConnection", (GuardedConnection,), {"limits": limits})
