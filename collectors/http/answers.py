"""How OTLP/HTTP spells its answers: codes, bodies and headers, as its specification wants them."""

from typing import Final

from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import code_pb2 as code
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from google.rpc.status_pb2 import Status

from collectors.http.request import (
    TEXT,
    Answer,
    Headers,
    HttpRefusal,
    answer,
    headers_of,
    status_of,
)
from collectors.intake import Receipt
from collectors.signals import SIGNALS, Signal, partial_success
from pipeline.errors import (
    DecodeError,
    InvalidInput,
    MeshweirError,
    MessageTooLarge,
    Transient,
)

__all__ = ["JSON", "PROTOBUF", "TEXT", "answer_to", "refusal", "where_to_post"]

PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"


def answer_to(signal: Signal, receipt: Receipt, content_type: str) -> Answer:
    """The answer to a request that was read, in the content type of the request."""
    if receipt.error is not None:
        return refusal(receipt.error, content_type)
    if receipt.rejected:
        return _answer(200, partial_success(signal, receipt.rejected, receipt.reason), content_type)
    return _SUCCESS[content_type]


def refusal(error: MeshweirError, content_type: str) -> Answer:
    """The answer to a request that is refused: a ``google.rpc.Status`` in its content type."""
    message = Status(code=_grpc_code(error), message=str(error))
    if isinstance(error, Transient):
        message.details.add().Pack(RetryInfo(retry_delay=_duration(error.retry_after)))
    if isinstance(error, DecodeError):
        violation = BadRequest.FieldViolation(field="body", description=str(error))
        message.details.add().Pack(BadRequest(field_violations=[violation]))
    return _answer(status_of(error), message, content_type, headers_of(error))


def where_to_post(path: str) -> HttpRefusal:
    """The refusal of a path that takes nothing."""
    paths = ", ".join(signal.path for signal in SIGNALS)
    return HttpRefusal(404, f"{path}: nothing is taken here; POST OTLP to {paths}")


def _grpc_code(error: MeshweirError) -> int:
    if isinstance(error, Transient):
        return int(code.UNAVAILABLE)
    told = (HttpRefusal, MessageTooLarge, DecodeError, InvalidInput)
    return int(code.INVALID_ARGUMENT if isinstance(error, told) else code.INTERNAL)


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
    return answer(status, body, content_type, headers)


_SUCCESS: Final = {
    PROTOBUF: _answer(200, Status(), PROTOBUF),
    JSON: _answer(200, Status(), JSON),
}
"""An empty response message has no bytes, or is ``{}``, whatever the signal."""
