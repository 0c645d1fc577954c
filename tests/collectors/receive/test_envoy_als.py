"""The Envoy access log service, with Envoy's own messages over a real gRPC stream."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from envoy.service.accesslog.v3.als_pb2 import StreamAccessLogsMessage

from pipeline.model.ledger import Outcome
from pipeline.model.messages import Partition
from pipeline.model.topics import RAW_TELEMETRY
from tests.collectors.bench import Bench, running

pytestmark = pytest.mark.anyio

METHOD = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def entries(count: int, *, node: str = "", pad: int = 0) -> StreamAccessLogsMessage:
    message = StreamAccessLogsMessage()
    if node:
        message.identifier.node.id = node
        message.identifier.node.cluster = "frontend"
        message.identifier.log_name = "mesh"
    for _ in range(count):
        entry = message.http_logs.log_entry.add()
        entry.request.path = "/" + "x" * pad
        entry.response.response_code.value = 200
        entry.common_properties.start_time.seconds = 1_700_000_000
    return message


async def stream(bench: Bench, messages: list[bytes]) -> grpc.StatusCode:
    """Send a whole stream; the status it ends with."""
    async with grpc.aio.insecure_channel(bench.grpc) as channel:
        call = channel.stream_unary(METHOD)(iter(messages))
        return await call.code()


async def received(bench: Bench) -> list[StreamAccessLogsMessage]:
    return [
        StreamAccessLogsMessage.FromString(message.value)
        for message in await bench.messages(RAW_TELEMETRY)
    ]


async def until(bench: Bench, outcome: Outcome, records: int) -> None:
    while bench.count("envoy_als", "access_logs", outcome) < records:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def test_every_message_names_its_envoy(tmp_path: Path) -> None:
    sent = [entries(1, node="sidecar-1"), entries(2), entries(3)]
    async with running(tmp_path) as at:
        assert await stream(at, [one.SerializeToString() for one in sent]) == grpc.StatusCode.OK
        found = await received(at)
        assert [len(one.http_logs.log_entry) for one in found] == [1, 2, 3]
        assert [one.identifier for one in found] == [sent[0].identifier] * 3
        (first, *_) = await at.messages(RAW_TELEMETRY)
        assert first.headers["format"] == "envoy_als"
        assert first.headers["source"] == "envoy_als"
        assert at.count("envoy_als", "access_logs", Outcome.ACCEPTED) == 6


async def test_streams_do_not_borrow_names(tmp_path: Path) -> None:
    async with running(tmp_path) as at:
        bodies = {
            node: [entries(1, node=node).SerializeToString()]
            + [entries(1).SerializeToString()] * 20
            for node in ("a", "b", "c")
        }
        await asyncio.gather(*(stream(at, messages) for messages in bodies.values()))
        names = [one.identifier.node.id for one in await received(at)]
        assert {name: names.count(name) for name in set(names)} == {"a": 21, "b": 21, "c": 21}


async def test_a_malformed_message_is_counted_and_the_stream_goes_on(tmp_path: Path) -> None:
    messages = [
        entries(1, node="a").SerializeToString(),
        b"\x12\xff\xff",
        entries(2).SerializeToString(),
    ]
    async with running(tmp_path) as at:
        assert await stream(at, messages) == grpc.StatusCode.OK
        assert [len(one.http_logs.log_entry) for one in await received(at)] == [1, 2]
        assert at.count("envoy_als", "access_logs", Outcome.DROPPED) == 1
        ((_, reason),) = at.reasons("envoy_als", "access_logs")
        assert reason.startswith("malformed: ")


async def test_a_full_bus_stops_the_reading_and_loses_nothing(tmp_path: Path) -> None:
    bus = {"max_bytes": 100_000, "retry_after_seconds": 0.05}
    messages = [entries(1, node="a").SerializeToString()]
    messages += [entries(10, pad=1000).SerializeToString()] * 30
    async with running(tmp_path, bus=bus) as at:
        sending = asyncio.create_task(stream(at, messages))
        while not sending.done():
            held = await at.messages(RAW_TELEMETRY)
            await at.bus.consumed({Partition(RAW_TELEMETRY): held[-1].offset + 1 if held else 0})
            await asyncio.sleep(0.05)
        assert await sending == grpc.StatusCode.OK
        assert at.count("envoy_als", "access_logs", Outcome.ACCEPTED) == 301
        assert at.count("envoy_als", "access_logs", Outcome.DROPPED) == 0
        assert sum(len(one.http_logs.log_entry) for one in await received(at)) == 301


async def test_patience_has_an_end_and_the_loss_is_counted(tmp_path: Path) -> None:
    bus = {"max_bytes": 70_000, "retry_after_seconds": 0.05}
    messages = [entries(10, node="a", pad=3000).SerializeToString()] * 5
    async with running(tmp_path, bus=bus, envoy_als={"patience_seconds": 0.3}) as at:
        assert await stream(at, messages) == grpc.StatusCode.UNAVAILABLE
        assert at.count("envoy_als", "access_logs", Outcome.ACCEPTED) == 20
        assert at.reasons("envoy_als", "access_logs") == {(Outcome.DROPPED, "bus full"): 10}


async def test_stopping_ends_open_streams_after_what_they_sent(tmp_path: Path) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield entries(1, node="a").SerializeToString()
        yield entries(2).SerializeToString()
        await asyncio.Event().wait()

    async with running(tmp_path, otlp_grpc={"drain_seconds": 60}) as at:
        async with grpc.aio.insecure_channel(at.grpc) as channel:
            call = channel.stream_unary(METHOD)(endless())
            await until(at, Outcome.ACCEPTED, 3)
            await asyncio.wait_for(at.collectors.stop(), 30)
            assert await call.code() == grpc.StatusCode.UNAVAILABLE
        assert len(await received(at)) == 2


async def test_a_stranger_may_not_stream(tmp_path: Path) -> None:
    async with running(tmp_path, intake={"token": "s3cret"}) as at:
        assert await stream(at, [b""]) == grpc.StatusCode.UNAUTHENTICATED
        async with grpc.aio.insecure_channel(at.grpc) as channel:
            call = channel.stream_unary(METHOD)(
                iter([entries(1, node="a").SerializeToString()]),
                metadata=(("authorization", "Bearer s3cret"),),
            )
            assert await call.code() == grpc.StatusCode.OK
