"""One HTTP request as a receiver sees it, and how it is answered; the same for all of them."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from collectors.inflate import ENCODINGS, inflate
from collectors.listen import Guard
from collectors.room import Claim, NoRoom
from collectors.settings import HttpSettings
from pipeline.errors import (
    BusFull,
    DecodeError,
    InvalidInput,
    MeshweirError,
    MessageTooLarge,
    Permanent,
    Transient,
)

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Headers = list[tuple[bytes, bytes]]

TEXT: Final = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer, ready to send."""

    status: int
    headers: Headers
    body: bytes


class SenderGone(Permanent):
    """The sender closed the connection; nobody is left to answer."""

    reason = "sender went away"


class HttpRefusal(Permanent):
    """A request that HTTP itself has a status for.

    Attributes:
        status: the HTTP status.
        headers: further headers.
        reason: why, in words that can be counted.
    """

    def __init__(
        self, status: int, message: str, *headers: tuple[bytes, bytes], reason: str = "refused"
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.status = status
        self.headers = headers


class Request:
    """One request: its head, and its body for those who ask.

    Args:
        scope: the connection scope of ASGI.
        receive: where ASGI gives the body.
        settings: the limits of the listener.
    """

    def __init__(self, scope: Scope, receive: Receive, settings: HttpSettings) -> None:
        self._scope = scope
        self._receive = receive
        self._settings = settings
        self.headers: Mapping[bytes, bytes] = dict(scope["headers"])

    @property
    def method(self) -> str:
        """GET, POST, ..."""
        return str(self._scope["method"])

    @property
    def path(self) -> str:
        """The path, without the query."""
        return str(self._scope["path"])

    @property
    def content_type(self) -> str:
        """The media type in lower case, without its parameters; empty when none is told."""
        return self.header("content-type").split(";")[0].strip().lower()

    def header(self, name: str) -> str:
        """The value of a header (its name in lower case), the last one; empty when it is absent."""
        return self.headers.get(name.encode(), b"").decode("latin-1")

    def check_guard(self, guard: Guard) -> None:
        """Refuse who does not carry the token; raises HttpRefusal."""
        if not guard.admits(self.headers.get(b"authorization", b"")):
            raise HttpRefusal(
                401,
                "a bearer token is needed: authorization: Bearer ...",
                (b"www-authenticate", b"Bearer"),
            )

    def check_posted(self) -> None:
        """Refuse what is no POST; raises HttpRefusal."""
        if self.method != "POST":
            raise HttpRefusal(405, f"{self.path} takes POST only", (b"allow", b"POST"))

    def check_size(self) -> None:
        """Refuse a body that is said to be too large, before it is read; raises MessageTooLarge."""
        declared = self.headers.get(b"content-length", b"0")
        limit = self._settings.max_body_bytes
        if declared.isdigit() and int(declared) > limit:
            raise MessageTooLarge(size=int(declared), limit=limit, what="body")

    @property
    def encoding(self) -> str:
        """The content encoding, one that can be undone.

        Raises:
            HttpRefusal: it is none of ``inflate.ENCODINGS``.
        """
        encoding = (self.header("content-encoding") or "identity").strip().lower()
        if encoding not in ENCODINGS:
            raise HttpRefusal(
                415,
                f"content-encoding {encoding}: use {', '.join(ENCODINGS)}",
                (b"accept-encoding", ", ".join(ENCODINGS).encode()),
            )
        return encoding

    async def body(self, claim: Claim, *, limit: int | None = None) -> bytes:
        """The body without its content encoding; the claim grows with it.

        Args:
            claim: what the request holds of the room.
            limit: bytes after decompression; the listener's own when None.

        Raises:
            HttpRefusal: an encoding that is not known, or a body that takes too long.
            SenderGone: the sender closed the connection.
            MessageTooLarge: more bytes than allowed, as sent or decompressed.
            DecodeError: the body is not what its encoding says.
            NoRoom: too much is under way.
        """
        encoding = self.encoding
        value = await self.raw_body(claim)
        most = self._settings.max_decompressed_bytes if limit is None else limit
        return await inflate(value, encoding, limit=most, claim=claim)

    async def raw_body(self, claim: Claim) -> bytes:
        """The body as it was sent, for encodings that are a receiver's own; raises as ``body``."""
        seconds = self._settings.read_timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                return await self._read(claim)
        except TimeoutError:
            raise HttpRefusal(
                408,
                f"the body took longer than {seconds:g} s",
                (b"connection", b"close"),
                reason="too slow",
            ) from None

    async def _read(self, claim: Claim) -> bytes:
        limit = self._settings.max_body_bytes
        pieces: list[bytes] = []
        size = 0
        more = True
        while more:
            event = await self._receive()
            if event["type"] == "http.disconnect":
                raise SenderGone("the sender closed the connection")
            piece = event["body"]
            more = event["more_body"]
            size += len(piece)
            if size > limit:
                raise MessageTooLarge(size=size, limit=limit, what="body")
            claim.grow(len(piece))
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def answer(status: int, body: bytes, content_type: str, headers: Headers | None = None) -> Answer:
    """An answer with the headers that all have."""
    common = [
        (b"content-type", content_type.encode()),
        (b"content-length", b"%d" % len(body)),
    ]
    return Answer(status, common + (headers or []), body)


def refusal_in_text(error: MeshweirError) -> Answer:
    """The answer to a request that is refused, in plain text."""
    return answer(status_of(error), f"{error}\n".encode(), TEXT, headers_of(error))


def status_of(error: MeshweirError) -> int:
    """The HTTP status that an error is told by."""
    if isinstance(error, HttpRefusal):
        return error.status
    if isinstance(error, MessageTooLarge):
        return 413
    if isinstance(error, (BusFull, NoRoom)):
        return 429
    if isinstance(error, Transient):
        return 503
    return 400 if isinstance(error, (DecodeError, InvalidInput)) else 500


def headers_of(error: MeshweirError) -> Headers:
    """The headers that go with an error: when to come back, and what HTTP asks for."""
    headers: Headers = []
    if isinstance(error, Transient):
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after))))
    if isinstance(error, HttpRefusal):
        headers.extend(error.headers)
    return headers
