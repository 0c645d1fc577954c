"""What CloudWatch Logs wraps log lines into on their way to a subscriber, taken off again.

A subscription delivers gzipped JSON: bare (Firehose, Kinesis), as ``{"awslogs": {"data": base64}}``
(Lambda), or in records of Kinesis and Firehose, again in base64. Source: CloudWatch Logs user
guide, ``SubscriptionFilters``; Firehose developer guide, ``httpdeliveryrequestresponse``.
"""

import base64
import binascii
import zlib
from collections.abc import Iterator, Mapping
from typing import Final, TypeGuard

import orjson

from pipeline.decode.kernels.deep_json import written
from pipeline.decode.otlp.via_otlp import flat
from pipeline.decode.records.gateway_records import (
    BAD_BASE64,
    BAD_GZIP,
    CONTROL,
    NO_EVENTS,
    SHORT_GZIP,
    TOO_LARGE,
    TOO_WRAPPED,
    refused_record,
)
from pipeline.errors import DecodeError

GZIP: Final = b"\x1f\x8b"
INFLATED_LIMIT: Final = 64 << 20
"""How large the content of one payload may be, in bytes, all that is inflated or repeated for it
together."""

_ENVELOPES: Final = (b'"awslogs"', b'"messageType"', b'"kinesis"', b'"records"')
_CONTROL: Final = "CONTROL_MESSAGE"
_DATA: Final = "DATA_MESSAGE"
_DEPTH: Final = 4
"""How deeply payloads may be wrapped in each other: a Firehose body holds records that are gzip."""


class Budget:
    """How many bytes may still be inflated; below zero once it would have been more."""

    def __init__(self, limit: int = INFLATED_LIMIT) -> None:
        self.left = limit


def is_wrapped(message: bytes) -> bool:
    """Whether a message is a payload of CloudWatch Logs, or may be one."""
    if message.startswith(GZIP):
        return True
    head = message[:65536]
    return any(envelope in head for envelope in _ENVELOPES)


def unwrap(message: bytes, budget: Budget | None = None) -> bytes:
    """The log lines of a payload, with where they come from among their members.

    What is none of CloudWatch's stays as it is; what cannot be read, and every control message by
    which CloudWatch asks whether anybody is there, leaves a record that says so.

    Args:
        message: the payload.
        budget: shared by payloads that came together; else this one has its own.
    """
    lines: list[bytes] = []
    _unwrap(message, lines, budget or Budget(), _DEPTH)
    return b"\n".join((*lines, b""))


def _unwrap(data: bytes, lines: list[bytes], budget: Budget, depth: int) -> None:
    try:
        if data.startswith(GZIP):
            data = inflated(data, budget)
        for value, text in _documents(data):
            _document(value, text, lines, budget, depth)
    except DecodeError as error:
        lines.append(refused_record(error.reason))


def _documents(data: bytes) -> Iterator[tuple[object, bytes]]:
    """The JSON values of a text: one, or one on each line; lines that are none are themselves."""
    try:
        yield orjson.loads(data), data
    except orjson.JSONDecodeError:
        pass
    else:
        return
    for line in data.splitlines():
        if line.strip():
            try:
                yield orjson.loads(line), line
            except orjson.JSONDecodeError:
                yield None, line


def _document(value: object, text: bytes, lines: list[bytes], budget: Budget, depth: int) -> None:
    if isinstance(value, list):
        for item in flat(value):
            _document(item, written(item).encode(), lines, budget, depth)
        return
    inner = list(_payloads(value)) if isinstance(value, dict) else []
    if isinstance(value, dict) and value.get("messageType") in (_DATA, _CONTROL):
        _events(value, lines, budget)
    elif not inner:
        lines.append(_one_line(text))
    elif not depth:
        lines.append(refused_record(TOO_WRAPPED))
    for payload in inner if depth else ():
        _unwrap(_from_base64(payload), lines, budget, depth - 1)


def _payloads(value: Mapping[str, object]) -> Iterator[object]:
    """What is in base64 inside of a document; nothing when it is none of the known ones."""
    awslogs = value.get("awslogs")
    if isinstance(awslogs, dict) and "data" in awslogs:
        yield awslogs["data"]
    for key in ("records", "Records"):
        records = value.get(key)
        for record in records if isinstance(records, list) else ():
            holder = record.get("kinesis", record) if isinstance(record, dict) else None
            if isinstance(holder, dict) and "data" in holder:
                yield holder["data"]


def _from_base64(text: object) -> bytes:
    try:
        return base64.b64decode(text if isinstance(text, str) else "-", validate=True)
    except (binascii.Error, ValueError) as error:
        raise DecodeError(BAD_BASE64) from error


def inflated(data: bytes, budget: Budget) -> bytes:
    """The content of gzip data, one member after another.

    Raises:
        DecodeError: it is broken, ends too early, or is more than the budget allows.
    """
    if budget.left < 0:  # a limit of 0 bytes would be none to zlib
        raise DecodeError(TOO_LARGE)
    parts: list[bytes] = []
    while data:
        inflater = zlib.decompressobj(wbits=31)
        try:
            part = inflater.decompress(data, budget.left + 1)
        except zlib.error as error:
            raise DecodeError(BAD_GZIP) from error
        budget.left -= len(part)
        if budget.left < 0:
            raise DecodeError(TOO_LARGE)
        if not inflater.eof:
            raise DecodeError(SHORT_GZIP)
        parts.append(part)
        data = inflater.unused_data if inflater.unused_data.startswith(GZIP) else b""
    return b"".join(parts)


def _events(value: Mapping[str, object], lines: list[bytes], budget: Budget) -> None:
    """The lines of one message of CloudWatch Logs; where they come from is told with each."""
    events = value.get("logEvents")
    if value.get("messageType") == _CONTROL:
        lines.append(refused_record(CONTROL))
        return
    if not isinstance(events, list):
        lines.append(refused_record(NO_EVENTS))
        return
    origin = {
        "cloudwatch.log_group": value.get("logGroup"),
        "cloudwatch.log_stream": value.get("logStream"),
        "cloudwatch.owner": value.get("owner"),
    }
    group = orjson.dumps({name: told for name, told in origin.items() if isinstance(told, str)})
    for event in events:
        told = event if isinstance(event, dict) else {}
        budget.left -= len(group)
        if budget.left < 0:
            raise DecodeError(TOO_LARGE)
        lines.append(_event(told, group))


def _event(event: Mapping[str, object], origin: bytes) -> bytes:
    """A log line with where and when it was written put in front of its own members."""
    message = event.get("message")
    line = _one_line(message.encode("utf-8", "replace") if isinstance(message, str) else b"")
    if not line.startswith(b"{"):
        return line or b"-"
    when = event.get("timestamp")
    timestamp = b',"cloudwatch.timestamp":%d' % when if _is_time(when) else b""
    members = line[1:].lstrip()
    comma = b"" if members.startswith(b"}") else b","
    return origin[:-1] + (timestamp if len(origin) > 2 else timestamp[1:]) + comma + members


def _is_time(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53


def _one_line(text: bytes) -> bytes:
    return text.strip().replace(b"\n", b" ").replace(b"\r", b" ")
