"""A bounded HTTP/1.1 listener: what all receivers over HTTP share, but for what they take."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

import uvicorn

from collectors.http.guard import Limits, guarded
from collectors.http.request import Answer, Receive, Request, Scope
from collectors.listen import BACKLOG, Guard, bind, join_address
from collectors.settings import HttpSettings

_KEEP_ALIVE_SECONDS: Final = 120

Send = Callable[[dict[str, Any]], Awaitable[None]]

Serve = Callable[[Request], Awaitable[Answer | None]]
"""Answers one request; None when its sender went away."""

_log = logging.getLogger(__name__)


class _Server(uvicorn.Server):
    """uvicorn without its handling of signals, which belong to the process."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.settled = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        finally:
            self.settled.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpListener:
    """Listens on one address and hands each request to ``serve``; a plain ASGI application.

    Args:
        what: what it takes, for people.
        field: the key of the setting that has the address, for errors.
        settings: the address and the limits.
        guard: whether it may listen where other machines can reach it.
        serve: what answers a request.
    """

    def __init__(
        self, what: str, field: str, settings: HttpSettings, guard: Guard, serve: Serve
    ) -> None:
        self._what = what
        self._field = field
        self._settings = settings
        self._guard = guard
        self._serve = serve
        self._address = settings.address or ""
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.stopping = False
        """True once it refuses new requests; ``serve`` must tell their senders."""

    @property
    def address(self) -> str:
        """Where it listens, as HOST:PORT."""
        return self._address

    async def start(self) -> None:
        """Listen; raises InvalidInput when the address cannot be had, or is not safe."""
        host, port = self._guard.check_address(self._settings.address or "", field=self._field)
        listener = bind(host, port, field=self._field)
        self._address = join_address(*listener.getsockname()[:2])
        self.stopping = False
        self._server = _Server(self._configuration())
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        await self._server.settled.wait()
        if not self._server.started:
            await self._serving
        _log.info("%s is taken on http://%s", self._what, self._address)

    async def stop(self) -> None:
        """Refuse new requests, finish those under way, close. Idempotent."""
        if self._server is None or self._serving is None:
            return
        self.stopping = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain_seconds):
                await self._idle.wait()
        self._server.should_exit = True
        await self._serving
        self._server, self._serving = None, None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, as ASGI wants it."""
        if scope["type"] != "http":
            return
        self._under_way += 1
        self._idle.clear()
        try:
            answer = await self._serve(Request(scope, receive, self._settings))
            if answer is None:
                return
            start = {"type": "http.response.start", "status": answer.status}
            await send(start | {"headers": answer.headers})
            await send({"type": "http.response.body", "body": answer.body})
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    def _configuration(self) -> uvicorn.Config:
        limits = Limits(
            self._settings.max_head_bytes,
            self._settings.read_timeout_seconds,
            self._settings.max_connections,
        )
        return uvicorn.Config(
            self,
            http=guarded(limits),
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=1,
        )
