"""Records of Apigee."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, strategies as st

from pipeline.decode import DECODERS
from pipeline.decode.apigee import LINES, decode, opened
from pipeline.decode.records.gateway_records import BAD_CSV, UNEVEN
from tests.golden import Golden
from tests.pipeline.decode.gateway_rows import as_text, one, refused, rows
from tests.recordings import shared

HERE = Path(__file__).parent
SAMPLE = "samples/gateways/apigee-cloud-logging-entry.json"
START = 1_764_172_800_123


def record(**more: Any) -> dict[str, Any]:
    return {
        "messageid": "m",
        "proxy": "orders",
        "env": "prod",
        "ts": str(START),
        "status": "200",
        **more,
    }


def row(**more: Any) -> dict[str, Any]:
    return one(decode([orjson.dumps(record(**more))]))


def test_it_is_registered():
    assert DECODERS["apigee"] is decode


def test_golden_records(golden: Golden):
    message = (HERE / "golden/apigee.in.jsonl").read_bytes()
    golden.check(HERE / "golden/apigee.out.json", as_text(decode([message])))


def test_the_recorded_log_entry():
    found = one(decode([shared(SAMPLE).read_bytes()]))
    assert found["start_time"] == 1_754_652_492_121 * 10**6
    assert found["http_response_status_code"] == 200
    assert found["response_bytes"] == 141
    assert found["upstream_cluster"] == "mocktarget.apigee.net"
    assert found["trace_id_high"] == 0x31339F721D4BE35F
    assert "consumer" not in found
    resource = found["resource"]
    assert (resource["service_namespace"], resource["service_name"]) == (
        "test-dummy-57377-test-env",
        "myproxy",
    )
    assert resource["service_version"] == "6"


def test_latencies_are_differences_of_times():
    found = row(client_end=str(START + 100), target_start=str(START + 7), target_end=START + 80)
    assert (found["duration_ns"], found["upstream_duration_ns"]) == (100_000_000, 73_000_000)


@pytest.mark.parametrize("nothing", ["", "-1", -1, None, "(not set)", str(START - 1)], ids=repr)
def test_a_phase_that_did_not_run_has_no_latency(nothing):
    begun = START if nothing == str(START - 1) else nothing
    found = row(client_end=nothing, target_start=begun, target_end=nothing)
    assert not found.keys() & {"duration_ns", "upstream_duration_ns"}


def test_latencies_of_analytics():
    found = row(total_response_time="39.5", target_response_time=30)
    assert (found["duration_ns"], found["upstream_duration_ns"]) == (39_500_000, 30_000_000)


def test_nothing_was_called_where_no_target_was_reached():
    told = {"target": "orders-v1", "target_response_code": "(not set)", "target_start": "-1"}
    assert "upstream_cluster" not in row(**told)
    found = row(**{**told, "target_response_code": "503"})
    assert found["upstream_cluster"] == "orders-v1"
    assert found["upstream_response_status_code"] == 503


@pytest.mark.parametrize(
    ("fault", "flags"),
    [
        ("SpikeArrestViolation", "RL"),
        ("policies.ratelimit.QuotaViolation", "RL"),
        ("messaging.adaptors.http.flow.GatewayTimeout", "UT"),
        ("messaging.adaptors.http.flow.ServiceUnavailable", "UF"),
        ("NoActiveTargets", "UH"),
        ("steps.oauth.v2.InvalidAccessToken", None),
        ("", None),
    ],
)
def test_faults(fault, flags):
    found = row(**{"fault.name": fault})
    assert found.get("response_flags") == flags
    assert found.get("response_code_details") == (fault or None)


def test_an_application_is_a_consumer_and_a_developer_a_hash():
    assert row(app="mobile", **{"developer.email": "ann@example.com"})["consumer"] == "app:mobile"
    for told in ({"developer.email": "ann@example.com"}, {"app": "ann@example.com"}):
        found = row(**told)
        assert found["consumer"].split(":")[1].startswith("person-")
        assert "ann" not in str(found)


def test_routes_are_base_path_and_operation():
    assert row(basepath="/orders", suffix="/42")["route_name"] == "/orders"
    found = row(basepath="/orders", suffix="/42?k=v", flow_resource="/{id}")
    assert (found["route_name"], found["url_path"]) == ("/orders/{id}", "/orders/42")
    assert row(**{"proxy.basepath": "/o", "apiproduct.operation": "list"})["route_name"] == "/o"


@pytest.mark.parametrize(
    "told",
    ["2025-11-26T16:00:00.123Z", "2025-11-26 16:00:00.123 UTC", "2025-11-26T17:00:00.123+01:00"],
)
def test_times_of_exports_and_log_entries(told):
    assert row(ts=told)["start_time"] == START * 10**6
    assert row(ts="", timestamp=told)["start_time"] == START * 10**6


@pytest.mark.parametrize("told", ["1764172800", "soon", "2025-13-26T16:00:00Z", "-1"])
def test_a_time_that_cannot_be_read_is_refused(told):
    decoded = decode([orjson.dumps(record(ts=told))])
    assert refused(decoded) == [("its time cannot be read", 0, 1)]


def test_a_syslog_header_is_passed_over():
    body = orjson.dumps(record())
    message = b"<14>1 2025-11-26T16:00:00Z host apigee - - - " + body + b"\n<9>" + body + b"\n<9>x"
    decoded = decode([message])
    assert len(rows(decoded)) == 2
    assert refused(decoded) == [("not a JSON object", len(message) - 4, 1)]


CSV = (
    b"\xef\xbb\xbfapiproxy,environment,client_received_start_timestamp,client_sent_end_timestamp,"
    b"request_verb,response_status_code,developer_app,access_token\r\n"
)


def test_exports_as_csv():
    message = CSV + (
        b'orders,prod,1764172800123,1764172800223,GET,200,"my, app",s3cr3t\r\n'
        b"orders,prod,1764172800123\r\n"
        b'orders,"pro"d,1764172800123,1,GET,200,a,b\r\n'
        b"orders,prod,1764172800124,(not set),GET,404,(not set),s3cr3t\r\n"
    )
    decoded = decode([message + CSV.removeprefix(b"\xef\xbb\xbf")])
    assert [(found["consumer"], found["duration_ns"]) for found in rows(decoded)[:1]] == [
        ("app:my, app", 100_000_000)
    ]
    assert [found["http_response_status_code"] for found in rows(decoded)] == [200, 404]
    assert {reason for reason, _, _ in refused(decoded)} == {UNEVEN, BAD_CSV}
    assert b"," not in opened(CSV)


def test_records_of_others_are_refused():
    message = orjson.dumps({"timestamp": "2025-11-26T16:00:00Z", "textPayload": "hello"})
    assert refused(decode([message])) == [("not a record of Apigee", 0, 1)]


def test_lines_are_recognised():
    assert LINES.fits(orjson.dumps(record()))
    assert LINES.fits(orjson.dumps({"jsonPayload": record()}))
    assert LINES.fits(b"<14>1 - - " + orjson.dumps(record()))
    assert LINES.fits(CSV.strip())
    assert not LINES.fits(b'{"proxy":"x"}')
    assert not LINES.fits(b"apiproxy")


@given(st.lists(st.binary(max_size=80), max_size=4))
def test_any_bytes_give_rows_or_refusals(messages):
    decoded = decode(messages)
    assert all(0 <= told.message < len(messages) for told in decoded.refused)


@given(st.lists(st.text(max_size=30), max_size=5))
def test_any_text_under_a_header_of_csv_gives_rows_or_refusals(lines):
    message = CSV + "\n".join(lines).encode()
    assert rows(decode([message])) == []


SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=8)
MEMBERS = st.sampled_from([
    "jsonPayload", "timestamp", "status", "target", "target_start", "target.ip", "target.port",
    "basepath", "suffix", "fault", "app", "developer.email", "traceparent", "request_uri",
])  # fmt: skip


@given(st.dictionaries(MEMBERS, SCALARS | st.lists(SCALARS) | st.dictionaries(MEMBERS, SCALARS)))
def test_any_type_anywhere_gives_a_row_or_a_refusal(told):
    decoded = decode([orjson.dumps(record(**told))])
    assert len(rows(decoded)) + len(decoded.refused) == 1
