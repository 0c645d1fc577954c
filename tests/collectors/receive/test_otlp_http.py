"""OTLP/HTTP beyond the contract: content types, encodings, bombs, slow and strange senders."""

import asyncio
import gzip
import resource
import zlib
from pathlib import Path

import httpx
import orjson
import pytest
from google.protobuf import json_format
from google.rpc.error_details_pb2 import BadRequest
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from pipeline.model.ledger import Outcome
from pipeline.model.topics import OTLP_LOGS, OTLP_METRICS, OTLP_SPANS
from tests.collectors.bench import Bench, running
from tests.collectors.payloads import logs, metrics, traces

pytestmark = pytest.mark.anyio

PROTOBUF = {"content-type": "application/x-protobuf"}
JSON = {"content-type": "application/json"}
TRACES = "/v1/traces"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def post(
    bench: Bench, path: str, body: bytes, headers: dict[str, str] | None = None
) -> httpx.Response:
    async with httpx.AsyncClient(timeout=30) as client:
        return await client.post(bench.http + path, content=body, headers=headers or PROTOBUF)


async def raw(bench: Bench, request: bytes) -> bytes:
    """What comes back for these very bytes, until the connection is closed by the other side."""
    host, port = bench.http.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    try:
        return await asyncio.wait_for(reader.read(), 30)
    finally:
        writer.close()


async def test_all_signals_go_to_their_topics(tmp_path: Path) -> None:
    async with running(tmp_path) as at:
        for path, request, topic, signal in (
            (TRACES, traces(3), OTLP_SPANS, "spans"),
            ("/v1/metrics", metrics(4), OTLP_METRICS, "metric_points"),
            ("/v1/logs", logs(5), OTLP_LOGS, "logs"),
        ):
            body = request.SerializeToString()
            answer = await post(at, path, body)
            assert (answer.status_code, answer.content) == (200, b"")
            assert answer.headers["content-type"] == "application/x-protobuf"
            (message,) = await at.messages(topic)
            assert message.value == body
            assert at.count("otlp_http", signal, Outcome.ACCEPTED) == int(
                message.headers["records"]
            )


async def test_some_rejected_records_are_a_partial_success(tmp_path: Path) -> None:
    async with running(tmp_path) as at:
        body = traces(2, wrong_ids=3).SerializeToString()
        answer = await post(at, TRACES, body)
        assert answer.status_code == 200
        partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
        assert partial.rejected_spans == 3
        assert "3 spans rejected: " in partial.error_message
        (message,) = await at.messages(OTLP_SPANS)
        assert message.value == body
        assert (message.headers["records"], message.headers["rejected"]) == ("5", "3")
        assert at.count("otlp_http", "spans", Outcome.RECEIVED) == 5
        assert at.count("otlp_http", "spans", Outcome.ACCEPTED) == 2
        assert at.count("otlp_http", "spans", Outcome.REJECTED) == 3


async def test_only_rejected_records_are_a_partial_success_and_no_message(tmp_path: Path) -> None:
    async with running(tmp_path) as at:
        body = json_format.MessageToJson(traces(0, wrong_ids=2)).encode()
        document = orjson.loads(body)
        for span in document["resourceSpans"][0]["scopeSpans"][0]["spans"]:
            span["traceId"] = "12ab"
        answer = await post(at, TRACES, orjson.dumps(document), JSON)
        assert answer.status_code == 200
        assert answer.json()["partialSuccess"]["rejectedSpans"] == "2"
        assert await at.messages(OTLP_SPANS) == []


async def test_json_becomes_protobuf(tmp_path: Path) -> None:
    document = {
        "resourceSpans": [
            {
                "scopeSpans": [
                    {
                        "spans": [
                            {
                                "traceId": "5B8EFFF798038103D269B633813FC60C",
                                "spanId": "eee19b7ec3c1b174",
                                "name": "GET /",
                                "kind": 2,
                                "startTimeUnixNano": "1700000000000000000",
                                "endTimeUnixNano": 1700000000000000001,
                                "fieldOfTheFuture": {"a": 1},
                            }
                        ]
                    }
                ]
            }
        ]
    }
    async with running(tmp_path) as at:
        answer = await post(
            at, TRACES, orjson.dumps(document), {"content-type": "application/json; charset=utf-8"}
        )
        assert (answer.status_code, answer.json()) == (200, {})
        assert answer.headers["content-type"] == "application/json"
        (message,) = await at.messages(OTLP_SPANS)
        request = ExportTraceServiceRequest.FromString(message.value)
        span = request.resource_spans[0].scope_spans[0].spans[0]
        assert span.trace_id.hex() == "5b8efff798038103d269b633813fc60c"
        assert (span.span_id.hex(), span.kind) == ("eee19b7ec3c1b174", 2)
        assert span.end_time_unix_nano - span.start_time_unix_nano == 1


async def test_malformed_json_is_refused_in_json_with_its_offset(tmp_path: Path) -> None:
    async with running(tmp_path) as at:
        answer = await post(at, TRACES, b'{"resourceSpans": [}', JSON)
        assert answer.status_code == 400
        assert answer.headers["content-type"] == "application/json"
        assert "at byte 19" in answer.json()["message"]
        answer = await post(at, TRACES, b'{"resourceSpans": [{"scopeSpans": 5}]}', JSON)
        assert answer.status_code == 400
        assert "scopeSpans" in answer.json()["message"]


async def test_malformed_protobuf_is_refused_with_details(tmp_path: Path) -> None:
    async with running(tmp_path) as at:
        answer = await post(at, "/v1/logs", b"\x0a\x05ab")
        assert answer.status_code == 400
        assert answer.headers["content-type"] == "application/x-protobuf"
        status = Status.FromString(answer.content)
        violation = BadRequest()
        assert status.details[0].Unpack(violation)
        assert "at byte" in violation.field_violations[0].description


@pytest.mark.parametrize("content_type", ["text/plain", "application/grpc", "", "application/xml"])
async def test_other_content_types_are_refused_naming_those_allowed(
    tmp_path: Path, content_type: str
) -> None:
    async with running(tmp_path) as at:
        answer = await post(at, TRACES, b"", {"content-type": content_type})
        assert answer.status_code == 415
        assert "application/x-protobuf or application/json" in answer.text


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "x"])
async def test_other_encodings_are_refused_naming_those_allowed(
    tmp_path: Path, encoding: str
) -> None:
    async with running(tmp_path) as at:
        answer = await post(at, TRACES, b"x", PROTOBUF | {"content-encoding": encoding})
        assert answer.status_code == 415
        assert "gzip" in Status.FromString(answer.content).message
        assert "gzip" in answer.headers["accept-encoding"]


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("deflate", zlib.compress),
        ("identity", bytes),
        ("gzip", lambda body: gzip.compress(body[:100]) + gzip.compress(body[100:])),
    ],
    ids=["gzip", "upper", "deflate", "identity", "two members"],
)
async def test_compressed_bodies_are_taken(tmp_path: Path, encoding: str, compress) -> None:
    body = traces(400, pad=200).SerializeToString()
    async with running(tmp_path) as at:
        answer = await post(at, TRACES, compress(body), PROTOBUF | {"content-encoding": encoding})
        assert answer.status_code == 200
        (message,) = await at.messages(OTLP_SPANS)
        assert message.value == body


@pytest.mark.parametrize(
    "body",
    [
        b"no gzip",
        gzip.compress(bytes(5000))[:-9],
        gzip.compress(b"")[:5],
        gzip.compress(b"x") + b"y",
    ],
    ids=["none", "cut", "head", "garbage after"],
)
async def test_broken_gzip_is_refused_with_its_offset(tmp_path: Path, body: bytes) -> None:
    async with running(tmp_path) as at:
        answer = await post(at, TRACES, body, PROTOBUF | {"content-encoding": "gzip"})
        assert answer.status_code == 400
        assert "gzip data" in Status.FromString(answer.content).message
        assert "at byte" in Status.FromString(answer.content).message


async def test_a_bomb_is_stopped_early(tmp_path: Path) -> None:
    """1 GB of zeros in 1 MB: refused, and memory does not grow by more than the limit allows."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = bytes(1 << 24)
    bomb = b"".join(squeeze.compress(zeros) for _ in range(64)) + squeeze.flush()
    async with running(tmp_path) as at:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        answers = await asyncio.gather(
            *(post(at, TRACES, bomb, PROTOBUF | {"content-encoding": "gzip"}) for _ in range(4))
        )
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        statuses = [answer.status_code for answer in answers]
        assert set(statuses) <= {413, 429}
        assert 413 in statuses
        assert grown < 400 * 1024
        assert at.count("otlp_http", "spans", Outcome.ACCEPTED) == 0
        assert (await post(at, TRACES, traces(1).SerializeToString())).status_code == 200


async def test_a_body_over_the_limit_is_refused_declared_or_not(tmp_path: Path) -> None:
    async def chunks():
        for _ in range(100):
            yield bytes(1000)

    async with running(tmp_path, otlp_http={"max_body_bytes": 10_000}) as at:
        assert (await post(at, TRACES, bytes(10_001))).status_code == 413
        async with httpx.AsyncClient() as client:
            answer = await client.post(at.http + TRACES, content=chunks(), headers=PROTOBUF)
        assert answer.status_code == 413
        assert "10000 bytes" in Status.FromString(answer.content).message


async def test_other_paths_and_methods_are_told_the_right_ones(tmp_path: Path) -> None:
    async with running(tmp_path) as at, httpx.AsyncClient(base_url=at.http) as client:
        unknown = await client.post("/v1/spans", content=b"", headers=PROTOBUF)
        assert unknown.status_code == 404
        assert "/v1/traces, /v1/metrics, /v1/logs" in Status.FromString(unknown.content).message
        wrong = await client.get("/v1/traces")
        assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
        assert "POST" in wrong.text
        assert (await client.get("/")).status_code == 404
        assert (await client.head("/v1/traces")).status_code == 405


async def test_a_token_is_asked_for_when_one_is_set(tmp_path: Path) -> None:
    body = traces(1).SerializeToString()
    async with running(tmp_path, intake={"token": "s3cret"}) as at:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "s3cret"}):
            answer = await post(at, TRACES, body, PROTOBUF | headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
        answer = await post(at, TRACES, body, PROTOBUF | {"authorization": "Bearer s3cret"})
        assert answer.status_code == 200


async def test_a_slow_body_is_given_up(tmp_path: Path) -> None:
    async with running(tmp_path, otlp_http={"read_timeout_seconds": 0.2}) as at:
        answer = await raw(
            at,
            b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n"
            b"content-length: 1000\r\n\r\nabc",
        )
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert at.reasons("otlp_http", "spans") == {(Outcome.REJECTED, "too slow"): 1}


@pytest.mark.parametrize("sent", [b"", b"POST /v1/traces HTTP/1.1\r\nhost:"], ids=["none", "half"])
async def test_a_slow_head_is_given_up(tmp_path: Path, sent: bytes) -> None:
    async with running(tmp_path, otlp_http={"read_timeout_seconds": 0.2}) as at:
        assert (await raw(at, sent)).startswith(b"HTTP/1.1 408 ")


async def test_a_large_head_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as at:
        head = b"POST /v1/traces HTTP/1.1\r\nhost: x\r\nx-big: " + b"x" * 70_000
        answer = await raw(at, head)
        assert answer.startswith(b"HTTP/1.1 431 ")


async def test_a_second_request_on_a_connection_has_its_own_limits(tmp_path: Path) -> None:
    body = traces(1).SerializeToString()
    request = (
        b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n"
        b"content-length: %d\r\n\r\n%s" % (len(body), body)
    )
    async with running(tmp_path, otlp_http={"max_head_bytes": 1024}) as at:
        answer = await raw(
            at, request * 3 + b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        )
        assert answer.count(b"HTTP/1.1 200 OK") == 3
        assert answer.count(b"HTTP/1.1 404 ") == 1


async def test_too_many_connections_are_told_to_come_back(tmp_path: Path) -> None:
    async with running(tmp_path, otlp_http={"max_connections": 2}) as at:
        host, port = at.http.removeprefix("http://").split(":")
        held = [await asyncio.open_connection(host, int(port)) for _ in range(2)]
        answer = await raw(at, b"")
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1\r\n" in answer
        for _, writer in held:
            writer.close()


async def test_what_is_no_http_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as at:
        assert (await raw(at, b"\x16\x03\x01 hello\r\n\r\n")).startswith(b"HTTP/1.1 400 ")


async def test_a_sender_that_goes_away_is_counted_and_leaves_no_trace(tmp_path: Path) -> None:
    async with running(tmp_path) as at:
        host, port = at.http.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n"
            b"content-length: 1000\r\n\r\nabc"
        )
        await writer.drain()
        await asyncio.sleep(0.1)
        writer.close()
        while at.count("otlp_http", "spans", Outcome.REJECTED) == 0:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert at.reasons("otlp_http", "spans") == {(Outcome.REJECTED, "sender went away"): 1}


async def test_the_answer_to_logs_is_of_logs(tmp_path: Path) -> None:
    async with running(tmp_path) as at:
        answer = await post(at, "/v1/logs", logs(1).SerializeToString())
        assert ExportLogsServiceResponse.FromString(answer.content) == ExportLogsServiceResponse()
