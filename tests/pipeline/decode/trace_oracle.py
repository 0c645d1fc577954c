"""What OTLP traces mean, told a second time with the official protobuf objects: slow and plain."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator

from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from pipeline.decode.otlp.attributes import SPAN_ATTRIBUTES
from pipeline.model.consumers import CONSUMER_RULES, PERSONS
from pipeline.model.decoded import Decoded
from pipeline.model.tables import RESOURCES, SCOPES, SPANS
from tests.pipeline.decode.otlp_oracle import Row, attributes, halves, number, plain_times
from tests.pipeline.decode.otlp_strategies import (
    ANY_VALUES,
    ATTRIBUTES,
    RESOURCES as RESOURCE_MESSAGES,
    SCOPES as SCOPE_MESSAGES,
    SPAN_IDS,
    TEXT,
    TIMES,
    TRACE_IDS,
    U32,
)

LAST_NANOSECOND = 2**63 - 1
ID_KEYS = {"traceId", "spanId", "parentSpanId"}


def refusal(span: Span) -> str | None:
    """Why a span has no row."""
    times = span.start_time_unix_nano, span.end_time_unix_nano
    checks = {
        "trace id is not 16 bytes": len(span.trace_id) not in {0, 16},
        "trace id is absent or zero": not any(span.trace_id),
        "span id is not 8 bytes": len(span.span_id) not in {0, 8},
        "span id is absent or zero": not any(span.span_id),
        "parent span id is not 8 bytes": len(span.parent_span_id) not in {0, 8},
        "time is later than the year 2262": max(times) > LAST_NANOSECOND,
    }
    return next((reason for reason, holds in checks.items() if holds), None)


def spans_of(
    request: ExportTraceServiceRequest,
) -> Iterator[tuple[ResourceSpans, ScopeSpans, Span]]:
    """All spans with what is around them."""
    for of_resource in request.resource_spans:
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield of_resource, of_scope, span


def span_rows(request: ExportTraceServiceRequest) -> Iterator[Row]:
    """The rows of a request, without those that must be refused."""
    for of_resource, of_scope, span in spans_of(request):
        if refusal(span) is None:
            resource = attributes(of_resource.resource.attributes)
            scope = of_scope.scope
            row = _row(span)
            row["is_proxy"] |= resource.get("service.name") == "linkerd-proxy"
            row["resource"] = resource
            row["scope"] = (scope.name or None, scope.version or None, attributes(scope.attributes))
            yield row


def _row(span: Span) -> Row:
    high, low = halves(span.trace_id)
    promoted, rest = promote(span.attributes)
    return {
        "trace_id_high": high,
        "trace_id_low": low,
        "span_id": number(span.span_id),
        "parent_span_id": number(span.parent_span_id),
        "name": span.name,
        "kind": span.kind if span.kind in range(6) else 0,
        "start_time": span.start_time_unix_nano,
        "duration_ns": span.end_time_unix_nano - span.start_time_unix_nano,
        "status_code": span.status.code if span.status.code in range(3) else 0,
        "status_message": span.status.message or None,
        "sampling_threshold": threshold(span.trace_state),
        "trace_state": span.trace_state or None,
        **promoted,
        "attributes": rest or None,
        "events": [_event(event) for event in span.events] or None,
        "links": [_link(link) for link in span.links] or None,
    }


def promote(pairs) -> tuple[Row, Row]:
    """Attributes as columns, and the rest of them."""
    rest = attributes(pairs)
    kinds = {pair.key: pair.value.WhichOneof("value") for pair in pairs}
    columns = {}
    for column, promoted in SPAN_ATTRIBUTES.items():
        columns[column] = None
        for name in promoted.names:
            if name in rest:
                value = convert(promoted, kinds[name], rest[name])
                if promoted.kind == "text" and promoted.literal and rest[name] == promoted.literal:
                    del rest[name]
                elif value is not None and columns[column] is None:
                    columns[column] = value
                    del rest[name]
    service = columns.pop("rpc_service")
    method = columns["rpc_method"]
    told = next((pair for pair in reversed(list(pairs)) if pair.key == "rpc.method"), None)
    if service is not None:
        is_whole = told is not None and "/" in told.value.string_value
        if method is None or is_whole:
            rest["rpc.service"] = attributes(pairs)["rpc.service"]
        else:
            columns["rpc_method"] = f"{service}/{method}"
    columns["is_proxy"] = bool(columns["is_proxy"])
    columns["consumer"] = consumer(columns["consumer"], attributes(pairs))
    return columns, rest


def consumer(told, given) -> str | None:
    """The consumer with its kind: by the first attribute that tells it so."""
    if told is None:
        return None
    kind = next(
        kind
        for kind, names in CONSUMER_RULES["otel"]
        if any(name in given and str(given[name]) == told for name in names)
    )
    if kind in PERSONS or "@" in told:
        digest = hashlib.blake2b(told.encode(), digest_size=8, person=b"meshweir").hexdigest()
        return f"{kind}:person-{digest}"
    return f"{kind}:{told}"


def convert(promoted, kind: str | None, value: object) -> object:
    """The value as its column holds it; None when it does not fit."""
    if kind not in {"string_value", "int_value"} or value == "":
        return None
    if promoted.kind == "flag":
        return True if value == promoted.literal else None
    if promoted.kind == "text":
        return str(value) if value != promoted.literal else None
    if kind == "string_value":
        if not (value.isascii() and value.isdecimal() and len(value) <= 10):
            return None
        value = int(value)
    return value if 0 <= value <= promoted.most else None


def threshold(trace_state: str) -> int | None:
    """The threshold of the last well-formed ``ot`` member."""
    found = None
    for member in trace_state.split(","):
        stripped = member.lstrip(" \t")
        if stripped.startswith("ot="):
            found = None
            for field in stripped[3:].split(";"):
                if field.startswith("th:"):
                    digits = field[3:].rstrip(" \t")
                    if 1 <= len(digits) <= 14 and set(digits) <= set("0123456789abcdef"):
                        found = int(digits.ljust(14, "0"), 16)
                    break
    return found


def with_ids(value: object) -> object:
    """OTLP JSON as protobuf's own JSON: OTLP writes ids in hex, protobuf in base64."""
    if isinstance(value, dict):
        return {
            key: base64.b64encode(bytes.fromhex(inner)).decode()
            if key in ID_KEYS and re.fullmatch("([0-9a-fA-F]{2})*", inner)
            else with_ids(inner)
            for key, inner in value.items()
        }
    return [with_ids(item) for item in value] if isinstance(value, list) else value


def _event(event: Span.Event) -> Row:
    told: Row = {"name": event.name, "time_unix_nano": event.time_unix_nano}
    if event.attributes:
        told["attributes"] = attributes(event.attributes)
    return told


def _link(link: Span.Link) -> Row:
    told: Row = {"trace_id": link.trace_id.hex(), "span_id": link.span_id.hex()}
    if link.trace_state:
        told["trace_state"] = link.trace_state
    if link.attributes:
        told["attributes"] = attributes(link.attributes)
    return told


def decoded_spans(decoded: Decoded) -> list[Row]:
    """The rows of the decoder in the oracle's form."""
    if SPANS.name not in decoded.batches:
        return []
    resources = {row["resource_id"]: row for row in decoded.batches[RESOURCES.name].to_pylist()}
    scopes = {row["scope_id"]: row for row in decoded.batches[SCOPES.name].to_pylist()}
    rows = plain_times(decoded.batches[SPANS.name])
    for row in rows:
        scope = scopes[row.pop("scope_id")]
        row["resource"] = json.loads(resources[row.pop("resource_id")]["attributes"])
        row["scope"] = (scope["name"], scope["version"], json.loads(scope["attributes"]))
        for name in ("attributes", "events", "links"):
            row[name] = None if row[name] is None else json.loads(row[name])
    return rows


GOOD_TRACE_IDS = st.binary(min_size=16, max_size=16).filter(any)
GOOD_SPAN_IDS = st.binary(min_size=8, max_size=8).filter(any)
NAMES = sorted({name for promoted in SPAN_ATTRIBUTES.values() for name in promoted.names})
PLAIN_VALUES = st.one_of(
    st.sampled_from(
        ["200", "-", "proxy", "a/b", "99999999999", "4294967296", "65536", "GET", "-1"]
    ),
    TEXT,
).map(lambda text: AnyValue(string_value=text)) | st.sampled_from([0, 14, 200, 65536, -1]).map(
    lambda number: AnyValue(int_value=number)
)
SPAN_PAIRS = st.lists(
    st.builds(KeyValue, key=st.sampled_from(NAMES), value=PLAIN_VALUES | ANY_VALUES)
    | st.builds(KeyValue, key=TEXT, value=ANY_VALUES),
    max_size=8,
)
TRACE_STATES = st.one_of(
    st.just(""),
    TEXT,
    st.sampled_from(
        [
            "ot=th:fd70a4",
            "a=b, ot=rv:1;th:8",
            "ot=th:0",
            "ot=th:fffffffffffffff",
            "ot=th:FF",
            "ot=th:",
            "ot=p:8;th:c \t,x=1",
            "ot=th:8,ot=th:zz",
        ]
    ),
)
SPANS_MADE = st.builds(
    Span,
    trace_id=GOOD_TRACE_IDS | TRACE_IDS,
    span_id=GOOD_SPAN_IDS | SPAN_IDS,
    parent_span_id=st.just(b"") | GOOD_SPAN_IDS | SPAN_IDS,
    trace_state=TRACE_STATES,
    flags=U32,
    name=TEXT,
    kind=st.sampled_from([0, 1, 2, 3, 4, 5, 6, 258, -1]),
    start_time_unix_nano=TIMES,
    end_time_unix_nano=TIMES,
    attributes=SPAN_PAIRS,
    dropped_attributes_count=U32,
    events=st.lists(
        st.builds(Span.Event, time_unix_nano=TIMES, name=TEXT, attributes=ATTRIBUTES), max_size=2
    ),
    links=st.lists(
        st.builds(
            Span.Link,
            trace_id=TRACE_IDS,
            span_id=SPAN_IDS,
            trace_state=TRACE_STATES,
            attributes=ATTRIBUTES,
        ),
        max_size=2,
    ),
    status=st.none() | st.builds(Status, message=TEXT, code=st.sampled_from([0, 1, 2, 3, -1, 257])),
)
TRACE_REQUESTS = st.builds(
    ExportTraceServiceRequest,
    resource_spans=st.lists(
        st.builds(
            ResourceSpans,
            resource=RESOURCE_MESSAGES,
            schema_url=TEXT,
            scope_spans=st.lists(
                st.builds(ScopeSpans, scope=SCOPE_MESSAGES, spans=st.lists(SPANS_MADE, max_size=3)),
                max_size=2,
            ),
        ),
        max_size=2,
    ),
)
