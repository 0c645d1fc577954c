"""OTLP over HTTP: a plain ASGI application that reads bodies and hands them to the intake."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

import uvicorn

from collectors.http_answers import (
    JSON,
    PROTOBUF,
    TEXT,
    Answer,
    HttpRefusal,
    SenderGone,
    answer_to,
    refusal,
    where_to_post,
)
from collectors.http_guard import Limits, guarded
from collectors.inflate import ENCODINGS, inflate
from collectors.intake import Channel, Intake
from collectors.listen import BACKLOG, Guard, bind, join_address
from collectors.room import Claim
from collectors.settings import OtlpHttpSettings
from collectors.signals import SIGNALS, Signal
from pipeline.decode import otlp_json
from pipeline.errors import BusUnavailable, MeshweirError, MessageTooLarge

SOURCE: Final = "otlp_http"
FIELD: Final = "otlp_http_address"

_OFF_LOOP_JSON_BYTES: Final = 64 * 1024
_JSON_GROWTH: Final = 8
"""Bytes of memory that a byte of JSON takes while it is read, about."""

_KEEP_ALIVE_SECONDS: Final = 120

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

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


class OtlpHttpReceiver:
    """Takes OTLP over HTTP/1.1 on one address.

    Args:
        intake: where bodies go.
        settings: the address and the limits.
        guard: who may send.
    """

    def __init__(self, intake: Intake, settings: OtlpHttpSettings, guard: Guard) -> None:
        self._intake = intake
        self._settings = settings
        self._guard = guard
        self._channels = {
            signal.path: (signal, Channel(SOURCE, signal.format, signal.topic))
            for signal in SIGNALS
        }
        self._address = settings.address or ""
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self._stopping = False
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def address(self) -> str:
        """Where it listens, as HOST:PORT."""
        return self._address

    async def start(self) -> None:
        """Listen; raises InvalidInput when the address cannot be had."""
        host, port = self._guard.check_address(self._settings.address or "", field=FIELD)
        listener = bind(host, port, field=FIELD)
        self._address = join_address(*listener.getsockname()[:2])
        await self._intake.warm_up(*(signal.format for signal in SIGNALS))
        self._stopping = False
        self._server = _Server(self._configuration())
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        await self._server.settled.wait()
        if not self._server.started:
            await self._serving
        _log.info("OTLP/HTTP is taken on http://%s", self._address)

    async def stop(self) -> None:
        """Refuse new requests, finish those under way, close. Idempotent."""
        if self._server is None or self._serving is None:
            return
        self._stopping = True
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
            answer = await self._serve(scope, receive)
            if answer is None:
                return
            start = {"type": "http.response.start", "status": answer.status}
            await send(start | {"headers": answer.headers})
            await send({"type": "http.response.body", "body": answer.body})
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    async def _serve(self, scope: Scope, receive: Receive) -> Answer | None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        content_type = _content_type(headers)
        try:
            signal, channel = self._route(scope, headers)
            encoding = self._check(headers, content_type)
        except MeshweirError as error:
            return refusal(error, content_type)

        async def body(claim: Claim) -> bytes:
            value = await self._read(receive, claim)
            if content_type == PROTOBUF:
                limit = self._settings.max_decompressed_bytes
                return await inflate(value, encoding, limit=limit, claim=claim)
            limit = self._settings.max_json_bytes
            value = await inflate(value, encoding, limit=limit, claim=claim)
            claim.grow(_JSON_GROWTH * len(value))
            return await _as_protobuf(value, signal)

        receipt = await self._intake.take(channel, body)
        if isinstance(receipt.error, SenderGone):
            return None
        return answer_to(signal, receipt, content_type)

    def _route(self, scope: Scope, headers: dict[bytes, bytes]) -> tuple[Signal, Channel]:
        if not self._guard.admits(headers.get(b"authorization", b"")):
            raise HttpRefusal(
                401,
                "a bearer token is needed: authorization: Bearer ...",
                (b"www-authenticate", b"Bearer"),
            )
        path = scope["path"]
        if path not in self._channels:
            raise where_to_post(path)
        if scope["method"] != "POST":
            raise HttpRefusal(405, f"{path} takes POST only", (b"allow", b"POST"))
        found: tuple[Signal, Channel] = self._channels[path]
        return found

    def _check(self, headers: dict[bytes, bytes], content_type: str) -> str:
        if self._stopping:
            raise BusUnavailable("this collector is stopping")
        if content_type == TEXT:
            given = headers.get(b"content-type", b"").decode("latin-1") or "none"
            raise HttpRefusal(415, f"content-type {given}: use {PROTOBUF} or {JSON}")
        encoding = headers.get(b"content-encoding", b"identity").decode("latin-1").strip().lower()
        if encoding not in ENCODINGS:
            raise HttpRefusal(
                415,
                f"content-encoding {encoding}: use {', '.join(ENCODINGS)}",
                (b"accept-encoding", ", ".join(ENCODINGS).encode()),
            )
        declared = headers.get(b"content-length", b"0")
        limit = self._settings.max_body_bytes
        if declared.isdigit() and int(declared) > limit:
            raise MessageTooLarge(size=int(declared), limit=limit, what="body")
        return encoding

    async def _read(self, receive: Receive, claim: Claim) -> bytes:
        try:
            async with asyncio.timeout(self._settings.read_timeout_seconds):
                return await self._read_all(receive, claim)
        except TimeoutError:
            seconds = self._settings.read_timeout_seconds
            raise HttpRefusal(
                408,
                f"the body took longer than {seconds:g} s",
                (b"connection", b"close"),
                reason="too slow",
            ) from None

    async def _read_all(self, receive: Receive, claim: Claim) -> bytes:
        limit = self._settings.max_body_bytes
        pieces: list[bytes] = []
        size = 0
        more = True
        while more:
            event = await receive()
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


async def _as_protobuf(value: bytes, signal: Signal) -> bytes:
    if len(value) < _OFF_LOOP_JSON_BYTES:
        return otlp_json.to_protobuf(value, signal.request)
    return await asyncio.to_thread(otlp_json.to_protobuf, value, signal.request)


def _content_type(headers: dict[bytes, bytes]) -> str:
    given = headers.get(b"content-type", b"").split(b";")[0].strip().lower().decode("latin-1")
    if given in {PROTOBUF, "application/protobuf"}:
        return PROTOBUF
    return JSON if given == JSON else TEXT
