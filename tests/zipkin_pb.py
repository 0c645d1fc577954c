"""The official messages of Zipkin's protobuf, ``zipkin.proto3``, as classes made at run time.

Told a second time, after ``zipkin.proto`` of openzipkin/zipkin-api, for senders in tests.
"""

import ipaddress

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from google.protobuf.message import Message

_PACKAGE = "zipkin.proto3"
_FIELDS = {
    "Endpoint": [
        ("service_name", 1, Field.TYPE_STRING),
        ("ipv4", 2, Field.TYPE_BYTES),
        ("ipv6", 3, Field.TYPE_BYTES),
        ("port", 4, Field.TYPE_INT32),
    ],
    "Annotation": [("timestamp", 1, Field.TYPE_FIXED64), ("value", 2, Field.TYPE_STRING)],
    "Span": [
        ("trace_id", 1, Field.TYPE_BYTES),
        ("parent_id", 2, Field.TYPE_BYTES),
        ("id", 3, Field.TYPE_BYTES),
        ("kind", 4, Field.TYPE_INT32),  # an enum, which has the same bytes
        ("name", 5, Field.TYPE_STRING),
        ("timestamp", 6, Field.TYPE_FIXED64),
        ("duration", 7, Field.TYPE_UINT64),
        ("local_endpoint", 8, "Endpoint"),
        ("remote_endpoint", 9, "Endpoint"),
        ("annotations", 10, ["Annotation"]),
        ("tags", 11, ["Span.TagsEntry"]),
        ("debug", 12, Field.TYPE_BOOL),
        ("shared", 13, Field.TYPE_BOOL),
    ],
    "ListOfSpans": [("spans", 1, ["Span"])],
}
KINDS = {"CLIENT": 1, "SERVER": 2, "PRODUCER": 3, "CONSUMER": 4}


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="zipkin.proto", package=_PACKAGE, syntax="proto3"
    )
    for message, fields in _FIELDS.items():
        declared = file.message_type.add(name=message)
        for name, number, kind in fields:
            field = declared.field.add(name=name, number=number)
            field.label = Field.LABEL_REPEATED if isinstance(kind, list) else Field.LABEL_OPTIONAL
            if isinstance(kind, int):
                field.type = kind
            else:
                field.type = Field.TYPE_MESSAGE
                field.type_name = f".{_PACKAGE}.{kind[0] if isinstance(kind, list) else kind}"
        if message == "Span":
            entry = declared.nested_type.add(name="TagsEntry")
            entry.options.map_entry = True
            for number, name in enumerate(("key", "value"), start=1):
                entry.field.add(
                    name=name, number=number, type=Field.TYPE_STRING, label=Field.LABEL_OPTIONAL
                )
    return file


_POOL = descriptor_pool.DescriptorPool()
_POOL.Add(_file())
ListOfSpans = message_factory.GetMessageClass(
    _POOL.FindMessageTypeByName(f"{_PACKAGE}.ListOfSpans")
)


def list_of(spans: list[dict]) -> Message:
    """Spans told as JSON as a ``ListOfSpans``."""
    message = ListOfSpans()
    for told in spans:
        span = message.spans.add(
            trace_id=_id(told.get("traceId", "")),
            parent_id=_id(told.get("parentId", "")),
            id=_id(told.get("id", "")),
            kind=KINDS.get(told.get("kind"), 0),
            name=told.get("name", ""),
            timestamp=told.get("timestamp", 0),
            duration=told.get("duration", 0),
            tags=told.get("tags", {}),
            debug=told.get("debug", False),
            shared=told.get("shared", False),
        )
        for annotation in told.get("annotations", []):
            span.annotations.add(**annotation)
        for name, endpoint in (
            ("localEndpoint", span.local_endpoint),
            ("remoteEndpoint", span.remote_endpoint),
        ):
            if name in told:
                _fill(endpoint, told[name])
    return message


def _id(digits: str) -> bytes:
    return bytes.fromhex(digits.zfill(16 if len(digits) <= 16 else 32)) if digits else b""


def _fill(endpoint: Message, told: dict) -> None:
    endpoint.SetInParent()
    endpoint.service_name = told.get("serviceName", "")
    endpoint.port = told.get("port", 0)
    for name in ("ipv4", "ipv6"):
        if name in told:
            setattr(endpoint, name, ipaddress.ip_address(told[name]).packed)
