"""The endpoint of Amazon Data Firehose: its contract, and what becomes of records."""

import asyncio
import gzip
import logging
from pathlib import Path

import orjson
import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import SummaryDataPoint

from pipeline.errors import BusUnavailable, InvalidInput
from pipeline.jobs.decoding import decode_messages, quarantine_rows
from pipeline.model.ledger import Outcome
from pipeline.model.topics import OTLP_METRICS, RAW_TELEMETRY
from tests.collectors.bench import Bench, running
from tests.collectors.firehose import (
    ANYWHERE,
    REQUEST_ID,
    access_log,
    body_of,
    cloudwatch_logs,
    control,
    headers_of,
    post,
)
from tests.pipeline.decode.metric_streams import framed, otlp, otlp_07, record_of
from tests.recordings import shared

pytestmark = pytest.mark.anyio

ONE = otlp("AWS/ApiGateway", "Count", {"ApiName": "shop"}).SerializeToString()
POINT = record_of("AWS/ApiGateway", "Count", {"ApiName": "shop"})
KEY = "4k-firehose-access-key"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def outcomes(at: Bench, signal: str = "access_logs") -> dict[str, int]:
    return {
        outcome.value: records
        for outcome in Outcome
        if (records := at.count("firehose", signal, outcome))
    }


async def test_the_answer_keeps_to_the_contract(tmp_path: Path) -> None:
    async with running(tmp_path, firehose=ANYWHERE) as at:
        answer = await post(at, body_of([access_log()]))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert "content-encoding" not in answer.headers
    told = orjson.loads(answer.content)
    assert set(told) == {"requestId", "timestamp"}
    assert told["requestId"] == REQUEST_ID
    assert isinstance(told["timestamp"], int)
    assert told["timestamp"] > 1_700_000_000_000


async def test_access_logs_go_on_the_bus_as_lines(tmp_path: Path) -> None:
    async with running(tmp_path, firehose=ANYWHERE) as at:
        body = body_of([access_log(1), cloudwatch_logs(access_log(2), access_log(3))])
        assert (await post(at, body)).status_code == 200
        (message,) = await at.messages(RAW_TELEMETRY)
        told = outcomes(at)
    assert message.headers["format"] == "aws_apigateway"
    assert message.headers["source"] == "firehose"
    assert message.headers["records"] == "3"
    decoded = decode_messages([message])
    assert decoded.batches["access_logs"].num_rows == 3
    assert decoded.refused == []
    assert told == {"received": 3, "accepted": 3}


async def test_a_control_message_is_acknowledged_and_counted_as_such(tmp_path: Path) -> None:
    async with running(tmp_path, firehose=ANYWHERE) as at:
        assert (await post(at, body_of([control(), control()]))).status_code == 200
        assert await at.messages(RAW_TELEMETRY) == []
        assert outcomes(at) == {"received": 2, "dropped": 2}
        assert at.reasons("firehose", "access_logs") == {
            (Outcome.DROPPED, "a control message of CloudWatch Logs"): 2
        }


async def test_metric_streams_go_on_the_topic_of_their_format(tmp_path: Path) -> None:
    old = otlp_07("AWS/ApiGateway", "Count", {"ApiName": "shop"})
    async with running(tmp_path, firehose=ANYWHERE) as at:
        assert (await post(at, body_of([framed(ONE, ONE), framed(old)]))).status_code == 200
        assert (await post(at, body_of([POINT + b"\n" + POINT]))).status_code == 200
        (requests,) = await at.messages(OTLP_METRICS)
        (points,) = await at.messages(RAW_TELEMETRY)
        told = outcomes(at, "metric_points")
    assert requests.value == ONE * 3
    assert points.headers["format"] == "cloudwatch_metrics"
    rows = decode_messages([requests, points]).batches["metric_points"]
    assert rows["name"].to_pylist() == ["amazonaws.com/AWS/ApiGateway/Count"] * 5
    assert set(rows["attributes"].to_pylist()) == {
        '{"Namespace":"AWS/ApiGateway","MetricName":"Count","Dimensions":{"ApiName":"shop"}}'
    }
    assert told == {"received": 5, "accepted": 5}


async def test_of_a_mixed_request_the_good_is_taken_and_the_bad_is_quarantined(
    tmp_path: Path,
) -> None:
    records = [
        access_log(1), b"hello", control(), framed(ONE), framed(ONE)[:-1], POINT,
        b"\x1f\x8b\x08 no gzip", b"", access_log(2),
    ]  # fmt: skip
    async with running(tmp_path, firehose=ANYWHERE) as at:
        assert (await post(at, body_of(records))).status_code == 200
        messages = [*await at.messages(RAW_TELEMETRY), *await at.messages(OTLP_METRICS)]
        assert outcomes(at) == {"received": 5, "accepted": 4, "dropped": 1}
        assert outcomes(at, "metric_points") == {"received": 3, "accepted": 3}
    assert [message.headers["rejected"] for message in messages] == ["0"] * 3
    decoded = decode_messages(messages)
    assert decoded.batches["access_logs"].num_rows == 2
    assert decoded.batches["metric_points"].num_rows == 2
    quarantined = quarantine_rows(decoded.refused)
    assert sorted(quarantined["reason"].to_pylist()) == [
        "OTLP of a metric stream with a broken length",
        "broken gzip data",
        "not a JSON object",
    ]
    assert set(quarantined["source"].to_pylist()) == {"firehose"}


async def test_a_point_that_no_row_can_hold_is_quarantined_with_the_others_stored(
    tmp_path: Path,
) -> None:
    def late(point: SummaryDataPoint) -> None:
        point.time_unix_nano = 1 << 63

    bad = otlp("AWS/ApiGateway", "Count", {}, late).SerializeToString()
    async with running(tmp_path, firehose=ANYWHERE) as at:
        assert (await post(at, body_of([framed(bad, ONE)]))).status_code == 200
        (message,) = await at.messages(OTLP_METRICS)
        assert outcomes(at, "metric_points") == {"received": 2, "accepted": 2}
    decoded = decode_messages([message])
    assert decoded.batches["metric_points"].num_rows == 1
    assert [one.records for one in decoded.refused] == [1]


async def test_the_documented_request(tmp_path: Path) -> None:
    body = shared("samples/gateways/aws-firehose-http-request-doc.json").read_bytes()
    expected = orjson.loads(
        shared("samples/gateways/aws-firehose-http-response-ok.json").read_bytes()
    )
    async with running(tmp_path, firehose=ANYWHERE) as at:
        answer = await post(at, body)
        assert answer.status_code == 200
        told = orjson.loads(answer.content)
        assert {**told, "timestamp": 0} == {**expected, "timestamp": 0}
        # both records, "hello" and "hello world", are no access logs: kept for whoever asks
        assert outcomes(at) == {"received": 2, "accepted": 2}


async def test_gzip_of_the_request_and_of_its_records_are_two_things(tmp_path: Path) -> None:
    body = gzip.compress(body_of([cloudwatch_logs(access_log())]))
    async with running(tmp_path, firehose=ANYWHERE) as at:
        answer = await post(at, body, headers_of(Content_Encoding="gzip"))
        assert answer.status_code == 200
        assert "content-encoding" not in answer.headers
        assert outcomes(at) == {"received": 1, "accepted": 1}


@pytest.mark.parametrize(
    ("change", "status", "text"),
    [
        ({"X-Amz-Firehose-Request-Id": ""}, 400, "X-Amz-Firehose-Request-Id"),
        ({"X-Amz-Firehose-Request-Id": "another"}, 400, "requestId"),
        ({"X-Amz-Firehose-Protocol-Version": "2.0"}, 400, "allowed: 1.0"),
        ({"Content-Type": "text/plain"}, 415, "application/json"),
        ({"Content-Encoding": "br"}, 415, "gzip"),
        ({"Content-Encoding": "gzip"}, 400, "gzip"),
    ],
    ids=str,
)
async def test_what_does_not_keep_to_the_protocol_is_refused_in_its_words(
    tmp_path: Path, change: dict[str, str], status: int, text: str
) -> None:
    headers = {**headers_of(), **change}
    async with running(tmp_path, firehose=ANYWHERE) as at:
        answer = await post(at, body_of([access_log()]), headers)
        assert await at.messages(RAW_TELEMETRY) == []
    told = orjson.loads(answer.content)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert told["requestId"] == headers["X-Amz-Firehose-Request-Id"]
    assert isinstance(told["timestamp"], int)
    assert text in told["errorMessage"]


async def test_paths_and_methods(tmp_path: Path) -> None:
    async with running(tmp_path, firehose=ANYWHERE) as at:
        assert (await post(at, body_of([]), path="/")).status_code == 404
        assert (await post(at, body_of([]), method="PUT")).status_code == 405
        assert (await post(at, body_of([]))).status_code == 200
        assert outcomes(at) == {}


@pytest.mark.parametrize(
    ("sections", "right"),
    [
        ({"firehose": {**ANYWHERE, "access_key": KEY}}, KEY),
        ({"firehose": ANYWHERE, "intake": {"token": KEY}}, KEY),
        ({"firehose": {**ANYWHERE, "access_key": KEY}, "intake": {"token": "other"}}, KEY),
        ({"firehose": {"address": "0.0.0.0:0", "access_key": KEY}}, KEY),
    ],
    ids=["access key", "token", "both", "beyond loopback"],
)
async def test_who_does_not_carry_the_access_key_is_refused(
    tmp_path: Path,
    sections: dict[str, dict[str, object]],
    right: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    async with running(tmp_path, **sections) as at:
        for wrong in ({}, {"X-Amz-Firehose-Access-Key": right + "x"}, {"Authorization": right}):
            answer = await post(at, body_of([access_log()]), {**headers_of(), **wrong})
            assert answer.status_code == 401
            assert KEY not in answer.text
        assert await at.messages(RAW_TELEMETRY) == []
        carried = {**headers_of(), "X-Amz-Firehose-Access-Key": right}
        assert (await post(at, body_of([access_log()]), carried)).status_code == 200
    assert KEY not in caplog.text


async def test_beyond_loopback_needs_an_access_key(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="MESHWEIR_FIREHOSE_ACCESS_KEY"):
        async with running(tmp_path, firehose={"address": "0.0.0.0:0"}):
            pass


@pytest.mark.parametrize(
    ("limits", "records"),
    [
        ({"max_body_bytes": 2000}, [access_log()] * 20),
        ({"max_decompressed_bytes": 2000}, [access_log()] * 20),
        ({"max_records_bytes": 2000}, [gzip.compress(access_log() * 20)]),
        ({"max_records_bytes": 1 << 20}, [gzip.compress(bytes(30 << 20))] * 10),
    ],
    ids=["body", "decompressed", "records", "bombs"],
)
async def test_what_is_too_large_is_never_413_which_would_lose_it(
    tmp_path: Path, limits: dict[str, object], records: list[bytes]
) -> None:
    body = gzip.compress(body_of(records), compresslevel=0 if "max_body_bytes" in limits else 6)
    async with running(tmp_path, firehose={**ANYWHERE, **limits}) as at:
        answer = await post(at, body, headers_of(Content_Encoding="gzip"))
        assert answer.status_code == 400
        assert "larger than the limit" in orjson.loads(answer.content)["errorMessage"]
        assert at.reasons("firehose", "access_logs") == {(Outcome.REJECTED, "too large"): 1}
        assert (await post(at, body_of([access_log()]))).status_code == 200


async def test_secrets_in_records_are_masked_on_the_bus(tmp_path: Path) -> None:
    secret = "Zq3x9SECRETv7Lm"
    lines = (access_log(1, apiKey=secret), access_log(2, path=f"/a?token={secret}"))
    async with running(tmp_path, firehose=ANYWHERE) as at:
        body = body_of([*lines, cloudwatch_logs(*lines)])
        assert (await post(at, body)).status_code == 200
        (message,) = await at.messages(RAW_TELEMETRY)
    assert secret.encode() not in message.value
    assert decode_messages([message]).batches["access_logs"].num_rows == 4


async def test_a_bus_that_fails_in_the_middle_is_told_and_a_retry_stores_it_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, firehose=ANYWHERE) as at:
        publish, published = at.bus.publish, []

        async def failing(topic: str, value: bytes, headers: dict[str, str]) -> int:
            published.append(topic)
            if len(published) == 2:
                raise BusUnavailable("away", retry_after=60)
            return await publish(topic, value, headers)

        monkeypatch.setattr(at.bus, "publish", failing)
        body = body_of([access_log(), framed(ONE)])
        answer = await post(at, body)
        assert answer.status_code == 503
        assert "stored twice" in orjson.loads(answer.content)["errorMessage"]
        assert outcomes(at) == {"received": 1, "accepted": 1}
        assert outcomes(at, "metric_points") == {"received": 1, "rejected": 1}
        assert (await post(at, body)).status_code == 200
        assert len(await at.messages(RAW_TELEMETRY)) == 2
        assert len(await at.messages(OTLP_METRICS)) == 1


async def test_many_requests_at_once(tmp_path: Path) -> None:
    async with running(tmp_path, firehose=ANYWHERE) as at:
        answers = await asyncio.gather(
            *(
                post(at, body_of([access_log(n)] * n, f"id-{n}"), headers_of(f"id-{n}"))
                for n in range(1, 30)
            )
        )
        assert [orjson.loads(one.content)["requestId"] for one in answers] == [
            f"id-{n}" for n in range(1, 30)
        ]
        assert outcomes(at)["accepted"] == sum(range(1, 30))
