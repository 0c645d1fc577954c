"""Jaeger JSON to OTLP: the answer of its HTTP API, single traces, and what its stores keep.

Understood are ``{"data": [trace, ...]}``, one trace, one span with its process inside (as kept in
Elasticsearch), arrays of these, one of them on each line, the protobuf JSON of Jaeger's model
(base64 ids, RFC 3339 times), and the JSON of Thrift batches. The meaning of tags follows the
OpenTelemetry specification's page on Jaeger (span.kind, error, otel.*, opentracing.ref_type).
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from pipeline.decode import otlp_traces
from pipeline.decode.gates.document_gate import DocumentGate
from pipeline.decode.otlp.via_otlp import (
    UINT32_MAX,
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
from pipeline.model.topics import JAEGER_JSON_FORMAT

_KINDS: Final = {
    "internal": Span.SPAN_KIND_INTERNAL,
    "server": Span.SPAN_KIND_SERVER,
    "client": Span.SPAN_KIND_CLIENT,
    "producer": Span.SPAN_KIND_PRODUCER,
    "consumer": Span.SPAN_KIND_CONSUMER,
}
_STATUSES: Final = {"OK": Status.STATUS_CODE_OK, "ERROR": Status.STATUS_CODE_ERROR}
_TYPED: Final = (
    ("vStr", "string"), ("vBool", "bool"), ("vInt64", "int64"), ("vLong", "int64"),
    ("vFloat64", "float64"), ("vDouble", "float64"), ("vBinary", "binary"),
)  # fmt: skip
_DEFAULTS: Final[Mapping[str, object]] = {
    "STRING": "", "BOOL": False, "INT64": 0, "LONG": 0,
    "FLOAT64": 0.0, "DOUBLE": 0.0, "BINARY": b"",
}  # fmt: skip
_GO_DURATION: Final = re.compile(r"([0-9]+)(?:\.([0-9]+))?(ns|us|µs|ms|s|m|h)")
_GO_UNITS: Final = {
    "ns": 1, "us": 1000, "µs": 1000, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9,
}  # fmt: skip
_RFC3339: Final = re.compile(r"([0-9-]{10}T[0-9:]{8})(?:\.([0-9]{1,9})[0-9]*)?(Z|[+-][0-9:]{5})")

_Tags = dict[str, object]


def to_otlp(document: bytes) -> Converted:
    """Turn one document into OTLP; spans that cannot be taken are counted with their reason."""
    gathering = Gathering()
    for value in documents(document, gathering):
        for spans, processes in _traces(value):
            if not spans and not processes:
                gathering.refuse("not a Jaeger trace")
            for span in spans:
                _take(span, processes, gathering)
    return gathering.converted()


def decode(messages: Sequence[bytes]) -> Decoded:
    """Decode messages of Jaeger JSON into rows of the tables of spans."""
    return decode_through(to_otlp, otlp_traces.decode, messages)


def _traces(value: object) -> Iterator[tuple[Sequence[object], Mapping[str, object]]]:
    """The traces of a JSON value: their spans, and the processes the spans refer to."""
    for outer in flat(value):
        answer = mapping(outer)
        for item in flat(answer["data"] or []) if "data" in answer else [outer]:
            yield _trace(mapping(item))


def _trace(trace: Mapping[str, object]) -> tuple[Sequence[object], Mapping[str, object]]:
    if "spans" in trace:
        return sequence(trace["spans"]), mapping(trace.get("processes")) or {
            "": trace.get("process")
        }
    if "operationName" in trace:
        return [trace], {"": trace.get("process")}
    return (), {}


def _take(value: object, processes: Mapping[str, object], gathering: Gathering) -> None:
    record = mapping(value)
    try:
        span, scope = _span(record)
    except BadRecord as error:
        gathering.refuse(str(error))
        return
    process = _process(record, processes)
    tags = _tags(process.get("tags"), process.get("tag"))
    name = text(process.get("serviceName"))
    gathering.add(
        span,
        resource=(name, tuple((key, repr(tag)) for key, tag in tags.items())),
        attributes=lambda: _resource(name, tags),
        scope=scope,
    )


def _process(record: Mapping[str, object], processes: Mapping[str, object]) -> Mapping[str, object]:
    own = record.get("process")
    if isinstance(own, dict):
        return own
    return mapping(processes.get(text(record.get("processID") or record.get("processId"))))


def _resource(name: str, tags: _Tags) -> Iterator[KeyValue]:
    if name:
        yield key_value("service.name", name)
    yield from (key_value(key, value) for key, value in tags.items() if key != "service.name")


def _span(record: Mapping[str, object]) -> tuple[Span, tuple[str, str]]:
    tags = _tags(record.get("tags"), record.get("tag"))
    start = _time(record.get("startTime"), "start time")
    trace_id, parent, links = _references(record)
    warnings = [text(warning) for warning in sequence(record.get("warnings"))]
    kind = _KINDS.get(text(tags.get("span.kind")).lower(), Span.SPAN_KIND_UNSPECIFIED)
    if kind:
        del tags["span.kind"]
    status = _status(tags)
    scope = _pop_text(tags, "otel.scope.name", "otel.library.name")
    version = _pop_text(tags, "otel.scope.version", "otel.library.version")
    state = _pop_text(tags, "w3c.tracestate")
    span = Span(
        trace_id=trace_id,
        span_id=_span_id(record, "span id"),
        parent_span_id=parent,
        trace_state=state,
        name=text(record.get("operationName")),
        kind=kind,
        start_time_unix_nano=start,
        end_time_unix_nano=in_range(start + _duration(record.get("duration")), "end time"),
        attributes=[key_value(key, value) for key, value in tags.items()],
        events=[_event(log) for log in sequence(record.get("logs"))],
        links=links,
        status=status,
        flags=_flags(record.get("flags")),
    )
    if warnings:
        # the name that Jaeger's own conversion to OTLP gives them
        warned = span.attributes.add(key="@jaeger@warnings").value.array_value
        for warning in warnings:
            warned.values.add(string_value=warning)
    return span, (scope, version)


def _flags(value: object) -> int:
    taken = value if isinstance(value, int) and 0 <= value <= UINT32_MAX else 0
    return taken & 1  # only "sampled" means the same in both


def _pop_text(tags: _Tags, *keys: str) -> str:
    """Take the first of these tags that is text out of the tags."""
    for key in keys:
        if isinstance(tags.get(key), str):
            return text(tags.pop(key))
    return ""


def _status(tags: _Tags) -> Status | None:
    code = _STATUSES.get(text(tags.get("otel.status_code")).upper())
    if code is not None:
        del tags["otel.status_code"]
        if code == Status.STATUS_CODE_ERROR and tags.get("error") is True:
            del tags["error"]
        return Status(code=code, message=_pop_text(tags, "otel.status_description"))
    error = tags.get("error")
    if error is True or text(error).lower() == "true":
        del tags["error"]
        return Status(
            code=Status.STATUS_CODE_ERROR, message=_pop_text(tags, "otel.status_description")
        )
    return None


def _references(record: Mapping[str, object]) -> tuple[bytes, bytes, list[Span.Link]]:
    """The trace id, the parent's span id, and links to everything else that is referred to."""
    trace_id = _trace_id(record)
    parent = _parent_field(record)
    links: list[Span.Link] = []
    for item in sequence(record.get("references")):
        reference = mapping(item)
        try:
            other, span_id = _trace_id(reference), _span_id(reference, "reference")
        except BadRecord:
            continue  # spans refer to an id of zero when they have no parent
        kind = text(reference.get("refType")) or "CHILD_OF"
        if kind == "CHILD_OF" and other == trace_id and parent in (b"", span_id):
            parent = span_id
            continue
        link = Span.Link(trace_id=other, span_id=span_id)
        link.attributes.append(key_value("opentracing.ref_type", kind.lower()))
        links.append(link)
    return trace_id, parent, links


def _parent_field(record: Mapping[str, object]) -> bytes:
    value = _either(record, "parentSpanID", "parentSpanId")
    try:
        return _id(value, 8, "parent span id") if value else b""
    except BadRecord:
        return b""


def _trace_id(record: Mapping[str, object]) -> bytes:
    low = record.get("traceIdLow")
    if isinstance(low, int):
        high = record.get("traceIdHigh")
        return (
            _id(low, 8, "trace id").rjust(16, b"\0")
            if not high
            else (_id(high, 8, "trace id") + _id(low, 8, "trace id"))
        )
    return _id(_either(record, "traceID", "traceId"), 16, "trace id")


def _span_id(record: Mapping[str, object], what: str) -> bytes:
    return _id(_either(record, "spanID", "spanId"), 8, what)


def _either(record: Mapping[str, object], one: str, other: str) -> object:
    value = record.get(one)
    return record.get(other) if value is None else value


def _id(value: object, size: int, what: str) -> bytes:
    """An id written as hexadecimal, as base64 (Jaeger's model) or as a number (Thrift)."""
    if isinstance(value, int) and not isinstance(value, bool):
        if not -(2**63) <= value < 2**64:
            raise BadRecord(f"{what} is out of range")
        return hex_id(f"{value % 2**64:x}", size, what)
    if isinstance(value, str) and value.endswith("="):
        try:
            value = base64.b64decode(value, validate=True).hex()
        except binascii.Error:
            raise BadRecord(f"{what} is not base64") from None
    return hex_id(value, size, what)


def _time(value: object, what: str) -> int:
    match = _RFC3339.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return unix_nano(value, what)
    seconds, fraction, zone = match.groups()
    try:
        moment = datetime.fromisoformat(seconds + zone.replace("Z", "+00:00"))
    except ValueError:
        raise BadRecord(f"{what} is not a time") from None
    whole = int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
    return in_range(whole * 10**9 + int((fraction or "").ljust(9, "0")), what)


def _duration(value: object) -> int:
    """Nanoseconds from microseconds or from Go's text; 0 when not told."""
    if value is None:
        return 0
    if isinstance(value, str) and not value.isdecimal():
        parts = _GO_DURATION.findall(value[:64])
        if not parts:
            raise BadRecord("duration is not a number")
        return sum(
            int(whole) * _GO_UNITS[unit]
            + int((fraction or "0")[:9]) * _GO_UNITS[unit] // 10 ** len((fraction or "0")[:9])
            for whole, fraction, unit in parts
        )
    if isinstance(value, int | float) and value < 0:
        return -unix_nano(-value, "duration")
    return unix_nano(value, "duration")


def _event(value: object) -> Span.Event:
    log = mapping(value)
    fields = _tags(log.get("fields"), None)
    name = _pop_text(fields, "event")
    try:
        moment = _time(log.get("timestamp"), "log time")
    except BadRecord:
        moment = 0  # OTLP's word for an unknown time; the span itself is good
    return Span.Event(
        time_unix_nano=moment,
        name=name,
        attributes=[key_value(key, field) for key, field in fields.items()],
    )


def _tags(listed: object, keyed: object) -> _Tags:
    """Tags by key: a list of typed pairs, and the map that Elasticsearch keeps (dots as @)."""
    tags: _Tags = {key.replace("@", "."): value for key, value in mapping(keyed).items()}
    for item in sequence(listed):
        pair = mapping(item)
        key = pair.get("key")
        if isinstance(key, str):
            tags[key] = _value(pair)
    return tags


def _value(pair: Mapping[str, object]) -> object:
    if "value" in pair:
        return _typed(text(pair.get("type")).lower(), pair["value"])
    for name, kind in _TYPED:
        if name in pair:
            return _typed(kind, pair[name])
    # protobuf JSON leaves out a value that is zero, false or empty
    return _DEFAULTS.get(text(pair.get("vType")).upper(), "")


def _typed(kind: str, value: object) -> object:
    """The value as its stated type; as it is when it does not fit that type."""
    if not isinstance(value, str):
        return float(value) if kind == "float64" and type(value) is int else value
    try:
        return _READERS[kind](value) if kind in _READERS else value
    except ValueError:
        return value


def _binary(value: str) -> bytes:
    """Bytes from hexadecimal (as in Elasticsearch) or base64 (as in the API)."""
    if re.fullmatch(r"(?:[0-9a-f]{2})*", value):
        return bytes.fromhex(value)
    return base64.b64decode(value, validate=True)


_READERS: Final[Mapping[str, Callable[[str], object]]] = {
    "bool": lambda value: {"true": True, "false": False}.get(value.lower(), value),
    "int64": lambda value: int(value[:21]),
    "float64": float,
    "binary": _binary,
}

GATE: Final = DocumentGate(JAEGER_JSON_FORMAT, to_otlp)
"""What the door knows of Jaeger's JSON."""
