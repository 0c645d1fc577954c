"""Zipkin JSON to OTLP."""

from pathlib import Path

import orjson
import pytest
from hypothesis import given, strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from pipeline.decode import zipkin_json
from tests.golden import Golden
from tests.pipeline.decode.test_jaeger_json import JSON, as_text, spans_of
from tests.recordings import shared

HERE = Path(__file__).parent
GOOD = {"traceId": "1", "id": "2", "timestamp": 1_000_000}


def one(**fields: object) -> Span:
    converted = zipkin_json.to_otlp(orjson.dumps([{**GOOD, **fields}]))
    assert converted.refused == ()
    return spans_of(converted)[0]


def attributes(span: Span) -> dict[str, object]:
    return {
        tag.key: getattr(tag.value, tag.value.WhichOneof("value") or "string_value")
        for tag in span.attributes
    }


def test_spans_of_the_api(golden: Golden) -> None:
    document = (HERE / "golden/zipkin_v2.in.json").read_bytes()
    golden.check(HERE / "golden/zipkin_v2.out.json", as_text(zipkin_json.to_otlp(document)))


def test_client_and_server_keep_the_id_they_share() -> None:
    shared_by = [
        {**GOOD, "kind": "CLIENT", "localEndpoint": {"serviceName": "a"}},
        {**GOOD, "kind": "SERVER", "localEndpoint": {"serviceName": "b"}, "shared": True},
    ]
    client, server = spans_of(zipkin_json.to_otlp(orjson.dumps(shared_by)))
    assert client.span_id == server.span_id
    assert (client.kind, server.kind) == (Span.SPAN_KIND_CLIENT, Span.SPAN_KIND_SERVER)
    assert attributes(server)["zipkin.shared"] is True


def test_a_missing_duration_is_zero() -> None:
    span = one()
    assert span.start_time_unix_nano == span.end_time_unix_nano == 1_000_000_000


@pytest.mark.parametrize("parent", ["", "0", "0000000000000000", None])
def test_a_parent_of_zeros_is_none(parent: str | None) -> None:
    assert one(parentId=parent).parent_span_id == b""


def test_a_tag_that_is_nested_too_deeply_costs_only_itself() -> None:
    text = orjson.dumps({**GOOD, "tags": {"deep": "HERE", "other": "x"}})
    document = text.replace(b'"HERE"', b"[" * 400 + b"]" * 400)
    (span,) = spans_of(zipkin_json.to_otlp(document))
    assert attributes(span) == {"deep": "(nested too deeply)", "other": "x"}


def test_the_peer_is_told_by_its_endpoint_unless_a_tag_says_otherwise() -> None:
    endpoint = {"serviceName": "db", "ipv6": "::1", "port": 5432}
    span = one(remoteEndpoint=endpoint, tags={"network.peer.port": "1"})
    assert attributes(span) == {
        "network.peer.address": "::1",
        "network.peer.port": "1",
        "service.peer.name": "db",
    }


@pytest.mark.parametrize(
    ("tags", "code"),
    [
        ({"error": ""}, Status.STATUS_CODE_ERROR),
        ({"error": "false"}, Status.STATUS_CODE_UNSET),
        ({"otel.status_code": "OK", "error": "x"}, Status.STATUS_CODE_OK),
        ({}, Status.STATUS_CODE_UNSET),
    ],
)
def test_status(tags: dict[str, str], code: int) -> None:
    assert one(tags=tags).status.code == code


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"timestamp": None}, "timestamp is missing"),
        ({"timestamp": True}, "timestamp is not a number"),
        ({"id": ""}, "span id is missing"),
        ({"traceId": "g"}, "trace id is not 32 hexadecimal digits"),
        ({"traceId": 5}, "trace id is missing"),
        ({"parentId": "12345678901234567"}, "parent id is not 16 hexadecimal digits"),
        ({"duration": -1}, "duration is out of range"),
        ({"timestamp": 2**60}, "timestamp is out of range"),
        ({"timestamp": 2**63 // 1000, "duration": 10**9}, "end time is out of range"),
    ],
)
def test_a_bad_span_is_refused_with_a_reason(fields: dict[str, object], reason: str) -> None:
    converted = zipkin_json.to_otlp(orjson.dumps([GOOD, {**GOOD, **fields}]))
    assert converted.spans == 1
    assert [(refused.reason, refused.records) for refused in converted.refused] == [(reason, 1)]


def test_every_recording_is_taken() -> None:
    refused = []
    for path in sorted(shared("data/otlp-corpus/zipkin-v2-json").glob("*.json")):
        converted = zipkin_json.to_otlp(path.read_bytes())
        assert converted.spans, path
        refused += [(path.name, told.reason, told.records) for told in converted.refused]
    assert refused == [("smartthings-mobile-web-install.json", "timestamp is missing", 84)]


@given(st.binary(max_size=200))
def test_any_bytes_are_answered(document: bytes) -> None:
    converted = zipkin_json.to_otlp(document)
    assert converted.spans == len(spans_of(converted))


KEYS = (
    "traceId", "id", "parentId", "kind", "name", "timestamp", "duration", "localEndpoint",
    "remoteEndpoint", "tags", "annotations", "shared", "serviceName", "ipv4", "port", "error",
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(KEYS), JSON | st.dictionaries(st.sampled_from(KEYS), JSON)))
def test_any_json_is_answered(value: dict[str, object]) -> None:
    spans = [GOOD, value, {**GOOD, **value}]
    try:
        text = orjson.dumps(spans)
    except TypeError:  # integers beyond 64 bits
        return
    converted = zipkin_json.to_otlp(text)
    assert converted.spans == len(spans_of(converted))
    assert converted.spans + sum(told.records for told in converted.refused) == len(spans)
