"""Prometheus' remote write, 1.0 and 2.0: ``POST /api/v1/write``, protobuf packed by snappy.

Which version a body is says its content type. On the bus it goes as protobuf, unpacked. What a
sender is told follows the specifications: 2xx only for what is durable; 400 when something of the
body can never be taken, which a sender does not try again; 5xx for what it shall.

There is no 429 here, which other receivers answer when they are full: Prometheus drops what was
answered so, unless ``retry_on_http_429`` is set. It tries 503 again, and heeds ``Retry-After``.
"""

import math
from typing import Final

from collectors.http.listener import HttpListener
from collectors.http.request import (
    TEXT,
    Answer,
    Headers,
    HttpRefusal,
    Request,
    SenderGone,
    answer,
    refusal_in_text,
)
from collectors.intake import Channel, Intake, Receipt
from collectors.listen import Guard
from collectors.room import Claim
from collectors.settings import RemoteWriteSettings
from collectors.snappy import unsnapped
from pipeline.decode.remote_write_2 import taken
from pipeline.errors import BusUnavailable, MeshweirError, Transient
from pipeline.model.topics import RAW_TELEMETRY, REMOTE_WRITE_2_FORMAT, REMOTE_WRITE_FORMAT

SOURCE: Final = "remote_write"
FIELD: Final = "remote_write_address"
PATH: Final = "/api/v1/write"

_MEDIA_TYPE: Final = "application/x-protobuf"
_FIRST: Final = Channel(SOURCE, REMOTE_WRITE_FORMAT, RAW_TELEMETRY)
_SECOND: Final = Channel(SOURCE, REMOTE_WRITE_2_FORMAT, RAW_TELEMETRY)
_CHANNELS: Final = {
    "": _FIRST,
    "prometheus.WriteRequest": _FIRST,
    "io.prometheus.write.v2.Request": _SECOND,
}
"""By the content type's parameter ``proto``; 1.0 had none."""

_WRITTEN: Final = tuple(
    f"x-prometheus-remote-write-{what}-written".encode()
    for what in ("samples", "histograms", "exemplars")
)
"""Headers that 2.0 demands: how many of each were taken, in the order of ``taken``."""


class RemoteWriteReceiver:
    """Takes what Prometheus writes, on one address.

    Args:
        intake: where bodies go.
        settings: the address and the limits.
        guard: who may send.
    """

    def __init__(self, intake: Intake, settings: RemoteWriteSettings, guard: Guard) -> None:
        self._intake = intake
        self._settings = settings
        self._guard = guard
        self._listener = HttpListener("Remote write", FIELD, settings, guard, self._serve)

    @property
    def address(self) -> str:
        """Where it listens, as HOST:PORT."""
        return self._listener.address

    async def start(self) -> None:
        """Listen; raises InvalidInput when the address cannot be had."""
        await self._intake.warm_up(REMOTE_WRITE_FORMAT, REMOTE_WRITE_2_FORMAT)
        await self._listener.start()

    async def stop(self) -> None:
        """Refuse new requests, finish those under way, close. Idempotent."""
        await self._listener.stop()

    async def _serve(self, request: Request) -> Answer | None:
        written: Headers = []
        try:
            channel = self._channel(request)
        except MeshweirError as error:
            return _refusal(error)

        async def body(claim: Claim) -> bytes:
            packed = await request.raw_body(claim)
            limit = self._settings.max_decompressed_bytes
            value = await unsnapped(packed, limit=limit, claim=claim)
            if channel is _SECOND:
                counts = zip(_WRITTEN, taken(value), strict=True)
                written[:] = [(name, b"%d" % count) for name, count in counts]
            return value

        receipt = await self._intake.take(channel, body)
        if isinstance(receipt.error, SenderGone):
            return None
        return _answer_to(receipt, written)

    def _channel(self, request: Request) -> Channel:
        """What the body of a request is, where one may be taken; raises for any other."""
        request.check_guard(self._guard)
        if request.path != PATH:
            message = f"{request.path}: nothing is taken here; POST remote write to {PATH}"
            raise HttpRefusal(404, message)
        request.check_posted()
        if self._listener.stopping:
            raise BusUnavailable("this collector is stopping")
        proto = _proto(request)
        channel = None if proto is None else _CHANNELS.get(proto)
        if channel is None:
            raise HttpRefusal(415, f"{request.header('content-type')}: use {_offered()}")
        encoding = request.header("content-encoding").strip().lower()
        if encoding != "snappy":
            told = f"content-encoding {encoding or 'identity'}: use snappy, its block format"
            raise HttpRefusal(415, told, (b"accept-encoding", b"snappy"))
        request.check_size()
        return channel


def _proto(request: Request) -> str | None:
    """The message that the content type names, empty when it names none; None for other types."""
    if request.content_type not in ("", _MEDIA_TYPE):
        return None
    parameters = request.header("content-type").split(";")[1:]
    told = dict(one.strip().partition("=")[::2] for one in parameters)
    return told.get("proto", "").strip('"')


def _offered() -> str:
    return " or ".join(f"{_MEDIA_TYPE};proto={proto}" for proto in _CHANNELS if proto)


def _answer_to(receipt: Receipt, written: Headers) -> Answer:
    if receipt.error is not None:
        return _refusal(receipt.error)
    if not receipt.rejected:
        return Answer(204, written, b"")
    told = f"{receipt.rejected} rejected: {receipt.reason}; {receipt.accepted} taken\n"
    return answer(400, told.encode(), TEXT, written)


def _refusal(error: MeshweirError) -> Answer:
    if not isinstance(error, Transient):
        return refusal_in_text(error)
    again = (b"retry-after", b"%d" % max(1, math.ceil(error.retry_after)))
    return answer(503, f"{error}\n".encode(), TEXT, [again])
