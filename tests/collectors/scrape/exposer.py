"""A small HTTP server whose answers a test writes byte by byte, where it needs to."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Asked:
    """One request."""

    path: str
    headers: dict[str, str]


Answering = Callable[[Asked, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Exposer:
    """Answers GET by path, and remembers who asked.

    Attributes:
        answers: by path, without the query; what is not there is answered 404.
        asked: every request.
        open: connections that are.
    """

    answers: dict[str, Answering] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    port: int = 0
    scheme: str = "http"
    open: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def address(self) -> str:
        """``HOST:PORT``."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The base of its URLs."""
        return f"{self.scheme}://{self.address}"

    def exposes(self, body: bytes, path: str = "/metrics", **headers: str) -> None:
        """Answer this body from now on."""
        self.answers[path] = answer(body, **headers)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.open.add(writer)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {
                name.lower(): value
                for name, _, value in (line.partition(": ") for line in head[1:] if line)
            }
            asked = Asked(head[0].split(" ")[1], headers)
            self.asked.append(asked)
            answering = self.answers.get(asked.path.partition("?")[0], answer(b"", status=404))
            await answering(asked, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open.discard(writer)
            writer.close()


def answer(body: bytes, *, status: int = 200, **headers: str) -> Answering:
    """Answers always the same; headers are written with ``_`` for ``-``."""
    named = {"content_type": "text/plain; version=0.0.4", "content_length": str(len(body))}
    lines = "".join(
        f"{name.replace('_', '-')}: {value}\r\n" for name, value in (named | headers).items()
    )
    head = f"HTTP/1.1 {status} Told\r\nconnection: close\r\n{lines}\r\n".encode()

    async def answering(_: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(head + body)

    return answering


def redirect(to: str, status: int = 302) -> Answering:
    """Answers with another place."""
    return answer(b"elsewhere", status=status, location=to)


async def silence(_: Asked, writer: asyncio.StreamWriter) -> None:
    """Answers nothing for as long as anybody waits."""
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def endless(_: Asked, writer: asyncio.StreamWriter) -> None:
    """Answers samples without end."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"a 1\n" * 20_000)
        await writer.drain()


@asynccontextmanager
async def exposing(tls: ssl.SSLContext | None = None) -> AsyncIterator[Exposer]:
    """A running server on a free port."""
    exposer = Exposer(scheme="https" if tls else "http")
    server = await asyncio.start_server(exposer.serve, "127.0.0.1", 0, ssl=tls)
    exposer.port = server.sockets[0].getsockname()[1]
    try:
        yield exposer
    finally:
        server.close()
        for writer in exposer.open:
            writer.transport.abort()
        await asyncio.sleep(0.01)
