"""Serves an application over HTTP on a socket that already listens."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from api.problems import problem
from pipeline.errors import MeshweirError

HEALTH_PATHS: Final = ("/livez", "/readyz", "/metrics", "/openapi.json")
"""What a process answers before its parts are there."""


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: the command line has them."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Front:
    """The application of a process from its first moment on.

    While parts are waited for it answers for the process's health; who asks for anything else is
    told to come back, with the reason.

    Args:
        health: answers meanwhile.
        unready: why the process does not serve.
    """

    def __init__(self, health: ASGIApp, unready: Callable[[], str | None]) -> None:
        self._app = health
        self._unready = unready
        self._whole = False

    def open(self, app: ASGIApp) -> None:
        """From now on the whole application answers."""
        self._app, self._whole = app, True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if self._whole or scope.get("path") in HEALTH_PATHS:
            await self._app(scope, receive, send)
            return
        refusal = problem(
            503,
            kind="unready",
            title="Not ready",
            detail=self._unready() or "starting",
            headers={"Retry-After": "1"},
        )
        await refusal(scope, receive, send)


class Serving:
    """A server that runs."""

    def __init__(self, server: uvicorn.Server, task: asyncio.Task[None]) -> None:
        self._server = server
        self._task = task

    @property
    def ended(self) -> bool:
        """Whether it runs no more."""
        return self._task.done()

    async def drain(self) -> None:
        """Take no more requests, and return when those under way are answered. Idempotent."""
        self._server.should_exit = True
        await self._task


@asynccontextmanager
async def served(app: ASGIApp, listener: socket.socket, drain: float) -> AsyncIterator[Serving]:
    """Serve until the end; then answer what is under way, for ``drain`` seconds at most.

    Raises:
        MeshweirError: the server did not start.
    """
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=max(1, round(drain)),
    )
    server = _Server(config)
    serving = Serving(server, asyncio.create_task(server.serve(sockets=[listener])))
    try:
        while not server.started:
            if serving.ended:
                raise MeshweirError("the HTTP server did not start; the log on stderr says why")
            await asyncio.sleep(0.005)
        yield serving
    finally:
        await serving.drain()
