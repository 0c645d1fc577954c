"""How OTLP/HTTP spells its answers: codes, bodies and headers, as its specification wants them."""

import math
from dataclasses import dataclass
from typing import Final

from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import code_pb2 as code
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from google.rpc.status_pb2 import Status

from collectors.intake import Receipt
from collectors.room import NoRoom
from collectors.signals import SIGNALS, Signal, partial_success
from pipeline.errors import (
    BusFull,
    DecodeError,
    InvalidInput,
    MeshweirError,
    MessageTooLarge,
    Permanent,
    Transient,
)

PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"
TEXT: Final = "text/plain; charset=utf-8"

Headers = list[tuple[bytes, bytes]]


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


def answer_to(signal: Signal, receipt: Receipt, content_type: str) -> Answer:
    """The answer to a request that was read, in the content type of the request."""
    if receipt.error is not None:
        return refusal(receipt.error, content_type)
    if receipt.rejected:
        return _answer(200, partial_success(signal, receipt.rejected, receipt.reason), content_type)
    return _SUCCESS[content_type]


def refusal(error: MeshweirError, content_type: str) -> Answer:
    """The answer to a request that is refused: a ``google.rpc.Status`` in its content type."""
    status, grpc_code = _codes(error)
    headers: Headers = []
    message = Status(code=grpc_code, message=str(error))
    if isinstance(error, Transient):
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after))))
        message.details.add().Pack(RetryInfo(retry_delay=_duration(error.retry_after)))
    if isinstance(error, DecodeError):
        violation = BadRequest.FieldViolation(field="body", description=str(error))
        message.details.add().Pack(BadRequest(field_violations=[violation]))
    if isinstance(error, HttpRefusal):
        headers.extend(error.headers)
    return _answer(status, message, content_type, headers)


def where_to_post(path: str) -> HttpRefusal:
    """The refusal of a path that takes nothing."""
    paths = ", ".join(signal.path for signal in SIGNALS)
    return HttpRefusal(404, f"{path}: nothing is taken here; POST OTLP to {paths}")


def _codes(error: MeshweirError) -> tuple[int, int]:
    if isinstance(error, HttpRefusal):
        return error.status, code.INVALID_ARGUMENT
    if isinstance(error, MessageTooLarge):
        return 413, code.INVALID_ARGUMENT
    if isinstance(error, (BusFull, NoRoom)):
        return 429, code.UNAVAILABLE
    if isinstance(error, Transient):
        return 503, code.UNAVAILABLE
    if isinstance(error, (DecodeError, InvalidInput)):
        return 400, code.INVALID_ARGUMENT
    return 500, code.INTERNAL


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(int(seconds * 1e9))
    return duration


def _answer(
    status: int, message: Message, content_type: str, headers: Headers | None = None
) -> Answer:
    if content_type == PROTOBUF:
        body = message.SerializeToString()
    elif content_type == JSON:
        body = json_format.MessageToJson(message, indent=None).encode()
    else:
        body = f"{getattr(message, 'message', '')}\n".encode()
    common = [
        (b"content-type", content_type.encode()),
        (b"content-length", b"%d" % len(body)),
    ]
    return Answer(status, common + (headers or []), body)


_SUCCESS: Final = {
    PROTOBUF: _answer(200, Status(), PROTOBUF),
    JSON: _answer(200, Status(), JSON),
}
"""An empty response message has no bytes, or is ``{}``, whatever the signal."""
