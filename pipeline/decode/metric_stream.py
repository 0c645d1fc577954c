"""OTLP as CloudWatch metric streams write it, made into requests of OTLP as everybody has it.

A record holds any number of ``ExportMetricsServiceRequest``, each behind its length (a varint).
Streams speak OTLP 1.0 or 0.7. On the wire the two differ in one thing: a point of 0.7 has labels
(``StringKeyValue``, field 1) where one of 1.0 has attributes, and whoever reads 0.7 as 1.0 loses
all of them without a word. So labels become the attributes that the same stream has in 1.0:
``Namespace``, ``MetricName``, and ``Dimensions`` with all others inside. Source: CloudWatch user
guide, ``CloudWatch-metric-streams-formats-opentelemetry`` and ``-100``.
"""

from collections.abc import Iterator
from typing import Final

from google.protobuf.message import DecodeError as ProtobufError
from google.protobuf.unknown_fields import UnknownFieldSet
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import SummaryDataPoint

from pipeline.decode.cloudwatch_metrics import BROKEN_FRAME, BROKEN_OTLP
from pipeline.decode.otlp_metrics import OTLP_METRICS
from pipeline.errors import DecodeError

_GROUP: Final = b"\x0a"
"""The tag of a resource group, with which a request begins."""
_LABELS: Final = 1
_LENGTH_DELIMITED: Final = 2
_MAX_VARINT: Final = 5
_TOP_LEVEL: Final = ("Namespace", "MetricName")


def is_framed(record: bytes) -> bool:
    """Whether a record is OTLP of a metric stream from its first byte to its last."""
    try:
        return bool(record) and all(one[:1] == _GROUP for one in _frames(record))
    except DecodeError:
        return False


def request_of(record: bytes) -> bytes:
    """All requests of a record as one request of OTLP 1.0.

    What is 1.0 already stays byte for byte: requests that follow each other are one request.

    Raises:
        DecodeError: a length is broken, or what is behind it is no request.
    """
    request = b"".join(_frames(record))
    try:
        parsed = ExportMetricsServiceRequest.FromString(request)
        changed = [_with_attributes(point) for point in _points(parsed)]
    except ProtobufError as error:
        raise DecodeError(BROKEN_OTLP) from error
    if any(changed):
        request = parsed.SerializeToString()
    if OTLP_METRICS.walk([request]).refused:  # stricter than protobuf: it bounds the nesting
        raise DecodeError(BROKEN_OTLP)
    return request


def _frames(record: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(record):
        length = shift = 0
        while True:
            if at == len(record) or shift == 7 * _MAX_VARINT:
                raise DecodeError(BROKEN_FRAME, offset=at)
            byte = record[at]
            length |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                break
        if at + length > len(record):
            raise DecodeError(BROKEN_FRAME, offset=at)
        yield record[at : at + length]
        at += length


def _points(request: ExportMetricsServiceRequest) -> Iterator[SummaryDataPoint]:
    """The points of summaries; a metric stream has no others."""
    for resource in request.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                yield from metric.summary.data_points


def _with_attributes(point: SummaryDataPoint) -> bool:
    """Give a point of 0.7 attributes for its labels; tells whether it had any."""
    unknown = UnknownFieldSet(point)
    labels = [
        # the same two strings in the same two fields as a StringKeyValue, which 1.0 has no more
        InstrumentationScope.FromString(field.data)
        for field in (unknown[number] for number in range(len(unknown)))
        if field.field_number == _LABELS and field.wire_type == _LENGTH_DELIMITED
    ]
    if not labels:
        return False
    point.DiscardUnknownFields()
    dimensions = KeyValue(key="Dimensions")
    dimensions.value.kvlist_value.SetInParent()
    for label in labels:
        holder = (
            point.attributes if label.name in _TOP_LEVEL else dimensions.value.kvlist_value.values
        )
        holder.add(key=label.name).value.string_value = label.version
    point.attributes.append(dimensions)
    return True
