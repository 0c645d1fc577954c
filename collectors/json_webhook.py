"""Records as JSON over HTTP: what is common to senders that post what they log.

They read no more of the answer than its status. A body is one record, an array of them, or a
record on each line. Told no, such a sender can only send the same again, and what it has queued
behind waits, or is lost meanwhile. So a record that is bad is no reason to refuse: it goes on the
bus with the others and is quarantined. Refused is what is no JSON to begin with, and what cannot be
taken now.
"""

from dataclasses import dataclass
from typing import Final

import orjson

from collectors.http.listener import HttpListener
from collectors.http.request import (
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
from collectors.settings import HttpSettings
from pipeline.errors import BusUnavailable, DecodeError, MeshweirError
from pipeline.model.topics import RAW_TELEMETRY

JSON: Final = "application/json"
NDJSON: Final = ("application/x-ndjson", "application/ndjson", "application/jsonl")

_OFF_LOOP_BYTES: Final = 256 * 1024
_GROWTH: Final = 3
"""Bytes of memory that a byte of a body takes while it is checked, besides itself, about."""
_BLANK: Final = b"\xef\xbb\xbf \t\r\n\x1e"
"""What may stand before JSON: a byte order mark, white space, a record separator (RFC 7464)."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """A way in for JSON records.

    Attributes:
        what: what is taken, for people.
        source: name of the receiver; its address is the setting ``<source>_address``.
        format: one of ``LINE_FORMATS`` whose records are JSON.
        path: where they are sent.
        methods: how.
    """

    what: str
    source: str
    format: str
    path: str
    methods: tuple[str, ...] = ("POST",)


class JsonWebhookReceiver:
    """Takes JSON records on one address.

    Args:
        webhook: what it takes.
        intake: where bodies go.
        settings: the address and the limits.
        guard: who may send.
    """

    def __init__(
        self, webhook: Webhook, intake: Intake, settings: HttpSettings, guard: Guard
    ) -> None:
        self._webhook = webhook
        self._intake = intake
        self._guard = guard
        self._channel = Channel(
            webhook.source,
            webhook.format,
            RAW_TELEMETRY,
            keeps_bad=True,
            off_loop_bytes=_OFF_LOOP_BYTES,
        )
        field = f"{webhook.source}_address"
        self._listener = HttpListener(webhook.what, field, settings, guard, self._serve)

    @property
    def address(self) -> str:
        """Where it listens, as HOST:PORT."""
        return self._listener.address

    async def start(self) -> None:
        """Listen; raises InvalidInput when the address cannot be had."""
        await self._intake.warm_up(self._channel.format)
        await self._listener.start()

    async def stop(self) -> None:
        """Refuse new requests, finish those under way, close. Idempotent."""
        await self._listener.stop()

    async def _serve(self, request: Request) -> Answer | None:
        try:
            self._check(request)
        except MeshweirError as error:
            return refusal_in_text(error)

        async def body(claim: Claim) -> bytes:
            request.check_size()
            value = await request.body(claim)
            _check_json(value, self._webhook.format)
            claim.grow(_GROWTH * len(value))
            return value

        receipt = await self._intake.take(self._channel, body)
        if isinstance(receipt.error, SenderGone):
            return None
        return refusal_in_text(receipt.error) if receipt.error else _answer(receipt)

    def _check(self, request: Request) -> None:
        request.check_guard(self._guard)
        path, methods = self._webhook.path, ", ".join(self._webhook.methods)
        if request.path != path:
            message = f"{request.path}: nothing is taken here; {self._webhook.what} goes to {path}"
            raise HttpRefusal(404, message)
        if request.method not in self._webhook.methods:
            raise HttpRefusal(405, f"{path} takes {methods}", (b"allow", methods.encode()))
        if self._listener.stopping:
            raise BusUnavailable("this collector is stopping")
        told = request.content_type
        if told != JSON and told not in NDJSON and not told.endswith("+json"):
            raise HttpRefusal(415, f"content-type {told or 'none'}: use {JSON} or {NDJSON[0]}")


def _check_json(body: bytes, format_name: str) -> None:
    """Refuse what is no JSON to begin with; of the rest the decoder says what is good."""
    rest = body.lstrip(_BLANK)
    if rest and rest[:1] not in (b"{", b"["):
        raise DecodeError(
            "neither a JSON object nor an array of them",
            offset=len(body) - len(rest),
            format=format_name,
        )


def _answer(receipt: Receipt) -> Answer:
    told: dict[str, str | int] = {"accepted": receipt.accepted}
    if receipt.rejected:
        told |= {"quarantined": receipt.rejected, "reason": receipt.reason}
    return answer(200, orjson.dumps(told), JSON)
