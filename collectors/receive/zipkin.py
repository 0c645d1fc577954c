"""Zipkin's API for spans, version 2: ``POST /api/v2/spans`` with JSON or protobuf.

The answer is that of Zipkin's own server, 202 without a body. Zipkin has no word for a body of
which some spans are bad: the good ones are taken, and the text of the 202 tells of the others; a
body without a good span is refused.
"""

from typing import Final

from collectors.http.listener import HttpListener
from collectors.http.request import (
    TEXT,
    Answer,
    HttpRefusal,
    Request,
    SenderGone,
    answer,
    refusal_in_text,
)
from collectors.intake import Channel, Intake, Receipt
from collectors.listen import Guard
from collectors.room import Claim
from collectors.settings import ZipkinSettings
from pipeline.errors import BusUnavailable, MeshweirError
from pipeline.model.topics import RAW_TELEMETRY, ZIPKIN_JSON_FORMAT, ZIPKIN_PROTO_FORMAT

SOURCE: Final = "zipkin"
FIELD: Final = "zipkin_address"
PATH: Final = "/api/v2/spans"

_SLOW_BYTES: Final = 32 * 1024
"""From this size on a body is checked in a thread: its spans become OTLP one by one."""
_JSON_GROWTH: Final = 8
"""Bytes of memory that a byte of JSON takes while it is read, about."""

_JSON: Final = Channel(SOURCE, ZIPKIN_JSON_FORMAT, RAW_TELEMETRY, off_loop_bytes=_SLOW_BYTES)
_PROTO: Final = Channel(SOURCE, ZIPKIN_PROTO_FORMAT, RAW_TELEMETRY, off_loop_bytes=_SLOW_BYTES)
_CHANNELS: Final = {
    "": _JSON,
    "application/json": _JSON,
    "application/x-protobuf": _PROTO,
    "application/protobuf": _PROTO,
}
"""By content type; Zipkin's own server takes what tells none for JSON."""


class ZipkinReceiver:
    """Takes spans as Zipkin does, on one address.

    Args:
        intake: where bodies go.
        settings: the address and the limits.
        guard: who may send.
    """

    def __init__(self, intake: Intake, settings: ZipkinSettings, guard: Guard) -> None:
        self._intake = intake
        self._settings = settings
        self._guard = guard
        self._listener = HttpListener("Zipkin", FIELD, settings, guard, self._serve)

    @property
    def address(self) -> str:
        """Where it listens, as HOST:PORT."""
        return self._listener.address

    async def start(self) -> None:
        """Listen; raises InvalidInput when the address cannot be had."""
        await self._intake.warm_up(ZIPKIN_JSON_FORMAT, ZIPKIN_PROTO_FORMAT)
        await self._listener.start()

    async def stop(self) -> None:
        """Refuse new requests, finish those under way, close. Idempotent."""
        await self._listener.stop()

    async def _serve(self, request: Request) -> Answer | None:
        try:
            channel = self._channel(request)
        except MeshweirError as error:
            return refusal_in_text(error)

        async def body(claim: Claim) -> bytes:
            if channel is _PROTO:
                return await request.body(claim)
            value = await request.body(claim, limit=self._settings.max_json_bytes)
            claim.grow(_JSON_GROWTH * len(value))
            return value

        receipt = await self._intake.take(channel, body)
        if isinstance(receipt.error, SenderGone):
            return None
        return _answer_to(receipt)

    def _channel(self, request: Request) -> Channel:
        """What the body of a request is, where one may be taken; raises for any other."""
        request.check_guard(self._guard)
        if request.path != PATH:
            message = f"{request.path}: nothing is taken here; POST spans of Zipkin v2 to {PATH}"
            raise HttpRefusal(404, message)
        request.check_posted()
        if self._listener.stopping:
            raise BusUnavailable("this collector is stopping")
        channel = _CHANNELS.get(request.content_type)
        if channel is None:
            allowed = " or ".join(name for name in _CHANNELS if name)
            raise HttpRefusal(415, f"content-type {request.content_type}: use {allowed}")
        _ = request.encoding
        request.check_size()
        return channel


def _answer_to(receipt: Receipt) -> Answer:
    if receipt.error is not None:
        return refusal_in_text(receipt.error)
    if not receipt.rejected:
        return _TAKEN
    told = f"{receipt.rejected} spans rejected: {receipt.reason}; {receipt.accepted} taken\n"
    return answer(202 if receipt.accepted else 400, told.encode(), TEXT)


_TAKEN: Final = Answer(202, [(b"content-length", b"0")], b"")
