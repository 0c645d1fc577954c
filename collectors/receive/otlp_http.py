"""OTLP over HTTP: reads bodies, turns JSON into protobuf, and hands them to the intake."""

import asyncio
from typing import Final

from collectors.http.answers import JSON, PROTOBUF, TEXT, answer_to, refusal, where_to_post
from collectors.http.listener import HttpListener
from collectors.http.request import Answer, HttpRefusal, Request, SenderGone
from collectors.intake import Channel, Intake
from collectors.listen import Guard
from collectors.room import Claim
from collectors.settings import OtlpHttpSettings
from collectors.signals import SIGNALS, Signal
from pipeline.decode import otlp_json
from pipeline.errors import BusUnavailable, MeshweirError

SOURCE: Final = "otlp_http"
FIELD: Final = "otlp_http_address"

_OFF_LOOP_JSON_BYTES: Final = 64 * 1024
_JSON_GROWTH: Final = 8
"""Bytes of memory that a byte of JSON takes while it is read, about."""


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
        self._listener = HttpListener("OTLP/HTTP", FIELD, settings, guard, self._serve)

    @property
    def address(self) -> str:
        """Where it listens, as HOST:PORT."""
        return self._listener.address

    async def start(self) -> None:
        """Listen; raises InvalidInput when the address cannot be had."""
        await self._intake.warm_up(*(signal.format for signal in SIGNALS))
        await self._listener.start()

    async def stop(self) -> None:
        """Refuse new requests, finish those under way, close. Idempotent."""
        await self._listener.stop()

    async def _serve(self, request: Request) -> Answer | None:
        content_type = _content_type(request)
        try:
            signal, channel = self._route(request)
            self._check(request, content_type)
        except MeshweirError as error:
            return refusal(error, content_type)

        async def body(claim: Claim) -> bytes:
            if content_type == PROTOBUF:
                return await request.body(claim)
            value = await request.body(claim, limit=self._settings.max_json_bytes)
            claim.grow(_JSON_GROWTH * len(value))
            return await _as_protobuf(value, signal)

        receipt = await self._intake.take(channel, body)
        if isinstance(receipt.error, SenderGone):
            return None
        return answer_to(signal, receipt, content_type)

    def _route(self, request: Request) -> tuple[Signal, Channel]:
        request.check_guard(self._guard)
        if request.path not in self._channels:
            raise where_to_post(request.path)
        request.check_posted()
        return self._channels[request.path]

    def _check(self, request: Request, content_type: str) -> None:
        if self._listener.stopping:
            raise BusUnavailable("this collector is stopping")
        if content_type == TEXT:
            given = request.header("content-type") or "none"
            raise HttpRefusal(415, f"content-type {given}: use {PROTOBUF} or {JSON}")
        _ = request.encoding
        request.check_size()


async def _as_protobuf(value: bytes, signal: Signal) -> bytes:
    if len(value) < _OFF_LOOP_JSON_BYTES:
        return otlp_json.to_protobuf(value, signal.request)
    return await asyncio.to_thread(otlp_json.to_protobuf, value, signal.request)


def _content_type(request: Request) -> str:
    given = request.content_type
    if given in {PROTOBUF, "application/protobuf"}:
        return PROTOBUF
    return JSON if given == JSON else TEXT
