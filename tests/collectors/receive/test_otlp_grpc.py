"""OTLP/gRPC beyond the contract: partial success, bombs, tokens, unknown methods."""

import asyncio
import sys
from pathlib import Path

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from opentelemetry.proto.collector.logs.v1.logs_service_pb2_grpc import LogsServiceStub
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import MetricsServiceStub
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

from pipeline.model.ledger import Outcome
from pipeline.model.topics import OTLP_LOGS, OTLP_METRICS, OTLP_SPANS
from tests.collectors.bench import running
from tests.collectors.payloads import logs, metrics, traces

pytestmark = pytest.mark.anyio

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_all_signals_go_to_their_topics(tmp_path: Path) -> None:
    async with running(tmp_path) as at, grpc.aio.insecure_channel(at.grpc) as channel:
        for stub, request, topic in (
            (TraceServiceStub, traces(3), OTLP_SPANS),
            (MetricsServiceStub, metrics(4), OTLP_METRICS),
            (LogsServiceStub, logs(5), OTLP_LOGS),
        ):
            answer = await stub(channel).Export(request)
            assert not answer.HasField("partial_success")
            (message,) = await at.messages(topic)
            assert message.value == request.SerializeToString()


async def test_some_rejected_records_are_a_partial_success(tmp_path: Path) -> None:
    async with running(tmp_path) as at, grpc.aio.insecure_channel(at.grpc) as channel:
        answer = await TraceServiceStub(channel).Export(traces(2, wrong_ids=3))
        assert answer.partial_success.rejected_spans == 3
        assert answer.partial_success.error_message
        assert at.count("otlp_grpc", "spans", Outcome.ACCEPTED) == 2


BOMB = 1 << 28

BOMBER = f"""
import sys
import grpc

options = [("grpc.max_send_message_length", -1)]
with grpc.insecure_channel(sys.argv[1], options, grpc.Compression.Gzip) as channel:
    try:
        channel.unary_unary(sys.argv[2])(bytes({BOMB}))
    except grpc.RpcError as refused:
        print(refused.code().name)
"""


def peak() -> int:
    """Most memory this process has held since the peak was forgotten, bytes."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def forget_peak() -> int:
    """Begin to measure anew: earlier tests may have held more; the memory held now, bytes."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError as error:
        pytest.skip(f"peak memory cannot be measured on this system: {error}")
    return peak()


async def test_gzip_is_taken_and_a_bomb_is_not(tmp_path: Path) -> None:
    compression = grpc.Compression.Gzip
    async with (
        running(tmp_path) as at,
        grpc.aio.insecure_channel(at.grpc, compression=compression) as channel,
    ):
        body = traces(50).SerializeToString()
        assert await channel.unary_unary(EXPORT)(body) == b""
        before = forget_peak()
        # the sender holds the bomb unpacked, so it must not share the memory that is looked at
        sender = await asyncio.create_subprocess_exec(
            sys.executable, "-c", BOMBER, at.grpc, EXPORT, stdout=asyncio.subprocess.PIPE
        )
        told, _ = await sender.communicate()
        assert told.decode().strip() == "RESOURCE_EXHAUSTED"
        assert peak() - before < BOMB // 4
        (message,) = await at.messages(OTLP_SPANS)
        assert message.value == body


async def test_the_place_where_the_python_sdk_looks_says_when_to_come_back(tmp_path: Path) -> None:
    async with running(tmp_path) as at, grpc.aio.insecure_channel(at.grpc) as channel:
        await at.bus.stop()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await channel.unary_unary(EXPORT)(traces(1).SerializeToString())
        metadata = dict(refused.value.trailing_metadata() or ())
        retry = RetryInfo.FromString(metadata["google.rpc.retryinfo-bin"])
        assert retry.retry_delay.ToNanoseconds() > 0


@pytest.mark.parametrize("authorization", [None, "Bearer wrong", "s3cret"])
async def test_a_token_is_asked_for_when_one_is_set(
    tmp_path: Path, authorization: str | None
) -> None:
    body = traces(1).SerializeToString()
    async with (
        running(tmp_path, intake={"token": "s3cret"}) as at,
        grpc.aio.insecure_channel(at.grpc) as channel,
    ):
        export = channel.unary_unary(EXPORT)
        metadata = (("authorization", authorization),) if authorization else None
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await export(body, metadata=metadata)
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
        assert await export(body, metadata=(("authorization", "Bearer s3cret"),)) == b""


async def test_other_methods_are_unimplemented(tmp_path: Path) -> None:
    async with running(tmp_path) as at, grpc.aio.insecure_channel(at.grpc) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await channel.unary_unary("/opentelemetry.X/Export")(b"")
        assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED


async def test_many_calls_at_once_on_one_connection(tmp_path: Path) -> None:
    async with running(tmp_path) as at, grpc.aio.insecure_channel(at.grpc) as channel:
        export = channel.unary_unary(EXPORT)
        await asyncio.gather(*(export(traces(n % 5).SerializeToString()) for n in range(300)))
        assert at.count("otlp_grpc", "spans", Outcome.ACCEPTED) == sum(n % 5 for n in range(300))


async def test_a_caller_that_gave_up_waiting_is_counted_all_the_same(tmp_path: Path) -> None:
    async with running(tmp_path) as at, grpc.aio.insecure_channel(at.grpc) as channel:
        at.bus.gate.clear()
        with pytest.raises(grpc.aio.AioRpcError) as late:
            await channel.unary_unary(EXPORT)(traces(3).SerializeToString(), timeout=0.3)
        assert late.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        at.bus.gate.set()
        while at.count("otlp_grpc", "spans", Outcome.ACCEPTED) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert len(await at.messages(OTLP_SPANS)) == 1
        assert at.count("otlp_grpc", "spans", Outcome.RECEIVED) == 3
