"""Kong's log records."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, strategies as st

from pipeline.decode import DECODERS
from pipeline.decode.kong_json import LINES, decode
from tests.golden import Golden
from tests.pipeline.decode.gateway_rows import as_text, one, refused, rows
from tests.recordings import shared

HERE = Path(__file__).parent
SAMPLE = "samples/gateways/kong-http-log-record-3.8.json"
PROXIED = [{"ip": "10.0.0.1", "port": 80}]


def record(**more: Any) -> dict[str, Any]:
    return {
        "started_at": 1_764_172_800_123,
        "request": {"id": "r1", "method": "GET", "uri": "/a", "headers": {}},
        "response": {"status": 200, "headers": {}},
        "latencies": {"kong": 1, "proxy": 5, "receive": 1, "request": 7},
        "tries": PROXIED,
        "service": {"id": "s1", "name": "orders"},
        **more,
    }


def row(**more: Any) -> dict[str, Any]:
    return one(decode([orjson.dumps(record(**more))]))


def test_it_is_registered():
    assert DECODERS["kong_json"] is decode


def test_golden_records(golden: Golden):
    message = (HERE / "golden/kong_json.in.jsonl").read_bytes()
    golden.check(HERE / "golden/kong_json.out.json", as_text(decode([message])))


def test_the_recorded_record():
    found = one(decode([shared(SAMPLE).read_bytes()]))
    assert found["duration_ns"] == 173_000_000
    assert found["upstream_duration_ns"] == 172_000_000
    assert found["attributes"]["kong.latencies.kong"] == 1
    assert found["resource"]["service_version"] == "3.8.0.0-enterprise-edition"
    assert found["upstream_remote_address"] == "34.237.204.224:80"


@pytest.mark.parametrize("form", ["lines", "array", "indented", "one after another"])
def test_layouts(form):
    records = [record(started_at=1_764_172_800_000 + number) for number in range(3)]
    message = {
        "lines": b"\n".join(map(orjson.dumps, records)),
        "array": orjson.dumps(records),
        "indented": orjson.dumps(records, option=orjson.OPT_INDENT_2),
        "one after another": b"\xef\xbb\xbf" + b"".join(map(orjson.dumps, records)),
    }[form]
    decoded = decode([message])
    assert decoded.refused == ()
    assert [found["start_time"] for found in rows(decoded)] == [
        (1_764_172_800_000 + number) * 1_000_000 for number in range(3)
    ]


def test_minus_one_is_no_latency():
    found = row(latencies={"kong": 2, "proxy": -1, "request": 2}, tries=None)
    assert "upstream_duration_ns" not in found
    assert "upstream_cluster" not in found
    assert found["duration_ns"] == 2_000_000


def test_nothing_is_told_of_an_upstream_that_was_not_called():
    found = row(latencies={"proxy": -1}, tries=None, upstream_status="", source="kong")
    assert "attempt_count" not in found
    assert "upstream_response_status_code" not in found


@pytest.mark.parametrize(
    ("told", "status", "kept"),
    [
        ("200", 200, None),
        (200, 200, None),
        ("502, 200", 200, "502, 200"),
        ("502 : 200", 200, "502 : 200"),
        ("200, 502 : 504", 504, "200, 502 : 504"),
        ("", None, None),
        ("-", None, None),
        ("502, -", None, "502, -"),
    ],
    ids=repr,
)
def test_upstream_statuses(told, status, kept):
    found = row(upstream_status=told)
    assert found.get("upstream_response_status_code") == status
    assert found["attributes"].get("kong.upstream_status") == kept


def test_retries_are_attempts_and_the_last_try_is_the_peer():
    tries = [
        {"ip": "10.0.0.1", "port": 80, "state": "failed", "code": 502, "balancer_start_ns": 1.7e18},
        {"ip": "fd00::1", "port": 80, "balancer_latency": 3},
    ]
    found = row(tries=tries)
    assert found["attempt_count"] == 2
    assert found["upstream_remote_address"] == "[fd00::1]:80"
    assert orjson.loads(found["attributes"]["kong.tries"]) == [
        {"ip": "10.0.0.1", "port": 80, "state": "failed", "code": 502},
        {"ip": "fd00::1", "port": 80, "balancer_latency": 3},
    ]


@pytest.mark.parametrize("ip", ["1e999", '"\\"\\u0041\\\\"', '{"a":"\\/"}', "[[]]"])
def test_tries_may_hold_anything(ip):
    tries = b'[{"ip":%s,"code":502},{"port":1},7]' % ip.encode()
    message = orjson.dumps(record(tries=0)).replace(b'"tries":0', b'"tries":' + tries)
    assert one(decode([message]))["attempt_count"] == 3


@pytest.mark.parametrize("empty", [{}, []])
def test_empty_lua_tables_are_arrays_or_objects(empty):
    found = row(tries=empty, consumer={"id": "c", "username": "u", "tags": empty})
    assert found["consumer"] == "user:u"
    assert "upstream_remote_address" not in found


@pytest.mark.parametrize("size", [139, "139"], ids=repr)
def test_sizes_are_numbers_or_text(size):
    found = row(request={"method": "GET", "size": size}, response={"status": 200, "size": size})
    assert (found["request_bytes"], found["response_bytes"]) == (139, 139)


@pytest.mark.parametrize(
    ("more", "consumer"),
    [
        ({"consumer": {"username": "app", "custom_id": "c", "id": "i"}}, "user:app"),
        ({"consumer": {"username": None, "custom_id": "c", "id": "i"}}, "user:c"),
        ({"consumer": {"id": "i"}}, "user:i"),
        ({"authenticated_entity": {"id": "k", "consumer_id": "i"}}, "user:i"),
        ({"authenticated_entity": {"id": "k"}}, "key:k"),
        ({}, None),
    ],
)
def test_consumers(more, consumer):
    assert row(**more).get("consumer") == consumer


def test_an_address_of_a_person_is_hashed():
    found = row(consumer={"username": "ann@example.com"}, client_ip="203.0.113.9")
    again = row(consumer={"custom_id": "ann@example.com"})
    assert found["consumer"].startswith("user:person-")
    assert found["consumer"] == again["consumer"]
    assert "ann" not in str(found)
    assert "203.0.113.9" not in str(found)


def test_the_anonymous_consumer_is_no_consumer():
    request = {"method": "GET", "headers": {"x-anonymous-consumer": "true"}}
    assert "consumer" not in row(request=request, consumer={"username": "anonymous"})


@pytest.mark.parametrize(
    ("more", "cluster"),
    [
        ({"service": {"name": "orders", "host": "orders-up"}}, "orders"),
        ({"service": {"name": "o", "host": "orders.shop.svc"}}, "orders.shop.svc"),
        ({"service": {"host": "httpbin.org"}}, "httpbin.org"),
        ({"service": {"id": "s"}}, "s"),
        ({"service": None}, None),
    ],
)
def test_what_was_called(more, cluster):
    assert row(**more).get("upstream_cluster") == cluster


@pytest.mark.parametrize(
    ("status", "more", "flags"),
    [
        (429, {"source": "kong", "tries": None}, "RL"),
        (504, {"source": "kong"}, "UT"),
        (502, {"source": "kong"}, "UF"),
        (502, {"source": "upstream"}, None),
        (429, {"source": "upstream"}, None),
    ],
)
def test_flags_say_who_answered(status, more, flags):
    assert row(response={"status": status}, **more).get("response_flags") == flags


@pytest.mark.parametrize(
    ("headers", "more"),
    [
        ({"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}, {}),
        ({"b3": "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1"}, {}),
        ({"x-b3-traceid": "0af7651916cd43dd8448eb211c80319c"}, {}),
        ({"x-amzn-trace-id": "Self=1-x;Root=1-0af76519-16cd43dd8448eb211c80319c;Sampled=1"}, {}),
        ({"x-cloud-trace-context": "0af7651916cd43dd8448eb211c80319c/123;o=1"}, {}),
        ({}, {"trace_id": {"w3c": "0af7651916cd43dd8448eb211c80319c", "datadog": "12"}}),
        ({"traceparent": "garbage"}, {"trace_id": {"w3c": "0af7651916cd43dd8448eb211c80319c"}}),
    ],
)
def test_trace_ids(headers, more):
    found = row(request={"method": "GET", "headers": headers}, **more)
    assert (found["trace_id_high"], found["trace_id_low"]) == (
        0x0AF7651916CD43DD,
        0x8448EB211C80319C,
    )


def test_the_trace_id_of_zeros_is_none():
    headers = {"traceparent": f"00-{'0' * 32}-b7ad6b7169203331-01"}
    assert "trace_id_low" not in row(request={"method": "GET", "headers": headers})


def test_the_request_id_of_the_mesh_joins_and_kongs_own_is_kept():
    request = {"id": "own", "method": "GET", "headers": {"x-request-id": "mesh"}}
    found = row(request=request)
    assert (found["request_id"], found["stream_id"]) == ("mesh", "own")


def test_routes_are_templates_and_paths_have_no_query():
    request = {"method": "GET", "uri": "/orders/42?token=s3cr3t#s3cr3t"}
    found = row(request=request, route={"name": "orders-rt", "id": "r"})
    assert (found["route_name"], found["url_path"]) == ("orders-rt", "/orders/42")
    assert row(route={"id": "r"})["route_name"] == "r"


@pytest.mark.parametrize("started", [1_764_172_800.5, "soon", None, -1, 10**30, 5])
def test_a_record_of_unknown_time_is_refused_and_its_neighbours_are_kept(started):
    message = b"\n".join(
        orjson.dumps(one) if not isinstance(one, bytes) else one
        for one in (
            record(),
            orjson.dumps(record(started_at=0)).replace(
                b'"started_at":0', b'"started_at":%s' % text(started)
            ),
            record(),
        )
    )
    decoded = decode([message])
    assert len(rows(decoded)) == 2
    assert refused(decoded) == [("its time cannot be read", len(orjson.dumps(record())) + 1, 1)]


def text(value: object) -> bytes:
    return str(value).encode() if isinstance(value, int) else orjson.dumps(value)


def test_lines_are_recognised():
    assert LINES.fits(orjson.dumps(record()))
    assert not LINES.fits(b'{"started_at":1}')
    assert not LINES.fits(b"[]")


@given(st.lists(st.binary(max_size=80), max_size=4))
def test_any_bytes_give_rows_or_refusals(messages):
    decoded = decode(messages)
    assert all(0 <= told.message < len(messages) for told in decoded.refused)


NAMES = st.sampled_from([
    "ip", "port", "id", "name", "host", "uri", "headers", "status", "size", "x-request-id",
    "traceparent", "via", "kong", "proxy", "request", "username", "w3c",
])  # fmt: skip
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
MEMBERS = st.sampled_from([
    "request", "response", "latencies", "tries", "service", "route", "consumer", "session",
    "trace_id", "client_ip", "upstream_status", "source", "workspace",
])  # fmt: skip


@given(st.dictionaries(MEMBERS, JSON, max_size=8))
def test_any_type_anywhere_gives_a_row_or_a_refusal(told):
    decoded = decode([orjson.dumps({"started_at": 1_764_172_800_123, **told})])
    assert len(rows(decoded)) + sum(one.records for one in decoded.refused) == 1
