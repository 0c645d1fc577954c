"""Serves an application over HTTP on a socket that already listens."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from fastapi import FastAPI

from pipeline.errors import MeshweirError


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: the command line has them."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def served(app: FastAPI, listener: socket.socket, drain: float) -> AsyncIterator[None]:
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
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            if serving.done():
                raise MeshweirError("the HTTP server did not start; the log on stderr says why")
            await asyncio.sleep(0.005)
        yield
    finally:
        server.should_exit = True
        await serving
