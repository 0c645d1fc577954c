"""Streams in which an Envoy tells something, on the gRPC port: of access logs, of metrics.

Envoy names itself in the first message of a stream only. The bytes of that name go in front of
every later message, which is how protobuf merges messages, so each message on the bus stands for
itself. No such service answers in mid-stream: while the bus is full it does not read on, and
Envoy buffers, up to its own limit.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

import grpc

from collectors.grpc_answers import Context, Method, refuse
from collectors.intake import Channel, Intake
from collectors.room import Claim
from pipeline.decode.envoy.identifier import envoy_identifier
from pipeline.errors import BusUnavailable, Transient
from pipeline.model.ledger import Outcome
from pipeline.model.topics import RAW_TELEMETRY

_LAST_WORDS_SECONDS: Final = 0.1
"""When stopping: how long a quiet stream is still listened to, for what is on its way."""


@dataclass(frozen=True, slots=True)
class EnvoyStream:
    """One kind of stream.

    Attributes:
        method: the gRPC method that it is sent to.
        source: the name of the receiver.
        format: of its messages; in field 1 of the first is the identifier, whose field 1 is a node.
        patience_seconds: how long a stream is not read while the bus is full, before it is ended.
    """

    method: str
    source: str
    format: str
    patience_seconds: float


class EnvoyStreamService:
    """The handler of streams of one kind; ``OtlpGrpcReceiver`` gives it a port.

    Args:
        intake: where messages go.
        stream: what they are.
    """

    def __init__(self, intake: Intake, stream: EnvoyStream) -> None:
        self._intake = intake
        self._format = stream.format
        self._channel = Channel(
            stream.source,
            stream.format,
            RAW_TELEMETRY,
            patience=stream.patience_seconds,
            lost=Outcome.DROPPED,
        )
        self._stopping = asyncio.Event()

    @property
    def handler(self) -> Method:
        """The method for a generic gRPC server: bytes in, bytes out."""
        return grpc.stream_unary_rpc_method_handler(self._stream)

    def stop(self) -> None:
        """End the streams, each after the message it is at."""
        self._stopping.set()

    async def _stream(self, _: object, context: Context) -> bytes:
        identifier = b""
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            while (message := await self._next(context, stopping)) is not None:
                identifier = await self._take(context, identifier, message)
        finally:
            stopping.cancel()
        if self._stopping.is_set():
            await refuse(context, BusUnavailable("this collector is stopping"))
        return b""

    async def _next(self, context: Context, stopping: "asyncio.Task[bool]") -> bytes | None:
        """The next message; None at the end of the stream, or when this service ends it."""
        reading = asyncio.create_task(_read(context))
        try:
            await asyncio.wait({reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                await asyncio.wait({reading}, timeout=_LAST_WORDS_SECONDS)
            return reading.result() if reading.done() else None
        finally:
            reading.cancel()

    async def _take(self, context: Context, identifier: bytes, message: bytes) -> bytes:
        """Bring one message to the bus; returns the identifier of the stream as known now."""
        known = identifier

        async def body(claim: Claim) -> bytes:
            nonlocal known
            claim.grow(len(known) + len(message))
            if known:
                return known + message
            known = envoy_identifier(message, self._format)
            return message

        receipt = await self._intake.take(self._channel, body)
        # a malformed message is counted and the stream goes on: the next one may well be good
        if isinstance(receipt.error, Transient):
            await refuse(context, receipt.error)
        return known


async def _read(context: Context) -> bytes | None:
    message = await context.read()
    return None if message is grpc.aio.EOF else message  # type: ignore[attr-defined]
