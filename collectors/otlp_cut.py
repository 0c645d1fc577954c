"""Cuts OTLP protobuf into requests of a bounded size, between records and never inside one.

A request is a sequence of resource groups, and two requests written one after the other are one
request: protobuf says so. So groups are told apart by their tags and lengths alone; only a group
that is too large by itself is parsed.
"""

from collections.abc import Iterator
from typing import BinaryIO, Final

from google.protobuf.message import DecodeError as ProtobufError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pipeline.errors import DecodeError, MessageTooLarge
from pipeline.model.topics import (
    OTLP_LOGS_FORMAT as LOGS,
    OTLP_METRICS_FORMAT as METRICS,
    OTLP_TRACES_FORMAT as TRACES,
)

GROUP: Final = 0x0A
"""The tag of a resource group: field 1, length-delimited, in the requests of all signals."""

REQUESTS: Final[dict[str, type[Message]]] = {
    TRACES: ExportTraceServiceRequest,
    METRICS: ExportMetricsServiceRequest,
    LOGS: ExportLogsServiceRequest,
}
"""The request message of each OTLP format."""

_NAMES: Final = {
    TRACES: ("resource_spans", "scope_spans", "spans"),
    METRICS: ("resource_metrics", "scope_metrics", "metrics"),
    LOGS: ("resource_logs", "scope_logs", "log_records"),
}
_MAX_VARINT: Final = 10
_PREFIX: Final = 6  # at most: the tag and the length in front of a record


def groups(stream: BinaryIO, *, limit: int) -> Iterator[bytes]:
    """The resource groups of one bare request, each with its tag, read one at a time.

    Raises:
        DecodeError: the bytes are not a request; names the offset.
        MessageTooLarge: a group is larger than ``limit`` bytes.
    """
    offset = 0
    while True:
        tag = stream.read(1)
        if not tag:
            return
        if tag[0] != GROUP:
            raise DecodeError("not a resource group", offset=offset)
        length, prefix = _length(stream, offset)
        if length > limit:
            raise MessageTooLarge(size=length, limit=limit, what="resource group")
        body = stream.read(length)
        if len(body) < length:
            raise DecodeError("the file ends in the middle of a resource group", offset=offset)
        yield tag + prefix + body
        offset += 1 + len(prefix) + length


def _length(stream: BinaryIO, offset: int) -> tuple[int, bytes]:
    taken = bytearray()
    while len(taken) < _MAX_VARINT:
        byte = stream.read(1)
        taken += byte
        if not byte or byte[0] < 0x80:
            break
    if not taken or taken[-1] >= 0x80:
        raise DecodeError("broken length", offset=offset)
    return sum((byte & 0x7F) << (7 * place) for place, byte in enumerate(taken)), bytes(taken)


def smaller(format_name: str, request: bytes, *, size: int) -> Iterator[bytes]:
    """Cut a request into requests of about ``size`` bytes; one record may be larger by itself.

    Raises DecodeError for bytes that are not a request of that format.
    """
    if len(request) <= size:
        yield request
        return
    whole = REQUESTS[format_name]()
    try:
        whole.ParseFromString(request)
    except ProtobufError:
        raise DecodeError("malformed protobuf", format=format_name) from None
    yield from _cut(format_name, whole, size)


def _cut(format_name: str, whole: Message, size: int) -> Iterator[bytes]:
    groups_name, scopes_name, records_name = _NAMES[format_name]
    for group in getattr(whole, groups_name):
        for scope in getattr(group, scopes_name):
            records = list(getattr(scope, records_name))
            scope.ClearField(records_name)
            for some in _runs(records, size):
                part = REQUESTS[format_name]()
                kept = getattr(part, groups_name).add()
                kept.resource.CopyFrom(group.resource)
                kept.schema_url = group.schema_url
                inner = getattr(kept, scopes_name).add()
                inner.CopyFrom(scope)
                getattr(inner, records_name).extend(some)
                yield part.SerializeToString()


def _runs(records: list[Message], size: int) -> Iterator[list[Message]]:
    run: list[Message] = []
    used = 0
    for record in records:
        needed = record.ByteSize() + _PREFIX
        if run and used + needed > size:
            yield run
            run, used = [], 0
        run.append(record)
        used += needed
    if run:
        yield run
