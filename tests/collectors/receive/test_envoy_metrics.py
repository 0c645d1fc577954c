"""The Envoy metrics service over a real gRPC stream."""

from pathlib import Path

import grpc
import pytest

from pipeline.model.ledger import Outcome
from pipeline.model.topics import RAW_TELEMETRY
from tests.collectors.bench import Bench, running
from tests.pipeline.decode.envoy_stats import StreamMetricsMessage, message_of

pytestmark = pytest.mark.anyio

METHOD = "/envoy.service.metrics.v3.MetricsService/StreamMetrics"
ON = {"enabled": True}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def stream(bench: Bench, messages: list[bytes]) -> grpc.StatusCode:
    """Send a whole stream; the status it ends with."""
    async with grpc.aio.insecure_channel(bench.grpc) as channel:
        call = channel.stream_unary(METHOD)(iter(messages))
        return await call.code()


async def test_it_is_off_unless_it_is_enabled(tmp_path: Path) -> None:
    async with running(tmp_path) as at:
        # what is written to a call that was refused already may fail in other words
        assert await stream(at, []) == grpc.StatusCode.UNIMPLEMENTED


async def test_every_message_names_its_envoy(tmp_path: Path) -> None:
    first, later = message_of(), message_of(identified=False)
    async with running(tmp_path, envoy_metrics=ON) as at:
        sent = [first.SerializeToString(), later.SerializeToString()]
        assert await stream(at, sent) == grpc.StatusCode.OK
        messages = await at.messages(RAW_TELEMETRY)
        found = [StreamMetricsMessage.FromString(message.value) for message in messages]
        assert [one.identifier.node for one in found] == [first.identifier.node] * 2
        assert [len(one.envoy_metrics) for one in found] == [4, 4]
        assert {message.headers["format"] for message in messages} == {"envoy_metrics"}
        assert {message.headers["source"] for message in messages} == {"envoy_metrics"}
        assert at.count("envoy_metrics", "metric_points", Outcome.ACCEPTED) == 8
        assert all(b"geheim" not in message.value for message in messages)


async def test_a_malformed_message_is_counted_and_the_stream_goes_on(tmp_path: Path) -> None:
    messages = [message_of().SerializeToString(), b"\x12\xff\xff", message_of().SerializeToString()]
    async with running(tmp_path, envoy_metrics=ON) as at:
        assert await stream(at, messages) == grpc.StatusCode.OK
        assert at.count("envoy_metrics", "metric_points", Outcome.ACCEPTED) == 8
        assert at.count("envoy_metrics", "metric_points", Outcome.DROPPED) == 1


async def test_a_message_larger_than_the_bus_takes_is_cut(tmp_path: Path) -> None:
    message = message_of()
    for _ in range(6):
        message.envoy_metrics.extend(list(message.envoy_metrics))
    async with running(tmp_path, envoy_metrics=ON, bus={"max_message_bytes": 16_384}) as at:
        assert await stream(at, [message.SerializeToString()]) == grpc.StatusCode.OK
        found = [
            StreamMetricsMessage.FromString(one.value) for one in await at.messages(RAW_TELEMETRY)
        ]
        assert len(found) > 1
        assert sum(len(one.envoy_metrics) for one in found) == 256
        assert {one.identifier.node for one in found} == {message.identifier.node}
