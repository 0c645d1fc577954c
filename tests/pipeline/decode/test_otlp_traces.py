"""OTLP traces: golden spans, agreement with the official library, and any bytes."""

import json
import os
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from google.protobuf.json_format import ParseDict
from google.protobuf.message import DecodeError as ProtobufError
from hypothesis import given, strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pipeline.decode import DECODERS
from pipeline.decode.otlp_traces import decode
from pipeline.model.decoded import Refusal
from pipeline.model.tables import RESOURCES, SCOPES, SPANS
from tests.pipeline.decode.bytes_twin import bytes_twin
from tests.pipeline.decode.trace_oracle import (
    TRACE_REQUESTS,
    decoded_spans,
    refusal,
    span_rows,
    spans_of,
    with_ids,
)
from tests.pipeline.decode.wire_writer import encode

SHARED = Path(os.environ.get("MESHWEIR_SHARED", Path(__file__).parents[3] / "../shared"))
ANY_TEXT = bytes_twin(ExportTraceServiceRequest)
CORPUS = SHARED / "data/otlp-corpus/otlp-json"
TIME = 1_764_000_000_000_000_000
TRACE, SPAN, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "00f067aa0ba902b7"


def request_of(*spans: dict, resource: dict | None = None) -> ExportTraceServiceRequest:
    """A request of one resource and one scope, from the OTLP JSON of its spans."""
    told = {"service.name": "cart"} if resource is None else resource
    document = {
        "resourceSpans": [
            {
                "resource": {"attributes": pairs(**told)},
                "scopeSpans": [{"scope": {"name": "tracer", "version": "2"}, "spans": list(spans)}],
            }
        ]
    }
    return ParseDict(with_ids(document), ExportTraceServiceRequest())


def pairs(**values: object) -> list[dict]:
    """Attributes in OTLP JSON."""
    kinds = {str: "stringValue", bool: "boolValue", int: "intValue", float: "doubleValue"}
    return [{"key": key, "value": {kinds[type(value)]: value}} for key, value in values.items()]


def good(**fields: object) -> dict:
    base = {"traceId": TRACE, "spanId": SPAN, "name": "GET /cart", "startTimeUnixNano": str(TIME)}
    return base | {"endTimeUnixNano": str(TIME + 9)} | fields


def one(span: dict, **resource: object) -> dict:
    """The row of one span, without its nulls."""
    decoded = decode([request_of(span, resource=resource or None).SerializeToString()])
    assert decoded.refused == ()
    (row,) = decoded_spans(decoded)
    return {name: value for name, value in row.items() if value is not None}


def told(**attributes: object) -> dict:
    """What a span with these attributes has beside what every span has."""
    return {
        name: value
        for name, value in one(good(attributes=pairs(**attributes))).items()
        if name not in BASE
    }


BASE = {
    "trace_id_high": 0x0AF7651916CD43DD,
    "trace_id_low": 0x8448EB211C80319C,
    "span_id": 0xB7AD6B7169203331,
    "name": "GET /cart",
    "kind": 0,
    "start_time": TIME,
    "duration_ns": 9,
    "status_code": 0,
    "is_proxy": False,
    "resource": {"service.name": "cart"},
    "scope": ("tracer", "2", {}),
}


def test_it_is_registered():
    assert DECODERS["otlp_traces"] is decode


def test_a_bare_span():
    assert one(good()) == BASE


def test_a_whole_span():
    span = good(
        parentSpanId=PARENT,
        kind=3,
        traceState="ot=th:fd70a4,other=1",
        status={"code": 2, "message": "upstream reset"},
        attributes=pairs(**{"http.request.method": "GET", "tenant": 'a"b', "n": 7, "x": 0.1}),
        events=[{"timeUnixNano": "5", "name": "retry", "attributes": pairs(attempt=2)}],
        links=[{"traceId": TRACE, "spanId": PARENT, "traceState": "a=b"}],
    )
    assert one(span) == BASE | {
        "parent_span_id": 0x00F067AA0BA902B7,
        "kind": 3,
        "trace_state": "ot=th:fd70a4,other=1",
        "sampling_threshold": 0xFD70A400000000,
        "status_code": 2,
        "status_message": "upstream reset",
        "http_request_method": "GET",
        "attributes": {"tenant": 'a"b', "n": 7, "x": 0.1},
        "events": [{"name": "retry", "time_unix_nano": 5, "attributes": {"attempt": 2}}],
        "links": [{"trace_id": TRACE, "span_id": PARENT, "trace_state": "a=b"}],
    }


def test_a_span_that_ends_before_it_begins_keeps_its_negative_duration():
    assert one(good(endTimeUnixNano=str(TIME - 5)))["duration_ns"] == -5


@pytest.mark.parametrize(
    ("attribute", "value", "column", "promoted"),
    [
        ("http.method", "GET", "http_request_method", "GET"),
        ("http.status_code", 503, "http_response_status_code", 503),
        ("http.status_code", "0", "http_response_status_code", 0),
        ("http.resend_count", 2, "http_request_resend_count", 2),
        ("retry.count", "1", "http_request_resend_count", 1),
        ("net.peer.name", "cart", "server_address", "cart"),
        ("net.peer.port", 8080, "server_port", 8080),
        ("net.peer.ip", "10.0.0.1", "network_peer_address", "10.0.0.1"),
        ("net.sock.peer.addr", "10.0.0.1", "network_peer_address", "10.0.0.1"),
        ("upstream_address", "10.0.0.1:80", "network_peer_address", "10.0.0.1:80"),
        ("peer.service", "cart", "service_peer_name", "cart"),
        ("db.system", "redis", "db_system_name", "redis"),
        ("db.name", "carts", "db_namespace", "carts"),
        ("rpc.system", "grpc", "rpc_system_name", "grpc"),
        ("rpc.grpc.status_code", 14, "rpc_status_code", "14"),
        ("grpc.status_code", "14", "rpc_status_code", "14"),
        ("messaging.destination", "orders", "messaging_destination_name", "orders"),
        ("messaging.destination_name", "orders", "messaging_destination_name", "orders"),
        ("upstream_cluster.name", "inbound|80||", "upstream_cluster", "inbound|80||"),
        ("response_flags", "UF,URX", "response_flags", "UF,URX"),
        ("guid:x-request-id", "5d1d", "request_id", "5d1d"),
    ],
)
def test_old_and_foreign_names_fill_the_columns(attribute, value, column, promoted):
    assert told(**{attribute: value}) == {column: promoted}


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("http.status_code", "none"),
        ("http.status_code", 65536),
        ("http.status_code", -1),
        ("http.status_code", 200.0),
        ("http.method", True),
        ("http.method", ""),
        ("component", "http"),
        ("server.port", "4294967296"),
    ],
)
def test_a_value_that_does_not_fit_its_column_stays_an_attribute(attribute, value):
    assert told(**{attribute: value}) == {"attributes": {attribute: value}}


def test_the_new_name_wins_and_the_old_one_stays():
    assert told(**{"http.method": "GET", "http.request.method": "POST"}) == {
        "http_request_method": "POST",
        "attributes": {"http.method": "GET"},
    }


def test_a_dash_is_no_response_flag():
    assert told(response_flags="-") == {}


def test_service_and_method_of_rpc_are_joined():
    assert told(**{"rpc.service": "shop.Cart", "rpc.method": "Add"}) == {
        "rpc_method": "shop.Cart/Add"
    }


def test_a_whole_rpc_method_stays_and_so_does_the_service():
    assert told(**{"rpc.service": "shop.Cart", "rpc.method": "shop.Cart/Add"}) == {
        "rpc_method": "shop.Cart/Add",
        "attributes": {"rpc.service": "shop.Cart"},
    }


def test_an_rpc_service_alone_is_an_attribute():
    assert told(**{"rpc.service": "shop.Cart"}) == {"attributes": {"rpc.service": "shop.Cart"}}


def test_proxies_are_known_by_component_and_by_name():
    assert one(good(attributes=pairs(component="proxy")))["is_proxy"] is True
    assert one(good(), **{"service.name": "linkerd-proxy"})["is_proxy"] is True


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"traceId": "0af7"}, "trace id is not 16 bytes"),
        ({"traceId": "00" * 16}, "trace id is absent or zero"),
        ({"spanId": "0af7"}, "span id is not 8 bytes"),
        ({"spanId": ""}, "span id is absent or zero"),
        ({"parentSpanId": "0af7"}, "parent span id is not 8 bytes"),
        ({"startTimeUnixNano": str(2**63)}, "time is later than the year 2262"),
        ({"endTimeUnixNano": str(2**64 - 1)}, "time is later than the year 2262"),
    ],
)
def test_a_bad_span_is_refused_and_its_neighbours_stay(fields, reason):
    request = request_of(good(name="before"), good(**fields), good(name="after"))
    message = request.SerializeToString()
    decoded = decode([message])
    assert [row["name"] for row in decoded_spans(decoded)] == ["before", "after"]
    (refused,) = decoded.refused
    bad = request.resource_spans[0].scope_spans[0].spans[1].SerializeToString()
    assert refused == Refusal(0, reason, offset=message.index(bad), records=1)


@pytest.mark.parametrize("zero", ["", "00" * 8])
def test_a_zero_parent_is_none(zero):
    assert one(good(parentSpanId=zero)) == BASE


def test_a_malformed_message_costs_only_itself():
    messages = [request_of(good(name=name)).SerializeToString() for name in "abc"]
    decoded = decode([messages[0], messages[1][:-1], messages[2]])
    assert [row["name"] for row in decoded_spans(decoded)] == ["a", "c"]
    (refused,) = decoded.refused
    assert (refused.message, refused.whole) == (1, True)


def test_text_that_is_not_utf8_is_mended():
    message = request_of(good(name="GET_", attributes=pairs(k="v_"))).SerializeToString()
    (row,) = decoded_spans(decode([message.replace(b"GET_", b"GET\xff").replace(b"v_", b"v\xc3")]))
    assert (row["name"], row["attributes"]) == ("GET\ufffd", {"k": "v\ufffd"})


def test_resources_are_told_once_and_only_when_used():
    same = request_of(good(), resource={"service.name": "cart", "k8s.cluster.name": "east"})
    unused = request_of(good(spanId=""), resource={"service.name": "gone"})
    decoded = decode([one.SerializeToString() for one in (same, same, unused)])
    (resource,) = decoded.batches[RESOURCES.name].to_pylist()
    assert (resource["service_name"], resource["cluster"]) == ("cart", "east")
    assert decoded.batches[SCOPES.name].num_rows == 1
    assert decoded.batches[SPANS.name]["resource_id"].to_pylist() == [resource["resource_id"]] * 2


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_any_bytes_are_rows_or_refusals(messages):
    decoded = decode(messages)
    whole = [refused.message for refused in decoded.refused if refused.whole]
    assert whole == sorted(set(whole))
    for table in decoded.batches.values():
        table.validate(full=True)


@given(TRACE_REQUESTS, st.none() | st.randoms(use_true_random=False))
def test_it_agrees_with_the_official_library(request_, random: Random | None):
    decoded = decode([encode(request_, random)])
    assert decoded_spans(decoded) == list(span_rows(request_))
    reasons = Counter(filter(None, (refusal(span) for _, _, span in spans_of(request_))))
    assert {refused.reason: refused.records for refused in decoded.refused} == reasons
    for table, schema in ((SPANS, SPANS.arrow), (RESOURCES, RESOURCES.arrow)):
        if table.name in decoded.batches:
            assert decoded.batches[table.name].schema == schema
            decoded.batches[table.name].validate(full=True)


@given(st.lists(TRACE_REQUESTS, min_size=2, max_size=4))
def test_many_messages_are_decoded_as_one_by_one(requests):
    messages = [encode(request_) for request_ in requests]
    together = decoded_spans(decode(messages))
    assert together == [row for message in messages for row in decoded_spans(decode([message]))]


@given(TRACE_REQUESTS, st.data())
def test_what_the_official_library_refuses_is_refused(request_, data):
    message = bytearray(request_.SerializeToString() or b"\n\x00")
    for _ in range(data.draw(st.integers(1, 3))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    agree_on(bytes(message))


@given(TRACE_REQUESTS, st.data())
def test_truncated_messages_are_judged_as_by_the_official_library(request_, data):
    message = request_.SerializeToString()
    agree_on(message[: data.draw(st.integers(0, len(message)))])


def test_a_message_cut_at_any_byte():
    message = request_of(good(attributes=pairs(a=1, b="x"), status={"code": 1})).SerializeToString()
    for end in range(len(message)):
        agree_on(message[:end])


def agree_on(message: bytes) -> None:
    """Accept what the official parser accepts, which alone refuses text that is not UTF-8."""
    decoded = decode([message])
    try:
        ANY_TEXT.FromString(message)
    except ProtobufError:
        (refused,) = decoded.refused
        assert refused.whole
        assert refused.offset is not None
        assert 0 <= refused.offset <= len(message)
        assert decoded.batches == {}
        return
    assert not any(refused.whole for refused in decoded.refused)
    try:
        request_ = ExportTraceServiceRequest.FromString(message)
    except ProtobufError:
        return
    assert decoded_spans(decoded) == list(span_rows(request_))


def recordings() -> list[Path]:
    return sorted(path for path in CORPUS.rglob("*.json") if '"resourceSpans"' in path.read_text())


@pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no recordings in {CORPUS}")
def test_real_payloads_mean_the_same_to_the_official_library():
    count = 0
    for path in recordings():
        for document in documents(path):
            request_ = ParseDict(with_ids(document), ExportTraceServiceRequest())
            for random in (None, Random(7)):
                decoded = decode([encode(request_, random)])
                rows = list(span_rows(request_))
                assert decoded_spans(decoded) == rows
            count += len(rows)
    assert count > 10


def documents(path: Path) -> list[dict]:
    """The OTLP documents of a file, one behind the other."""
    text = path.read_text().strip()
    found = []
    while text:
        document, end = json.JSONDecoder().raw_decode(text)
        found.append(document)
        text = text[end:].strip()
    return [document for document in found if "resourceSpans" in document]
