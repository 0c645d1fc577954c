"""The declarations agree with the official definitions of the formats."""

from collections.abc import Iterator

import pytest
from envoy.service.accesslog.v3.als_pb2 import StreamAccessLogsMessage
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pipeline.decode import otlp_logs, otlp_metrics, otlp_traces, zipkin_proto
from pipeline.decode.envoy import als_messages
from pipeline.decode.wire.declaration import Check, Each, Enter, Messages, Row, Store
from tests.zipkin_pb import ListOfSpans

FORMATS = {
    "traces": (ExportTraceServiceRequest, otlp_traces.MESSAGES),
    "metrics": (ExportMetricsServiceRequest, otlp_metrics.MESSAGES),
    "logs": (ExportLogsServiceRequest, otlp_logs.MESSAGES),
    "access logs": (StreamAccessLogsMessage, als_messages.MESSAGES),
    "zipkin": (ListOfSpans, zipkin_proto.MESSAGES),
}
KINDS = {
    FieldDescriptor.TYPE_BOOL: {"bool"},
    FieldDescriptor.TYPE_BYTES: {"bytes"},
    FieldDescriptor.TYPE_STRING: {"bytes"},
    FieldDescriptor.TYPE_ENUM: {"int32"},
    FieldDescriptor.TYPE_INT32: {"int32"},
    FieldDescriptor.TYPE_UINT32: {"uint32"},
    FieldDescriptor.TYPE_INT64: {"int64"},
    FieldDescriptor.TYPE_UINT64: {"int64"},
    FieldDescriptor.TYPE_SINT32: {"sint32"},
    FieldDescriptor.TYPE_SINT64: {"sint64"},
    FieldDescriptor.TYPE_FIXED32: {"fixed32"},
    FieldDescriptor.TYPE_SFIXED32: {"sfixed32"},
    FieldDescriptor.TYPE_FLOAT: {"fixed32"},
    FieldDescriptor.TYPE_FIXED64: {"fixed64"},
    FieldDescriptor.TYPE_SFIXED64: {"fixed64"},
    FieldDescriptor.TYPE_DOUBLE: {"fixed64"},
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_message_is_entered_and_every_scalar_is_of_its_kind(name):
    message, messages = FORMATS[name]
    assert list(faults(message.DESCRIPTOR, message.DESCRIPTOR.name, messages, set())) == []


def faults(
    official: Descriptor, declared: str, messages: Messages, seen: set[tuple[str, str]]
) -> Iterator[str]:
    """Where a declaration departs from the official definition."""
    if (official.full_name, declared) in seen:
        return
    seen.add((official.full_name, declared))
    actions = messages[declared]
    fields = {field.number: field for field in official.fields}
    yield from (f"{declared}: no field {number}" for number in actions.keys() - fields.keys())
    for number, field in fields.items():
        action = actions.get(number)
        match action:
            case Row() | Enter() | Check() if field.message_type is not None:
                yield from faults(field.message_type, action.message, messages, seen)
            case Store() if field.message_type is not None:
                yield f"{declared}: {field.name} is not a scalar"
            case Store() | Each() if action.kind not in KINDS[field.type]:
                yield f"{declared}: {field.name} is not {action.kind}"
            case None if field.message_type is not None:
                yield f"{declared}: {field.name} is not looked at"
            case None if field.is_packed:
                yield f"{declared}: packed {field.name} is not looked at"
