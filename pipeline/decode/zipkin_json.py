"""Zipkin v2 JSON to OTLP: arrays of spans, arrays of traces, or one of them on each line.

Ids stay as they are: Zipkin's client and server share one span id, and pairing knows it. The
meaning of tags follows the OpenTelemetry specification's page on Zipkin.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from pipeline.decode import otlp_traces
from pipeline.decode.gates.document_gate import DocumentGate
from pipeline.decode.otlp.via_otlp import (
    BadRecord,
    Converted,
    Gathering,
    decode_through,
    documents,
    flat,
    hex_id,
    in_range,
    key_value,
    mapping,
    sequence,
    text,
    unix_nano,
)
from pipeline.model.decoded import Decoded
from pipeline.model.topics import ZIPKIN_JSON_FORMAT

_KINDS: Final = {
    "CLIENT": Span.SPAN_KIND_CLIENT,
    "SERVER": Span.SPAN_KIND_SERVER,
    "PRODUCER": Span.SPAN_KIND_PRODUCER,
    "CONSUMER": Span.SPAN_KIND_CONSUMER,
}
_STATUSES: Final = {"OK": Status.STATUS_CODE_OK, "ERROR": Status.STATUS_CODE_ERROR}


class Identity(NamedTuple):
    """Which span it is, and when it was: Unix nanoseconds."""

    trace_id: bytes
    span_id: bytes
    parent_id: bytes
    start: int
    end: int


def to_otlp(document: bytes) -> Converted:
    """Turn one document into OTLP; spans that cannot be taken are counted with their reason."""
    gathering = Gathering()
    for value in documents(document, gathering):
        for record in flat(value):
            take(mapping(record), gathering)
    return gathering.converted()


def decode(messages: Sequence[bytes]) -> Decoded:
    """Decode messages of Zipkin JSON into rows of the tables of spans."""
    return decode_through(to_otlp, otlp_traces.decode, messages)


def take(record: Mapping[str, object], gathering: Gathering) -> None:
    """Add a span, told as the JSON of one is, or refuse it."""
    try:
        span = _span(record)
    except BadRecord as error:
        gathering.refuse(str(error))
        return
    tags = mapping(record.get("tags"))
    name = text(mapping(record.get("localEndpoint")).get("serviceName"))
    scope = (_scope(tags, "name"), _scope(tags, "version"))
    gathering.add(
        span,
        resource=name,
        attributes=lambda: [key_value("service.name", name)] if name else [],
        scope=scope,
    )


def check(record: Mapping[str, object]) -> Identity:
    """The ids and times of a span; raises BadRecord where it cannot be taken."""
    if "traceId" not in record:
        raise BadRecord("not a Zipkin span")
    start = unix_nano(record.get("timestamp"), "timestamp")
    duration = record.get("duration")
    elapsed = 0 if duration is None else unix_nano(duration, "duration")
    parent = record.get("parentId")
    return Identity(
        trace_id=hex_id(record.get("traceId"), 16, "trace id"),
        span_id=hex_id(record.get("id"), 8, "span id"),
        # some write zeros for no parent, and Zipkin takes them for none
        parent_id=b"" if not parent or _is_zero(parent) else hex_id(parent, 8, "parent id"),
        start=start,
        end=in_range(start + elapsed, "end time"),
    )


def _is_zero(value: object) -> bool:
    return isinstance(value, str) and len(value) <= 16 and not value.strip("0")


def _scope(tags: Mapping[str, object], part: str) -> str:
    return text(tags.get(f"otel.scope.{part}")) or text(tags.get(f"otel.library.{part}"))


def _span(record: Mapping[str, object]) -> Span:
    identity = check(record)
    tags = mapping(record.get("tags"))
    return Span(
        trace_id=identity.trace_id,
        span_id=identity.span_id,
        parent_span_id=identity.parent_id,
        trace_state=text(tags.get("w3c.tracestate")),
        name=text(record.get("name")),
        kind=_KINDS.get(text(record.get("kind")).upper(), Span.SPAN_KIND_UNSPECIFIED),
        start_time_unix_nano=identity.start,
        end_time_unix_nano=identity.end,
        attributes=_attributes(record, tags),
        events=[_event(annotation) for annotation in sequence(record.get("annotations"))],
        status=_status(tags),
    )


def _attributes(record: Mapping[str, object], tags: Mapping[str, object]) -> list[KeyValue]:
    """Tags win over what the endpoints tell: a tag was written on purpose."""
    found: dict[str, object] = {
        **dict(_endpoint(record.get("localEndpoint"), "network.local")),
        **dict(_endpoint(record.get("remoteEndpoint"), "network.peer")),
    }
    peer = text(mapping(record.get("remoteEndpoint")).get("serviceName"))
    if peer:
        found["service.peer.name"] = peer
    for flag in ("shared", "debug"):
        if record.get(flag) is True:
            found[f"zipkin.{flag}"] = True
    told_elsewhere = ("otel.status_code", "otel.status_description", "w3c.tracestate")
    found |= {
        key: value
        for key, value in tags.items()
        if key not in told_elsewhere and not key.startswith(("otel.scope.", "otel.library."))
    }
    return [key_value(key, value) for key, value in found.items()]


def _endpoint(value: object, prefix: str) -> Iterator[tuple[str, object]]:
    endpoint = mapping(value)
    address = text(endpoint.get("ipv4")) or text(endpoint.get("ipv6"))
    if address:
        yield f"{prefix}.address", address
    port = endpoint.get("port")
    if isinstance(port, int) and port > 0:
        yield f"{prefix}.port", port


def _status(tags: Mapping[str, object]) -> Status | None:
    """OpenTelemetry's own tags first; else Zipkin's rule: a tag ``error`` means it failed."""
    message = text(tags.get("otel.status_description"))
    code = _STATUSES.get(text(tags.get("otel.status_code")).upper())
    if code is not None:
        return Status(code=code, message=message)
    error = tags.get("error")
    if error is None or text(error).lower() == "false":
        return None
    return Status(code=Status.STATUS_CODE_ERROR, message=message or text(error))


def _event(value: object) -> Span.Event:
    annotation = mapping(value)
    try:
        moment = unix_nano(annotation.get("timestamp"), "annotation time")
    except BadRecord:
        moment = 0  # OTLP's word for an unknown time; the span itself is good
    return Span.Event(
        time_unix_nano=moment,
        name=text(annotation.get("value")),
    )


GATE: Final = DocumentGate(ZIPKIN_JSON_FORMAT, to_otlp)
"""What the door knows of Zipkin's JSON."""
