"""Files of API gateways: recognised, counted, and decoded from the bus as they were written."""

import gzip
from pathlib import Path

import orjson
import pytest

from collectors.pieces import MESSAGE_BYTES
from pipeline.decode import DECODERS
from pipeline.model.topics import RAW_TELEMETRY
from tests.collectors.receive.test_file import imported, written
from tests.pipeline.decode.gateway_rows import rows
from tests.recordings import SHARED, shared

GOLDEN = Path(__file__).parents[2] / "pipeline/decode/golden"
COUNTS = {"kong_json": (4, 2), "aws_apigateway": (5, 2), "apigee": (4, 1)}
"""Good and bad records of the golden files."""
SAMPLES = {
    "kong-http-log-record-3.8.json": ("kong_json", 1),
    "apigee-cloud-logging-entry.json": ("apigee", 1),
}


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("named", [False, True])
def test_lines_are_told_by_themselves_and_bad_ones_with_their_place(tmp_path, name, named):
    content = (GOLDEN / f"{name}.in.jsonl").read_bytes()
    path = written(tmp_path, gzip.compress(content))
    found = imported(tmp_path, path, name=name if named else "auto")
    report = found.report
    assert (report.format, report.accepted, report.quarantined, report.error) == (
        name,
        *COUNTS[name],
        None,
    )
    last = content.count(b"\n")
    assert [fault.place for fault in report.faults] == [
        f"line {line}" for line in range(last - COUNTS[name][1] + 1, last + 1)
    ]


@pytest.mark.parametrize("name", SAMPLES)
def test_recorded_files(tmp_path, name):
    report = imported(tmp_path, shared(f"samples/gateways/{name}")).report
    assert (report.format, report.accepted, report.quarantined) == (*SAMPLES[name], 0)


@pytest.mark.parametrize("option", [0, orjson.OPT_INDENT_2])
def test_an_array_of_records(tmp_path, option):
    lines = (GOLDEN / "kong_json.in.jsonl").read_bytes().splitlines()[:4]
    content = orjson.dumps([orjson.loads(line) for line in lines], option=option)
    report = imported(tmp_path, written(tmp_path, content)).report
    assert (report.format, report.accepted, report.quarantined) == ("kong_json", 4, 0)


def test_a_payload_of_cloudwatch_logs(tmp_path):
    lines = (GOLDEN / "aws_apigateway.in.jsonl").read_text().splitlines()
    document = {
        "messageType": "DATA_MESSAGE",
        "logGroup": "g",
        "logEvents": [
            {"id": str(number), "timestamp": 1_764_172_800_123, "message": line}
            for number, line in enumerate(lines)
        ],
    }
    for option in (0, orjson.OPT_INDENT_2):
        found = imported(tmp_path, written(tmp_path, orjson.dumps(document, option=option)))
        assert (found.report.format, found.report.accepted) == ("aws_apigateway", 5)
        assert found.report.quarantined == 2


def test_a_file_of_which_nothing_is_taken_still_has_a_format(tmp_path):
    control = {"messageType": "CONTROL_MESSAGE", "logEvents": [{"id": "", "message": "hello"}]}
    report = imported(tmp_path, written(tmp_path, orjson.dumps(control))).report
    assert (report.format, report.accepted, report.quarantined, report.error) == (
        "aws_apigateway",
        0,
        1,
        None,
    )


def test_an_export_as_csv_of_several_messages(tmp_path):
    header = "apiproxy,client_received_start_timestamp,request_verb,response_status_code,path\n"
    count = 3 * MESSAGE_BYTES // 100
    body = "".join(
        f"orders,{1_764_172_800_000 + number},GET,200,{'x' * 70}\n" for number in range(count)
    )
    found = imported(tmp_path, written(tmp_path, (header + body + "orders,1\n").encode()))
    assert (found.report.accepted, found.report.quarantined) == (count, 1)
    values = found.of(RAW_TELEMETRY)
    assert len(values) > 2
    assert all(len(value) <= MESSAGE_BYTES for value in values)
    assert sum(len(rows(DECODERS["apigee"]([value]))) for value in values) == count


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no recordings at {SHARED}")
def test_recorded_files_of_other_kinds_are_not_taken_for_records(tmp_path):
    for name in ("apigee-targetservers.json", "aws-xray-apigw-segment.json"):
        report = imported(tmp_path, shared(f"samples/gateways/{name}")).report
        assert report.accepted == 0
