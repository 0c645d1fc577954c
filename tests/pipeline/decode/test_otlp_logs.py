"""OTLP logs: golden records, agreement with the official library, and any bytes."""

import json
import os
from pathlib import Path
from random import Random

import pytest
from google.protobuf.json_format import ParseDict
from hypothesis import HealthCheck, given, settings, strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from pipeline.decode import DECODERS
from pipeline.decode.door import MaskedKeys, admit
from pipeline.decode.otlp_logs import decode
from pipeline.model.tables import LOGS, RESOURCES, SCOPES
from tests.pipeline.decode.otlp_oracle import (
    comparable,
    decoded_rows,
    log_rows,
    with_base64_ids,
)
from tests.pipeline.decode.otlp_strategies import LOG_REQUESTS
from tests.pipeline.decode.wire_laws import damaged, judged
from tests.pipeline.decode.wire_writer import encode, tagged

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""The first example waits for the compiler."""
SHARED = Path(os.environ.get("MESHWEIR_SHARED", Path(__file__).parents[3] / "../shared"))
CORPUS = SHARED / "data/otlp-corpus/otlp-json"
TIME = 1_764_000_000_000_000_000


def request_of(*records: dict) -> ExportLogsServiceRequest:
    """A request of one resource and one scope, from the OTLP JSON of its records."""
    text = {"key": "service.name", "value": {"stringValue": "cart"}}
    document = {
        "resourceLogs": [
            {
                "resource": {"attributes": [text]},
                "scopeLogs": [{"scope": {"name": "logger"}, "logRecords": list(records)}],
            }
        ]
    }
    return ParseDict(with_base64_ids(document), ExportLogsServiceRequest())


def rows_of(*records: dict) -> list[dict]:
    decoded = decode([request_of(*records).SerializeToString()])
    assert decoded.refused == ()
    return decoded_rows(decoded, LOGS.name)


def one(**record) -> dict:
    (row,) = rows_of(record)
    return {name: value for name, value in row.items() if value is not None}


def test_it_is_registered():
    assert DECODERS["otlp_logs"] is decode


def test_a_whole_record():
    row = one(
        timeUnixNano=str(TIME),
        observedTimeUnixNano=str(TIME + 9),
        severityNumber=17,
        severityText="Error",
        eventName="payment.refused",
        body={"stringValue": 'card refused: "expired" \n'},
        attributes=[
            {"key": "attempt", "value": {"intValue": "2"}},
            {"key": "retry", "value": {"boolValue": False}},
        ],
        flags=257,
        traceId="0af7651916cd43dd8448eb211c80319c",
        spanId="b7ad6b7169203331",
    )
    assert row == {
        "time": TIME,
        "observed_time": TIME + 9,
        "severity_number": 17,
        "severity_text": "Error",
        "event_name": "payment.refused",
        "body": 'card refused: "expired" \n',
        "attributes": {"attempt": 2, "retry": False},
        "flags": 257,
        "trace_id_high": 0x0AF7651916CD43DD,
        "trace_id_low": 0x8448EB211C80319C,
        "span_id": 0xB7AD6B7169203331,
        "resource": {"service.name": "cart"},
        "scope": ("logger", None, {}),
    }


def test_without_a_time_the_observed_time_counts():
    assert one(observedTimeUnixNano=str(TIME))["time"] == TIME


def test_a_record_that_tells_nothing_is_a_row():
    assert one() == {
        "severity_number": 0,
        "flags": 0,
        "attributes": {},
        "resource": {"service.name": "cart"},
        "scope": ("logger", None, {}),
    }


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"stringValue": "plain"}, "plain"),
        ({"intValue": "-9007199254740993"}, "-9007199254740993"),
        ({"boolValue": True}, "true"),
        ({"bytesValue": "AAH/"}, '"AAH/"'),
        ({"arrayValue": {"values": [{"intValue": "1"}, {"stringValue": "b"}]}}, '[1,"b"]'),
        (
            {"kvlistValue": {"values": [{"key": "user", "value": {"stringValue": "ä"}}]}},
            '{"user":"ä"}',
        ),
    ],
)
def test_bodies(body, text):
    told = one(body=body)["body"]
    assert told == text if "stringValue" in body else json.loads(told) == json.loads(text)


@pytest.mark.parametrize("trace_id", ["", "00" * 16, "0102", "01" * 17])
def test_an_invalid_trace_id_is_none_and_the_record_kept(trace_id):
    row = one(traceId=trace_id, body={"stringValue": "kept"})
    assert (row["body"], row.get("trace_id_high"), row.get("trace_id_low")) == ("kept", None, None)


@pytest.mark.parametrize("span_id", ["", "00" * 8, "01", "01" * 9])
def test_an_invalid_span_id_is_none_and_the_record_kept(span_id):
    assert "span_id" not in one(spanId=span_id)


def test_a_trace_id_with_an_empty_half_is_valid():
    row = one(traceId="00" * 8 + "0000000000000001")
    assert (row["trace_id_high"], row["trace_id_low"]) == (0, 1)


def test_a_record_after_the_year_2262_is_refused_and_its_neighbour_kept():
    late = {"timeUnixNano": str(2**63), "body": {"stringValue": "late"}}
    message = request_of(late, {"body": {"stringValue": "good"}}).SerializeToString()
    decoded = decode([message])
    (refusal,) = decoded.refused
    assert (refusal.message, refusal.records, refusal.whole) == (0, 1, False)
    assert [row["body"] for row in decoded_rows(decoded, LOGS.name)] == ["good"]


def test_a_broken_message_is_refused_whole_and_its_neighbours_kept():
    good = request_of({"body": {"stringValue": "good"}}).SerializeToString()
    decoded = decode([good, good[:-1], good])
    (refusal,) = decoded.refused
    assert (refusal.message, refusal.whole) == (1, True)
    assert refusal.offset is not None
    assert [row["body"] for row in decoded_rows(decoded, LOGS.name)] == ["good", "good"]


def test_batches_have_the_declared_columns():
    batches = decode([request_of({}).SerializeToString()]).batches
    for table in (LOGS, RESOURCES, SCOPES):
        assert batches[table.name].schema == table.arrow


@PATIENT
@given(st.lists(LOG_REQUESTS, max_size=3), st.integers(0, 2**32))
def test_it_agrees_with_the_official_library(requests, seed):
    random = Random(seed)
    decoded = decode([encode(request, random) for request in requests])
    expected = [row for request in requests for row in log_rows(request)]
    assert comparable(decoded_rows(decoded, LOGS.name)) == comparable(expected)
    records = sum(
        len(of_scope.log_records)
        for request in requests
        for of_resource in request.resource_logs
        for of_scope in of_resource.scope_logs
    )
    assert sum(refusal.records for refusal in decoded.refused) == records - len(expected)


@PATIENT
@given(LOG_REQUESTS)
def test_fields_in_descending_order(request):
    rows = decoded_rows(decode([encode(request)]), LOGS.name)
    assert comparable(rows) == comparable(log_rows(request))


@PATIENT
@given(LOG_REQUESTS, st.integers(0, 2**32), st.integers(1, 4))
def test_damaged_bytes_give_rows_or_refusals(request, seed, wounds):
    check_any(damaged(request.SerializeToString(), seed, wounds))


@PATIENT
@given(st.binary(max_size=60))
def test_any_bytes_give_rows_or_refusals(message):
    check_any(message)


def check_any(message: bytes) -> None:
    decoded = decode([message])
    rows = decoded_rows(decoded, LOGS.name)
    parsed = judged(decoded, len(rows), message, ExportLogsServiceRequest)
    if parsed is not None:
        assert comparable(rows) == comparable(log_rows(parsed))


@pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no recorded OTLP payloads at {CORPUS}")
def test_recorded_payloads_agree_with_the_official_library():
    files = sorted(CORPUS.glob("gcp-ops-go/logs/*.json"))
    files += sorted(CORPUS.glob("opentelemetry-proto/[le]*s.json"))
    rows = 0
    for file in files:
        request = ParseDict(
            with_base64_ids(json.loads(file.read_text())),
            ExportLogsServiceRequest(),
            ignore_unknown_fields=True,
        )
        expected = comparable(log_rows(request))
        decoded = decode([request.SerializeToString(), encode(request, Random(1))])
        assert comparable(decoded_rows(decoded, LOGS.name)) == expected * 2
        rows += len(expected)
    assert rows > 80


def test_the_door_counts_records_and_masks_attributes():
    secret = {"key": "password", "value": {"stringValue": "hunter2"}}
    body = request_of(
        {"timeUnixNano": str(2**63)},
        {"attributes": [secret], "body": {"kvlistValue": {"values": [secret]}}},
    ).SerializeToString()
    admission = admit("otlp_logs", body, MaskedKeys())
    assert (admission.records, admission.rejected) == (1, 1)
    assert len(admission.body) == len(body)
    assert b"hunter2" not in admission.body
    (row,) = decoded_rows(decode([admission.body]), LOGS.name)
    assert row["attributes"] == {"password": "*******"}
    assert row["body"] == '{"password":"*******"}'


def test_a_body_told_in_parts_is_merged():
    parts = [
        {"kvlistValue": {"values": [{"key": key, "value": {"stringValue": key}}]}} for key in "ab"
    ]
    record = b"".join(
        request_of({"body": part}).resource_logs[0].scope_logs[0].log_records[0].SerializeToString()
        for part in parts
    )
    message = tagged(1, 2, tagged(2, 2, tagged(2, 2, record)))
    (row,) = decoded_rows(decode([message]), LOGS.name)
    assert json.loads(row["body"]) == {"a": "a", "b": "b"}
