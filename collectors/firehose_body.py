"""Bodies of Amazon Data Firehose's HTTP endpoint requests, opened: what is in their records.

A body is ``{"requestId", "timestamp", "records": [{"data": base64}]}``. A record is whatever a
producer put on the stream, and several may use one stream, so every record is told by its content:
OTLP of a metric stream, a metric stream in JSON, a payload of CloudWatch Logs (gzip), or log lines.
A record that cannot be read leaves a line that says why and counts like any other bad line. Source:
Firehose developer guide, ``httpdeliveryrequestresponse``.
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from pipeline.decode.cloudwatch import GZIP, Budget, inflated, unwrap
from pipeline.decode.cloudwatch_metrics import LINES as POINTS
from pipeline.decode.metric_stream import is_framed, request_of
from pipeline.decode.records.gateway_records import BAD_BASE64, CONTROL, refused_record
from pipeline.errors import DecodeError, MessageTooLarge

FORMAT: Final = "firehose"
MAX_RECORDS: Final = 10_000
"""How many records a request may have; Firehose promises no more."""

_NEWLINE: Final = b"\n"
_CONTROL_LINE: Final = refused_record(CONTROL) + _NEWLINE


@dataclass(frozen=True, slots=True)
class Envelope:
    """A body that is what it should be.

    Attributes:
        request_id: under which Firehose sends it, and sends it again.
        records: what stands for each record; base64 where nothing is wrong.
    """

    request_id: str
    records: Sequence[object]


@dataclass(slots=True)
class Opened:
    """What the records of a body hold, by what it is.

    Attributes:
        lines: access-log lines.
        points: points of metric streams in JSON, a line each.
        requests: requests of OTLP metrics.
        control: messages by which CloudWatch Logs asks whether anybody is there.
    """

    lines: list[bytes] = field(default_factory=list)
    points: list[bytes] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)
    control: int = 0


def envelope(body: bytes) -> Envelope:
    """Read a body, but not yet its records.

    Raises:
        DecodeError: it is none of Firehose's.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        offset = len(error.doc[: error.pos].encode("utf-8", "surrogatepass"))
        raise DecodeError(f"not JSON: {error.msg}", offset=offset, format=FORMAT) from error
    told: dict[str, Any] = value if isinstance(value, dict) else {}
    request_id, records = told.get("requestId"), told.get("records")
    if not isinstance(request_id, str) or not request_id:
        raise DecodeError("no requestId", offset=0, format=FORMAT)
    if not isinstance(records, list):
        raise DecodeError("no records", offset=0, format=FORMAT)
    if len(records) > MAX_RECORDS:
        raise DecodeError(f"more than {MAX_RECORDS} records", offset=0, format=FORMAT)
    return Envelope(request_id, records)


def opened(records: Sequence[object], *, limit: int) -> Opened:
    """Take records apart.

    Args:
        records: of an ``Envelope``.
        limit: how many bytes all records together may have once they are inflated.

    Raises:
        MessageTooLarge: they have more.
    """
    found, budget = Opened(), Budget(limit)
    for record in records:
        _open(record, found, budget)
        if budget.left < 0:
            raise MessageTooLarge(size=limit - budget.left, limit=limit, what="inflated records")
    return found


def _open(record: object, found: Opened, budget: Budget) -> None:
    try:
        data = _data(record)
        if data.startswith(GZIP):
            data = inflated(data, budget)
        else:
            budget.left -= len(data)
    except DecodeError as error:
        found.lines.append(refused_record(error.reason) + _NEWLINE)
        return
    if is_framed(data) or b"\0" in data:
        _take_metrics(data, found)
    elif POINTS.fits(data.lstrip().split(_NEWLINE, 1)[0]):
        found.points.append(data + _NEWLINE)
    else:
        _take_lines(data, found, budget)


def _data(record: object) -> bytes:
    text = record.get("data") if isinstance(record, dict) else None
    try:
        return base64.b64decode(text if isinstance(text, str) else "-", validate=True)
    except (binascii.Error, ValueError) as error:
        raise DecodeError(BAD_BASE64) from error


def _take_metrics(data: bytes, found: Opened) -> None:
    try:
        found.requests.append(request_of(data))
    except DecodeError as error:
        found.points.append(refused_record(error.reason) + _NEWLINE)


def _take_lines(data: bytes, found: Opened, budget: Budget) -> None:
    lines = unwrap(data, budget)
    control = lines.count(_CONTROL_LINE)
    found.control += control
    found.lines.append(lines.replace(_CONTROL_LINE, b"") if control else lines)
