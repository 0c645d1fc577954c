"""Access logs of AWS API Gateway."""

import base64
import gzip
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

from pipeline.decode import DECODERS, cloudwatch
from pipeline.decode.aws_apigateway import LINES, decode, without_ids
from pipeline.decode.records.gateway_records import CONTROL
from tests.golden import Golden
from tests.pipeline.decode.gateway_rows import as_text, one, refused, rows
from tests.recordings import shared

HERE = Path(__file__).parent
SAMPLES = "samples/gateways/"
START = 1_764_172_800_123
RECORDED_WITHOUT_EPOCH = 1_546_852_857_000
"""07/Jan/2019:09:20:57 +0000, told by the recorded event of a WebSocket beside an epoch of 0."""


def record(**more: Any) -> dict[str, Any]:
    return {
        "requestId": "r1",
        "apiId": "a1",
        "stage": "prod",
        "requestTimeEpoch": str(START),
        "status": "200",
        **more,
    }


def row(**more: Any) -> dict[str, Any]:
    return one(decode([orjson.dumps(record(**more))]))


def subscription(
    *messages: str, kind: str = "DATA_MESSAGE", when: object = START
) -> dict[str, Any]:
    events = [
        {"id": str(number).zfill(56), "timestamp": when, "message": message}
        for number, message in enumerate(messages)
    ]
    return {
        "messageType": kind,
        "owner": "123456789012",
        "logGroup": "/aws/apigw/orders",
        "logStream": "s-1",
        "subscriptionFilters": ["all"],
        "logEvents": events,
    }


def test_it_is_registered():
    assert DECODERS["aws_apigateway"] is decode


def test_golden_records(golden: Golden):
    message = (HERE / "golden/aws_apigateway.in.jsonl").read_bytes()
    golden.check(HERE / "golden/aws_apigateway.out.json", as_text(decode([message])))


@pytest.mark.parametrize("name", [
    "responseLatency", "response_latency", "response-latency", "response.latency",
    "ResponseLatency", "context.responseLatency",
])  # fmt: skip
def test_names_of_variables_in_all_spellings(name):
    assert row(**{name: "57"})["duration_ns"] == 57_000_000


@pytest.mark.parametrize("nothing", ["-", "", None, "n/a"])
def test_what_is_not_told_is_null_and_never_0(nothing):
    names = ("responseLatency", "integrationLatency", "responseLength", "integrationStatus")
    found = row(**dict.fromkeys(names, nothing))
    assert not found.keys() & {
        "duration_ns", "upstream_duration_ns", "response_bytes", "upstream_response_status_code",
    }  # fmt: skip


@pytest.mark.parametrize(
    "told",
    [
        {"requestTimeEpoch": str(START)},
        {"requestTimeEpoch": START},
        {"requestTimeEpoch": "-", "requestTime": "26/Nov/2025:16:00:00 +0000"},
        {"requestTimeEpoch": None, "requestTime": "26/Nov/2025:17:00:00+0100"},
        {"requestTimeEpoch": "", "requestTime": "2025-11-26T16:00:00Z"},
    ],
    ids=repr,
)
def test_times(told):
    assert row(**told)["start_time"] // 10**9 == START // 1000


@pytest.mark.parametrize(
    "told", ["1764172800", "26/Foo/2025:16:00:00 +0000", "soon"], ids=["seconds", "month", "words"]
)
def test_a_time_that_cannot_be_read_is_refused(told):
    bad = record(requestTimeEpoch=told if told.isdigit() else "-", requestTime=told)
    decoded = decode([orjson.dumps(record()) + b"\n" + orjson.dumps(bad)])
    assert len(rows(decoded)) == 1
    assert refused(decoded) == [("its time cannot be read", len(orjson.dumps(record())) + 1, 1)]


def test_the_request_id_of_rest_is_the_one_no_client_chooses():
    found = row(requestId="chosen", extendedRequestId="JKJaXmPLvHcESHA=")
    assert found["request_id"] == "JKJaXmPLvHcESHA="
    assert found["attributes"]["aws.request_id"] == "chosen"


def test_the_lambda_service_is_not_the_lambda():
    found = row(status="502", integration={"status": "500", "integrationStatus": "200"})
    assert found["http_response_status_code"] == 502
    assert found["upstream_response_status_code"] == 500
    assert found["attributes"]["aws.integration.service_status"] == "200"


@pytest.mark.parametrize(
    ("told", "route", "method"),
    [
        ({"resourcePath": "/pets/{id}", "httpMethod": "GET"}, "/pets/{id}", "GET"),
        ({"routeKey": "GET /pets"}, "/pets", "GET"),
        ({"routeKey": "$default", "httpMethod": "PUT"}, "$default", "PUT"),
        ({"routeKey": "$connect"}, "$connect", None),
        ({"routeKey": "-", "eventType": "-", "connectionId": "-"}, None, None),
    ],
    ids=repr,
)
def test_routes(told, route, method):
    found = row(**told)
    assert (found.get("route_name"), found.get("http_request_method")) == (route, method)


def test_the_gateway_is_an_api_in_a_stage():
    found = row(accountId="1")["resource"]
    assert (found["service_namespace"], found["service_name"]) == ("prod", "a1")
    assert "service_namespace" not in row(stage="$default")["resource"]
    assert row(apiId="-", stage="-")["resource"]["service_name"] == "aws-api-gateway"


@pytest.mark.parametrize(
    ("told", "flags"),
    [("THROTTLED", "RL"), ("QUOTA_EXCEEDED", "RL"), ("INTEGRATION_TIMEOUT", "UT"), ("-", None)],
)
def test_error_types_say_who_answered(told, flags):
    found = row(errorType=told)
    assert found.get("response_flags") == flags
    assert found.get("response_code_details") == (told if flags else None)


@pytest.mark.parametrize("told", [
    "1-58406520-a006649127e371903a2de979",
    "Root=1-58406520-a006649127e371903a2de979;Parent=53995c3f42cd8ad8;Sampled=1",
    "self=1-5-6;root=1-58406520-a006649127e371903a2de979",
])  # fmt: skip
def test_x_ray_ids_are_w3c_ids(told):
    found = row(xrayTraceId=told)
    assert (found["trace_id_high"], found["trace_id_low"]) == (
        0x58406520A0066491,
        0x27E371903A2DE979,
    )


def test_the_id_of_a_key_is_a_consumer_and_a_person_a_hash():
    assert row(apiKeyId="k1", principalId="ann")["consumer"] == "key:k1"
    for told in ({"principalId": "ann"}, {"authorizer": {"claims": {"sub": "ann"}}},
                 {"identity": {"userArn": "ann"}}):  # fmt: skip
        found = row(**told)
        assert found["consumer"].split(":")[1].startswith("person-")
        assert "ann" not in str(found)


def test_ids_in_paths_are_taken_out():
    paths = [
        "/prod/pets/42", "/users/ann@example.com/x", "/a/7f3a9c2b-11d4/b", "/v1/orders",
        "/pets/{id}", None,
    ]  # fmt: skip
    assert without_ids(pa.array(paths, pa.string())).to_pylist() == [
        "/prod/pets/{id}", "/users/{id}/x", "/a/{id}/b", "/v1/orders", "/pets/{id}", None,
    ]  # fmt: skip


def test_what_was_called_is_known_when_the_operator_says_so():
    assert "upstream_cluster" not in row(integrationLatency="5")
    assert row(upstream="orders.shop.svc")["upstream_cluster"] == "orders.shop.svc"


LINE = orjson.dumps(record()).decode()


def wrapped(*messages: str) -> dict[str, bytes]:
    document = orjson.dumps(subscription(*messages))
    packed = gzip.compress(document)
    text = base64.b64encode(packed).decode()
    return {
        "bare": document,
        "gzip": packed,
        "lambda": orjson.dumps({"awslogs": {"data": text}}),
        "kinesis": orjson.dumps({"Records": [{"kinesis": {"data": text}}]}),
        "firehose": orjson.dumps({"requestId": "f", "timestamp": 1, "records": [{"data": text}]}),
    }


@pytest.mark.parametrize("form", wrapped())
def test_payloads_of_cloudwatch_logs(form):
    decoded = decode([wrapped(LINE, LINE + "\n", "words")[form]])
    assert len(rows(decoded)) == 2
    assert refused(decoded) == [("not a JSON object", None, 1)]
    found = rows(decoded)[0]
    assert found["resource"]["attributes"]["aws.log.group.name"] == "/aws/apigw/orders"
    assert found["attributes"]["aws.log.stream.name"] == "s-1"
    assert found["resource"]["attributes"]["cloud.account.id"] == "123456789012"


def test_lines_of_firehose_without_cloudwatch():
    lines = base64.b64encode(f"{LINE}\n{LINE}\n".encode()).decode()
    body = orjson.dumps({"requestId": "f", "timestamp": 1, "records": [{"data": lines}]})
    assert len(rows(decode([body]))) == 2


def test_a_line_without_a_time_was_written_when_its_event_says():
    line = orjson.dumps({"requestId": "r", "status": "200"}).decode()
    assert one(decode([orjson.dumps(subscription(line))]))["start_time"] == START * 10**6
    for when in (START // 1000, None, "x", True):
        assert rows(decode([orjson.dumps(subscription(line, when=when))])) == []


def test_an_empty_object_and_a_missing_message_are_refused():
    document = subscription("{}", "")
    document["logEvents"] += [{}, 7]
    decoded = decode([orjson.dumps(document)])
    assert [reason for reason, _, _ in refused(decoded)] == [
        "no request id", *["not a JSON object"] * 3
    ]  # fmt: skip


def test_control_messages_are_counted_and_dropped():
    assert refused(decode([orjson.dumps(subscription("x", kind="CONTROL_MESSAGE"))])) == [
        (CONTROL, None, 1)
    ]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b'{"awslogs":{"data":"%%%"}}', "broken base64"),
        (b'{"awslogs":{"data":7}}', "broken base64"),
        (b"\x1f\x8bnothing", "broken gzip data"),
        (gzip.compress(b"x" * 9999)[:-9], "gzip data that ends too early"),
        (gzip.compress(bytes(65 << 20)), "inflates to too many bytes"),
        (b'{"messageType":"DATA_MESSAGE"}', "a message of CloudWatch Logs without events"),
    ],
    ids=["base64", "type", "gzip", "short", "bomb", "events"],
)
def test_broken_payloads(payload, reason):
    assert refused(decode([payload])) == [(reason, None, 1)]


def test_a_second_bomb_is_not_inflated_after_the_first():
    budget = cloudwatch.Budget(1 << 16)
    data = base64.b64encode(gzip.compress(bytes(1 << 20))).decode()
    records = {"records": [{"data": data}] * 3}
    lines = cloudwatch.unwrap(orjson.dumps(records), budget)
    assert lines.count(b"inflates to too many bytes") == 3
    assert budget.left == -1


def test_payloads_in_payloads_are_not_followed_for_ever():
    document = LINE.encode()
    for _ in range(9):
        text = base64.b64encode(document).decode()
        document = orjson.dumps({"awslogs": {"data": text}})
    assert [reason for reason, _, _ in refused(decode([document]))] == [
        "payloads are wrapped too deeply in each other"
    ]


def test_a_long_name_is_not_repeated_for_each_of_many_events():
    event = {"id": "1", "timestamp": 1, "message": "{}"}
    message = {**subscription("x"), "logGroup": "g" * (1 << 20), "logEvents": [event] * 100}
    decoded = decode([orjson.dumps(message)])
    assert refused(decoded)[-1][0] == "inflates to too many bytes"


@pytest.mark.parametrize("depth", [10, 300, 900])
def test_payloads_in_arrays_in_arrays_are_taken(depth):
    line = orjson.dumps(record()).decode()
    message = b"[" * depth + orjson.dumps(subscription(line)) + b"]" * depth
    assert len(rows(decode([message]))) == 1


@pytest.mark.parametrize(
    ("name", "reasons"),
    [
        ("aws-cwl-decoded-control.json", {CONTROL: 1}),
        ("aws-cwl-decoded-data-extracted-fields.json", {"not a JSON object": 1}),
        ("aws-cwl-decoded-seconds-timestamp.json", {"no request id": 1}),
        ("aws-cwl-subscription-lambda-event.json", {"not a JSON object": 2}),
        ("aws-cwl-subscription-kinesis-event.json", {"not a JSON object": 6}),
    ],
)
def test_recorded_payloads_hold_other_logs_and_each_line_is_told(name, reasons):
    decoded = decode([shared(SAMPLES + name).read_bytes()])
    assert rows(decoded) == []
    told: dict[str, int] = {}
    for reason, _, records in refused(decoded):
        told[reason] = told.get(reason, 0) + records
    assert told == reasons


@pytest.mark.parametrize("name", [
    "aws-lambda-proxy-event-rest.json", "aws-lambda-proxy-event-http-v2.json",
    "aws-lambda-proxy-event-http-v2-jwt.json", "aws-lambda-proxy-event-websocket-connect.json",
])  # fmt: skip
def test_contexts_of_recorded_events_read_as_an_access_log_of_all_variables(name):
    context = orjson.loads(shared(SAMPLES + name).read_bytes())["requestContext"]
    found = one(decode([orjson.dumps({**context, **context.get("http", {})})]))
    epoch = context.get("requestTimeEpoch") or context.get("timeEpoch") or RECORDED_WITHOUT_EPOCH
    assert found["start_time"] == epoch * 10**6
    assert found["resource"]["service_name"] == context["apiId"]


def test_lines_are_recognised():
    assert LINES.fits(orjson.dumps(record()))
    assert LINES.fits(orjson.dumps(subscription("x")))
    assert all(LINES.fits(payload) for form, payload in wrapped("x").items() if form != "gzip")
    assert not LINES.fits(b'{"requestId":"r","message":"hello"}')
    assert not LINES.fits(b'{"records":[1]}')


@given(st.lists(st.binary(max_size=80), max_size=4))
def test_any_bytes_give_rows_or_refusals(messages):
    decoded = decode(messages)
    assert all(0 <= told.message < len(messages) for told in decoded.refused)


@given(st.binary(max_size=60), st.sampled_from(["gzip", "lambda", "kinesis", "events"]))
def test_any_content_of_payloads_gives_rows_or_refusals(content, form):
    text = base64.b64encode(content).decode()
    payload = {
        "gzip": gzip.compress(content),
        "lambda": orjson.dumps({"awslogs": {"data": text}}),
        "kinesis": orjson.dumps({"Records": [{"kinesis": {"data": text}}, 7, {"kinesis": 7}]}),
        "events": orjson.dumps(subscription(content.decode("latin-1"), content.hex())),
    }[form]
    assert rows(decode([payload])) == []


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
)
NAMES = st.sampled_from([
    "data", "kinesis", "messageType", "logEvents", "awslogs", "records", "apiKeyId", "latency",
    "claims", "sub", "timestamp", "message",
])  # fmt: skip
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from([
    "awslogs", "records", "Records", "messageType", "logEvents", "identity", "integration",
    "authorizer", "status", "path", "requestTime", "routeKey", "xrayTraceId",
])  # fmt: skip


@given(st.dictionaries(KEYS, JSON | st.just("DATA_MESSAGE"), max_size=6))
def test_any_type_anywhere_gives_rows_or_refusals(told):
    decoded = decode([orjson.dumps({**record(), **told})])
    assert rows(decoded) or decoded.refused or "logEvents" in told or "awslogs" in told
