"""Records of Firehose, told by their content, whatever their bytes are."""

import base64
import gzip

import orjson
import pytest
from hypothesis import given, settings, strategies as st

from collectors.firehose_body import MAX_RECORDS, envelope, opened
from pipeline.decode.gates.line_gate import admit_lines
from pipeline.decode.privacy.masking import MaskedKeys
from pipeline.errors import DecodeError, MessageTooLarge
from tests.collectors.firehose import access_log, body_of, cloudwatch_logs, control
from tests.pipeline.decode.metric_streams import framed, otlp, otlp_07, record_of
from tests.recordings import shared

LIMIT = 1 << 20
ONE = otlp("AWS/ApiGateway", "Count", {"ApiName": "shop"}).SerializeToString()
OLD = otlp_07("AWS/ApiGateway", "Count", {"ApiName": "shop"})
POINT = record_of("AWS/ApiGateway", "Count", {"ApiName": "shop"})


def read(*records: bytes, limit: int = LIMIT):
    return opened(envelope(body_of(records)).records, limit=limit)


def test_records_are_told_by_what_they_are() -> None:
    found = read(
        access_log(1) + b"\n" + access_log(2),
        cloudwatch_logs(access_log(3), access_log(4)),
        control(),
        framed(ONE, ONE),
        framed(OLD),
        POINT + b"\n" + POINT + b"\n",
        gzip.compress(POINT),
        b"",
    )
    assert found.control == 1
    lines = [orjson.loads(line) for line in b"".join(found.lines).splitlines()]
    assert [line["requestId"] for line in lines] == ["r1", "r2", "r3", "r4"]
    assert "cloudwatch.log_group" in lines[3]
    # what 0.7 said has become 1.0, in which it is the same
    assert found.requests == [ONE + ONE, ONE]
    assert b"".join(found.points).split() == [POINT] * 3


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b"\x1f\x8b\x08 no gzip", "broken gzip data"),
        (cloudwatch_logs(access_log())[:-9], "gzip data that ends too early"),
        (framed(ONE)[:-1], "OTLP of a metric stream with a broken length"),
        (framed(b"\x0a\x09\0"), "OTLP of a metric stream that is not protobuf"),
        (cloudwatch_logs(kind="SOMETHING"), "no time is told"),
        (gzip.compress(b"hello", mtime=0), "not a JSON object"),
        (b"hello", "not a JSON object"),
    ],
)
def test_a_bad_record_leaves_its_reason_and_costs_itself_alone(record: bytes, reason: str) -> None:
    found = read(access_log(1), record, access_log(2), POINT)
    lines = admit_lines("aws_apigateway", b"".join(found.lines), MaskedKeys())
    points = admit_lines("cloudwatch_metrics", b"".join(found.points), MaskedKeys())
    assert [told.reason for told in (*lines.refused, *points.refused)] == [reason]
    assert (lines.records, points.records) == (2, 1)


def test_a_record_that_is_no_base64_is_a_bad_record() -> None:
    found = opened([{"data": "%%%"}, {"no": "data"}, 7, {"data": None}], limit=LIMIT)
    admitted = admit_lines("aws_apigateway", b"".join(found.lines), MaskedKeys())
    assert [told.reason for told in admitted.refused] == ["broken base64"] * 4


def test_all_records_share_one_limit() -> None:
    zeros = gzip.compress(bytes(LIMIT // 2))
    assert len(zeros) < 2000
    with pytest.raises(MessageTooLarge, match="inflated records"):
        read(*[zeros] * 20)
    with pytest.raises(MessageTooLarge):
        read(*[b"x" * 1000] * 20, limit=10_000)
    # a bomb inside of a payload inside of a record
    data = base64.b64encode(gzip.compress(bytes(4 * LIMIT))).decode()
    with pytest.raises(MessageTooLarge):
        read(gzip.compress(orjson.dumps({"awslogs": {"data": data}})))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON"),
        (b"[]", "no requestId"),
        (b'{"requestId":5,"records":[]}', "no requestId"),
        (b'{"requestId":"a"}', "no records"),
        (b'{"requestId":"a","records":{}}', "no records"),
        (b'{"requestId":"a","records":[%s]}' % b",".join([b"1"] * (MAX_RECORDS + 1)), "more than"),
    ],
    ids=lambda one: one[:20].decode() if isinstance(one, bytes) else one,
)
def test_a_body_that_is_not_firehoses_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason) as refused:
        envelope(body)
    assert refused.value.offset is not None


def test_recorded_requests() -> None:
    (record,) = envelope(
        shared("samples/gateways/aws-firehose-http-request-otel.json").read_bytes()
    ).records
    found = opened([record], limit=LIMIT)
    assert orjson.loads(b"".join(found.lines))["vpc_id"] == "vpc-e8722d92"
    event = orjson.loads(
        shared("samples/gateways/aws-cwl-subscription-kinesis-event.json").read_bytes()
    )
    data = [record["kinesis"]["data"] for record in event["Records"]]
    found = opened([{"data": one} for one in data], limit=LIMIT)
    assert len(b"".join(found.lines).splitlines()) > len(data)
    text = shared("samples/gateways/aws-cwl-decoded-control.json").read_bytes()
    assert read(gzip.compress(text)).control == 1


RECORDS = st.one_of(
    st.binary(max_size=60),
    st.binary(max_size=60).map(gzip.compress),
    st.binary(max_size=60).map(lambda rest: b"\x1f\x8b\x08" + rest),
    st.binary(max_size=60).map(lambda rest: framed(b"\x0a" + rest)),
    st.integers(0, len(ONE)).map(lambda end: framed(ONE, OLD)[:end]),
    st.sampled_from([access_log(), cloudwatch_logs(access_log()), control(), POINT, framed(OLD)]),
)


@given(st.lists(RECORDS, max_size=6))
@settings(max_examples=150, deadline=None)
def test_any_records_are_opened_and_what_is_good_among_them_is_found(records: list[bytes]) -> None:
    found = read(access_log(7), *records, framed(ONE), POINT)
    admitted = admit_lines("aws_apigateway", b"".join(found.lines), MaskedKeys())
    assert admitted.records >= 1
    assert admit_lines("cloudwatch_metrics", b"".join(found.points), MaskedKeys()).records >= 1
    assert found.requests[-1] == ONE
