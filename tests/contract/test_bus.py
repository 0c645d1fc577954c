"""What every bus promises; a bus is one more entry of BUSES."""

import asyncio
import random
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.bus.embedded import EmbeddedBus
from pipeline.bus.kafka import KafkaBus
from pipeline.bus.port import Bus
from pipeline.bus.settings import EmbeddedBusSettings, KafkaSettings
from pipeline.errors import BusFull, BusUnavailable, MessageTooLarge
from pipeline.model.messages import Message, Partition
from pipeline.model.topics import OTLP_LOGS, OTLP_SPANS, RAW_TELEMETRY

pytestmark = pytest.mark.anyio

MAX_BYTES = 1_000_000
MAX_MESSAGE = 400_000
SPANS = Partition(OTLP_SPANS)


@dataclass(frozen=True)
class Place:
    """A place where a bus keeps its messages; ``bus()`` opens the same ones again and again."""

    bus: Callable[[], AbstractAsyncContextManager[Bus]]


def embedded(directory: Path, request: pytest.FixtureRequest) -> Place:
    settings = EmbeddedBusSettings(
        max_bytes=MAX_BYTES, max_message_bytes=MAX_MESSAGE, min_free_bytes=0
    )

    @asynccontextmanager
    async def bus() -> AsyncIterator[Bus]:
        opened = EmbeddedBus(directory, settings)
        await opened.start()
        try:
            yield opened
        finally:
            await opened.stop()

    return Place(bus)


def kafka(directory: Path, request: pytest.FixtureRequest) -> Place:
    name = f"test-{uuid.uuid4().hex}"
    settings = KafkaSettings(
        bootstrap_servers=request.getfixturevalue("kafka"),
        group=name,
        topic_prefix=f"{name}-",
        partitions=1,
        max_lag_bytes=MAX_BYTES,
        max_message_bytes=MAX_MESSAGE,
    )

    @asynccontextmanager
    async def bus() -> AsyncIterator[Bus]:
        opened = KafkaBus(settings)
        await opened.start()
        try:
            yield opened
        finally:
            await opened.stop()

    return Place(bus)


BUSES = [pytest.param(embedded, id="embedded"), pytest.param(kafka, id="kafka")]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=BUSES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return request.param(tmp_path / "bus", request)


async def read_all(bus: Bus, positions: dict[Partition, int] | None = None) -> list[Message]:
    """Read on to the ends, or until nothing comes any more."""
    found: list[Message] = []
    at = dict(positions or {})
    while any(at.get(partition, 0) < end for partition, end in bus.status().ends.items()):
        messages = await bus.read(at, max_bytes=100_000, wait=5)
        if not messages:
            break
        found += messages
        for message in messages:
            at[message.partition] = message.offset + 1
    return found


async def test_what_was_published_is_read_as_it_was(place: Place) -> None:
    async with place.bus() as bus:
        headers = {"format": "otlp", "source": "test", "received_at": "1"}
        offset = await bus.publish(OTLP_SPANS, b"\x00\xffbytes", headers)
        (message,) = await bus.read({}, max_bytes=1000, wait=5)
        assert message.offset == offset
        assert message.partition.topic == OTLP_SPANS
        assert message.value == b"\x00\xffbytes"
        assert dict(message.headers) == headers


async def test_empty_values_and_headers_are_messages_too(place: Place) -> None:
    async with place.bus() as bus:
        await bus.publish(OTLP_LOGS, b"", {})
        (message,) = await bus.read({}, max_bytes=1, wait=5)
        assert (message.value, dict(message.headers)) == (b"", {})


async def test_one_publisher_is_read_in_its_order(place: Place) -> None:
    async with place.bus() as bus:
        for number in range(200):
            await bus.publish(OTLP_SPANS, b"%d" % number, {})
        values = [int(message.value) for message in await read_all(bus)]
        assert values == list(range(200))


async def test_many_publishers_at_once_lose_and_double_nothing(place: Place) -> None:
    async with place.bus() as bus:
        topics = [OTLP_SPANS, OTLP_LOGS, RAW_TELEMETRY]
        offsets = await asyncio.gather(
            *(bus.publish(topics[i % 3], b"%d" % i, {}) for i in range(600))
        )
        found = await read_all(bus)
        assert sorted(int(message.value) for message in found) == list(range(600))
        told = {(topics[i % 3], offset): i for i, offset in enumerate(offsets)}
        assert {(m.partition.topic, m.offset): int(m.value) for m in found} == told


async def test_same_positions_give_the_same_messages(place: Place) -> None:
    async with place.bus() as bus:
        for number in range(20):
            await bus.publish(OTLP_SPANS, b"%d" % number, {})
        middle = (await read_all(bus))[10]
        positions = {middle.partition: middle.offset}
        first = await read_all(bus, positions)
        assert [int(message.value) for message in first] == list(range(10, 20))
        assert await read_all(bus, positions) == first


async def test_a_run_of_one_partition_is_fetched(place: Place) -> None:
    async with place.bus() as bus:
        for number in range(20):
            await bus.publish(OTLP_SPANS, b"%d" % number, {"n": str(number)})
        everything = await read_all(bus)
        first, until = everything[5].offset, everything[9].offset
        partition = everything[0].partition
        run = await bus.fetch(partition, first, until, max_bytes=1_000_000)
        assert run == everything[5:9]
        (one,) = await bus.fetch(partition, first, until, max_bytes=1)
        assert one == everything[5]
        end = everything[-1].offset + 1
        assert await bus.fetch(partition, end, end + 10, max_bytes=1_000) == []
        assert await bus.fetch(Partition(OTLP_LOGS), 0, 10, max_bytes=1_000) == []


async def test_messages_are_found_by_when_they_were_stored(place: Place) -> None:
    async with place.bus() as bus:
        assert await bus.span(0, time.time_ns()) == {}
        for number in range(3):
            await bus.publish(OTLP_SPANS, b"%d" % number, {})
        await asyncio.sleep(0.05)
        middle = time.time_ns()
        await asyncio.sleep(0.05)
        for number in range(3, 7):
            await bus.publish(OTLP_SPANS, b"%d" % number, {})
        everything = await read_all(bus)
        partition = everything[0].partition
        first, cut, end = everything[0].offset, everything[3].offset, everything[-1].offset + 1
        later = time.time_ns() + 10**9
        assert await bus.span(0, middle) == {partition: (first, cut)}
        assert await bus.span(middle, later) == {partition: (cut, end)}
        assert await bus.span(later, later + 1) == {}


async def test_reading_is_bounded_but_gives_at_least_one(place: Place) -> None:
    async with place.bus() as bus:
        for _ in range(5):
            await bus.publish(OTLP_SPANS, bytes(10_000), {})
        assert len(await bus.read({}, max_bytes=1, wait=5)) == 1
        assert len(await bus.read({}, max_bytes=25_000, wait=5)) == 2


async def test_no_topic_starves_another(place: Place) -> None:
    async with place.bus() as bus:
        for number in range(10):
            await bus.publish(OTLP_SPANS, bytes(10_000), {})
            await bus.publish(RAW_TELEMETRY, b"%d" % number, {})
        topics = {
            message.partition.topic for message in await bus.read({}, max_bytes=30_000, wait=5)
        }
        assert topics == {OTLP_SPANS, RAW_TELEMETRY}


async def test_a_reader_wakes_up_when_something_comes(place: Place) -> None:
    async with place.bus() as bus:
        reading = asyncio.create_task(bus.read({}, max_bytes=1000, wait=60))
        await asyncio.sleep(0.05)
        assert not reading.done()
        await bus.publish(OTLP_SPANS, b"at last", {})
        (message,) = await asyncio.wait_for(reading, 30)
        assert message.value == b"at last"


async def test_a_reader_goes_home_empty_after_its_wait(place: Place) -> None:
    async with place.bus() as bus:
        assert list(await bus.read({}, max_bytes=1000, wait=0.01)) == []


async def test_messages_and_offsets_outlive_a_restart(place: Place) -> None:
    async with place.bus() as bus:
        first = [await bus.publish(OTLP_SPANS, b"%d" % i, {"n": str(i)}) for i in range(10)]
    async with place.bus() as bus:
        more = await bus.publish(OTLP_SPANS, b"10", {"n": "10"})
        assert more > max(first)
        assert [dict(m.headers)["n"] for m in await read_all(bus)] == [str(i) for i in range(11)]


async def test_a_full_bus_refuses_takes_nothing_and_loses_nothing(place: Place) -> None:
    async with place.bus() as bus:
        last = await fill(bus)
        with pytest.raises(BusFull) as refused:
            await bus.publish(OTLP_SPANS, bytes(50_000), {})
        assert refused.value.retry_after > 0
        status = bus.status()
        assert MAX_BYTES - 60_000 < status.bytes_held <= status.bytes_allowed == MAX_BYTES
        assert (await read_all(bus))[-1].offset == last


async def test_consuming_makes_room_and_a_restart_knows_it(place: Place) -> None:
    async with place.bus() as bus:
        last = await fill(bus)
        await bus.consumed({Partition(OTLP_SPANS, 0): last + 1})
        assert bus.status().bytes_held == 0
        await bus.publish(OTLP_SPANS, bytes(50_000), {})
    async with place.bus() as bus:
        assert 50_000 <= bus.status().bytes_held < 60_000


async def test_a_full_bus_is_full_after_a_restart(place: Place) -> None:
    async with place.bus() as bus:
        last = await fill(bus)
    async with place.bus() as bus:
        with pytest.raises(BusFull):
            await bus.publish(OTLP_SPANS, bytes(50_000), {})
        assert bus.status().ends[Partition(OTLP_SPANS, 0)] == last + 1


async def test_consumed_messages_can_be_read_again(place: Place) -> None:
    async with place.bus() as bus:
        offsets = [await bus.publish(OTLP_SPANS, b"%d" % i, {}) for i in range(5)]
        await bus.consumed({Partition(OTLP_SPANS, 0): offsets[-1] + 1})
        await bus.publish(OTLP_SPANS, b"5", {})
        assert [int(message.value) for message in await read_all(bus)] == list(range(6))


async def test_an_oversize_message_is_refused_for_good(place: Place) -> None:
    async with place.bus() as bus:
        with pytest.raises(MessageTooLarge) as refused:
            await bus.publish(OTLP_SPANS, bytes(MAX_MESSAGE + 1), {})
        assert bus.max_message_bytes <= refused.value.limit <= MAX_MESSAGE
        # what cannot be compressed is the largest on the way
        value = random.randbytes(bus.max_message_bytes)
        await bus.publish(OTLP_LOGS, value, {"format": "x" * 100})
        (largest,) = await read_all(bus)
        assert largest.value == value


async def test_stopping_keeps_what_was_taken_and_refuses_the_rest(place: Place) -> None:
    async with place.bus() as bus:
        publishing = [asyncio.create_task(bus.publish(OTLP_SPANS, b"x", {})) for _ in range(50)]
        await asyncio.sleep(0)
        await bus.stop()
        await bus.stop()
        results = await asyncio.gather(*publishing, return_exceptions=True)
        with pytest.raises(BusUnavailable):
            await bus.publish(OTLP_SPANS, b"late", {})
    taken = [result for result in results if isinstance(result, int)]
    assert all(isinstance(r, int | BusUnavailable) for r in results)
    async with place.bus() as bus:
        assert [message.offset for message in await read_all(bus)] == sorted(taken)


async def test_a_publisher_that_went_away_disturbs_nobody(place: Place) -> None:
    async with place.bus() as bus:
        leaving = asyncio.create_task(bus.publish(OTLP_SPANS, b"gone", {}))
        staying = asyncio.create_task(bus.publish(OTLP_SPANS, b"here", {}))
        await asyncio.sleep(0)
        leaving.cancel()
        await staying
        assert b"here" in [message.value for message in await read_all(bus)]


async def fill(bus: Bus) -> int:
    """Publish until the bus is full; the offset of the last message that it took."""
    last = -1
    try:
        while True:
            last = await bus.publish(OTLP_SPANS, bytes(50_000), {})
    except BusFull:
        return last


async def test_nobody_is_kept_waiting_while_little_is_to_be_read(place: Place) -> None:
    async with place.bus() as bus:
        await bus.publish(OTLP_SPANS, b"little", {})
        await bus.ease()
        assert bus.status().paced_seconds == 0


async def test_what_is_set_aside_is_read_by_nobody_here(place: Place) -> None:
    async with place.bus() as bus:
        await bus.publish(OTLP_SPANS, b"poison", {})
        poison = await read_all(bus)
        await bus.set_aside([(message, {"reason": "truncated"}) for message in poison])
        assert await read_all(bus) == poison
        assert await bus.read({SPANS: poison[0].offset + 1}, max_bytes=1000, wait=0.1) == []
