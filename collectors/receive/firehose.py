"""The HTTP endpoint of Amazon Data Firehose, answered as its specification wants it.

Firehose takes exactly 200 for yes, with its own request id and a time in the body. All else it
sends again, for as long as its stream is configured to, and then writes the whole request to its
bucket: all but 413, after which it throws the request away. So 413 is never answered, and a record
that is bad does not keep back those around it: it goes along and is quarantined. Source: Firehose
developer guide, ``httpdeliveryrequestresponse``.
"""

import asyncio
import time
from typing import Final

import orjson

from collectors.firehose_body import Opened, envelope, opened
from collectors.http.listener import HttpListener
from collectors.http.request import (
    Answer,
    HttpRefusal,
    Request,
    SenderGone,
    answer,
    headers_of,
    status_of,
)
from collectors.intake import Channel, Intake, Parcel
from collectors.listen import Guard
from collectors.room import Claim
from collectors.settings import FirehoseSettings, IntakeSettings
from pipeline.decode.records.gateway_records import CONTROL
from pipeline.errors import BusUnavailable, InvalidInput, MeshweirError, MessageTooLarge
from pipeline.model.topics import (
    CLOUDWATCH_METRICS_FORMAT,
    OTLP_METRICS,
    OTLP_METRICS_FORMAT,
    RAW_TELEMETRY,
)

SOURCE: Final = "firehose"
FIELD: Final = "firehose_address"
PATH: Final = "/firehose"
PROTOCOL: Final = "1.0"

LINES: Final = Channel(SOURCE, "aws_apigateway", RAW_TELEMETRY, keeps_bad=True)
POINTS: Final = Channel(SOURCE, CLOUDWATCH_METRICS_FORMAT, RAW_TELEMETRY, keeps_bad=True)
REQUESTS: Final = Channel(SOURCE, OTLP_METRICS_FORMAT, OTLP_METRICS, keeps_bad=True)

_JSON: Final = "application/json"
_LONGEST_MESSAGE: Final = 8192
"""Characters that Firehose reads of an error."""
_OFF_LOOP_BYTES: Final = 64 * 1024
_BODY_GROWTH: Final = 2
"""Bytes of memory that a byte of a body takes while it is read, besides itself, about."""


def access_guard(settings: FirehoseSettings, intake: IntakeSettings) -> Guard:
    """Who may send: whoever carries the access key, or else the intake's token, as it."""
    return Guard(
        settings.access_key or intake.token,
        scheme="",
        setting="MESHWEIR_FIREHOSE_ACCESS_KEY",
    )


class FirehoseReceiver:
    """Takes the requests of delivery streams on one address.

    Args:
        intake: where records go.
        settings: the address and the limits.
        guard: who may send; asked with the access key.
    """

    def __init__(self, intake: Intake, settings: FirehoseSettings, guard: Guard) -> None:
        self._intake = intake
        self._settings = settings
        self._guard = guard
        self._listener = HttpListener("Amazon Data Firehose", FIELD, settings, guard, self._serve)

    @property
    def address(self) -> str:
        """Where it listens, as HOST:PORT."""
        return self._listener.address

    async def start(self) -> None:
        """Listen; raises InvalidInput when the address cannot be had."""
        await self._intake.warm_up(*(one.format for one in (LINES, POINTS, REQUESTS)))
        await self._listener.start()

    async def stop(self) -> None:
        """Refuse new requests, finish those under way, close. Idempotent."""
        await self._listener.stop()

    async def _serve(self, request: Request) -> Answer | None:
        request_id = request.header("x-amz-firehose-request-id")
        try:
            self._check(request, request_id)
        except MeshweirError as error:
            return _refusal(request_id, error)
        control = 0

        async def bring(claim: Claim) -> list[Parcel]:
            nonlocal control
            request.check_size()
            body = await request.body(claim)
            claim.grow(_BODY_GROWTH * len(body))
            found = await self._opened(body, request_id)
            control = found.control
            parcels = _parcels(found)
            claim.grow(sum(len(parcel.body) for parcel in parcels))
            return parcels

        receipt = await self._intake.take_parcels(LINES, bring)
        if isinstance(receipt.error, SenderGone):
            return None
        if receipt.error is not None:
            return _refusal(request_id, receipt.error)
        self._intake.dropped(LINES, control, CONTROL)
        return _answer(200, request_id)

    def _check(self, request: Request, request_id: str) -> None:
        if not self._guard.admits(request.headers.get(b"x-amz-firehose-access-key", b"")):
            raise HttpRefusal(401, "the access key of this delivery stream is not the one expected")
        if request.path != PATH:
            raise HttpRefusal(404, f"{request.path}: nothing is taken here; use the path {PATH}")
        request.check_posted()
        if self._listener.stopping:
            raise BusUnavailable("this collector is stopping")
        if request.content_type != _JSON:
            raise HttpRefusal(415, f"content-type {request.content_type or 'none'}: use {_JSON}")
        version = request.header("x-amz-firehose-protocol-version") or PROTOCOL
        if version != PROTOCOL:
            raise InvalidInput("X-Amz-Firehose-Protocol-Version", found=version, allowed=PROTOCOL)
        if not request_id:
            raise InvalidInput("X-Amz-Firehose-Request-Id", found="", allowed="a request's id")

    async def _opened(self, body: bytes, request_id: str) -> Opened:
        if len(body) < _OFF_LOOP_BYTES:
            return self._open(body, request_id)
        return await asyncio.to_thread(self._open, body, request_id)

    def _open(self, body: bytes, request_id: str) -> Opened:
        told = envelope(body)
        if told.request_id != request_id:
            raise InvalidInput("requestId", found=told.request_id, allowed=request_id)
        return opened(told.records, limit=self._settings.max_records_bytes)


def _parcels(found: Opened) -> list[Parcel]:
    contents = (
        (LINES, b"".join(found.lines)),
        (POINTS, b"".join(found.points)),
        # requests that follow each other are one request
        (REQUESTS, b"".join(found.requests)),
    )
    return [Parcel(channel, content) for channel, content in contents if content]


def _refusal(request_id: str, error: MeshweirError) -> Answer:
    # a request that is too large would be thrown away after a 413, and kept after anything else
    status = 400 if isinstance(error, MessageTooLarge) else status_of(error)
    told = _answer(status, request_id, str(error)[:_LONGEST_MESSAGE])
    return Answer(told.status, told.headers + headers_of(error), told.body)


def _answer(status: int, request_id: str, problem: str = "") -> Answer:
    told: dict[str, str | int] = {"requestId": request_id, "timestamp": time.time_ns() // 10**6}
    if problem:
        told["errorMessage"] = problem
    return answer(status, orjson.dumps(told), _JSON)
