"""What only the bus on Kafka promises: its topics, groups of readers, brokers that come and go."""

import asyncio
import json
import os
import signal
import sys
import textwrap
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from pipeline.bus import kafka as kafka_module
from pipeline.bus.kafka import KafkaBus
from pipeline.bus.settings import KafkaSettings
from pipeline.errors import BusFull, BusUnavailable, InvalidInput, PartitionsMoved
from pipeline.model.messages import Message, Partition
from pipeline.model.topics import OTLP_LOGS, OTLP_SPANS, RAW_TELEMETRY, TELEMETRY_DLQ, TOPICS

pytestmark = pytest.mark.anyio

SPANS = Partition(OTLP_SPANS)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass(frozen=True)
class Home:
    """Topics and a group that nobody else has; ``bus()`` opens them with any settings."""

    servers: tuple[str, ...]
    name: str

    def settings(self, **more: object) -> KafkaSettings:
        """Settings of its own, and more."""
        own = {"topic_prefix": f"{self.name}-", "group": self.name, "partitions": 1}
        return KafkaSettings.model_validate({"bootstrap_servers": self.servers} | own | more)

    @asynccontextmanager
    async def bus(self, *, member: bool = False, **more: object) -> AsyncIterator[KafkaBus]:
        """An open bus, a member of the group or alone."""
        bus = KafkaBus(self.settings(**more), group=self.name if member else None)
        await bus.start()
        try:
            yield bus
        finally:
            await bus.stop()

    def topic(self, name: str) -> str:
        """What Kafka calls a topic."""
        return f"{self.name}-{name}"

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        """Who may do anything."""
        admin = AIOKafkaAdminClient(bootstrap_servers=list(self.servers))
        await admin.start()
        try:
            yield admin
        finally:
            await admin.close()


@pytest.fixture
def home(kafka: tuple[str, ...]) -> Home:
    return Home(kafka, f"test-{uuid.uuid4().hex}")


async def read_until(bus: KafkaBus, count: int) -> list[Message]:
    """Read from the beginning until so many messages came, whatever partitions move meanwhile."""
    found: list[Message] = []
    at: dict[Partition, int] = {}
    async with asyncio.timeout(60):
        while len(found) < count:
            with suppress(PartitionsMoved):
                messages = await bus.read(at, max_bytes=1 << 20, wait=0.5)
                found += messages
                at |= {message.partition: message.offset + 1 for message in messages}
    return found


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - what it looks at knows no event
            await asyncio.sleep(0.02)


# topics


async def test_topics_are_made_as_the_settings_say(home: Home) -> None:
    async with home.bus(partitions=3, retention_seconds=7200, max_message_bytes=1 << 20):
        pass
    async with home.admin() as admin:
        topics = [home.topic(name) for name in (*TOPICS, TELEMETRY_DLQ)]
        described = await admin.describe_topics(topics)
        assert {topic["topic"]: len(topic["partitions"]) for topic in described} == dict.fromkeys(
            topics, 3
        )
        resource = ConfigResource(ConfigResourceType.TOPIC, home.topic(OTLP_SPANS))
        (answer,) = await admin.describe_configs([resource])
        found = {entry[0]: entry[1] for entry in answer.resources[0][4]}
        assert found["retention.ms"] == "7200000"
        assert found["compression.type"] == "producer"
        assert found["cleanup.policy"] == "delete"
        assert found["max.message.bytes"] == str(1 << 20)


async def test_topics_of_other_settings_are_refused_or_taken_as_they_are(home: Home) -> None:
    async with home.bus(partitions=2) as bus:
        usual = bus.max_message_bytes
    with pytest.raises(InvalidInput, match=r"otlp_spans, partitions: found 2, allowed: 3.*accept"):
        async with home.bus(partitions=3):
            pass
    with pytest.raises(InvalidInput, match=r"retention\.ms: found '259200000', allowed: 60000"):
        async with home.bus(partitions=2, retention_seconds=60):
            pass
    async with home.bus(topics="accept", retention_seconds=60, max_message_bytes=1 << 20) as bus:
        assert bus.max_message_bytes == usual
        await bus.publish(OTLP_SPANS, bytes(2 << 20), {})


async def test_a_cluster_that_cannot_have_the_topics_says_why(home: Home) -> None:
    with pytest.raises(InvalidInput, match=r"4 copies.*replication factor"):
        async with home.bus(replication_factor=4):
            pass


async def test_partitions_that_are_added_are_written_and_read(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_module, "REFRESH_TURNS", 1)
    async with home.bus() as bus:
        await bus.publish(OTLP_SPANS, b"before", {})
        assert [message.value for message in await read_until(bus, 1)] == [b"before"]
        async with home.admin() as admin:
            await admin.create_partitions({home.topic(OTLP_SPANS): NewPartitions(2)})
        await eventually(lambda: Partition(OTLP_SPANS, 1) in bus.status().ends)
        for _ in range(2):
            await bus.publish(OTLP_SPANS, b"after", {})
        found = await read_until(bus, 3)
        assert {message.partition.number for message in found} == {0, 1}


async def test_a_producer_that_the_brokers_refuse_for_good_is_replaced(home: Home) -> None:
    async with home.bus(publish_timeout_seconds=5) as bus:
        for _ in range(3):
            await bus.publish(OTLP_SPANS, b"x", {})
        # brokers forget the numbers that an idempotent producer counts by with the topic
        async with home.admin() as admin:
            topic = home.topic(OTLP_SPANS)
            await admin.delete_topics([topic])
            await eventually_async(lambda: made(admin, topic))
        async with asyncio.timeout(60):
            while True:
                with suppress(BusUnavailable):
                    assert await bus.publish(OTLP_SPANS, b"y", {}) == 0
                    break
        for offset in range(1, 4):
            assert await bus.publish(OTLP_SPANS, b"y", {}) == offset


async def made(admin: AIOKafkaAdminClient, topic: str) -> bool:
    """Make a topic; false while the brokers still delete the one of the same name."""
    answer = await admin.create_topics([NewTopic(topic, 1, 1)])
    return answer.topic_errors[0][1] == 0


async def eventually_async(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await holds():  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.05)


async def test_a_topic_of_another_name_is_refused(home: Home) -> None:
    async with home.bus() as bus:
        with pytest.raises(InvalidInput, match="otlp_spans"):
            await bus.publish("other", b"", {})
        assert await bus.fetch(Partition("other"), 0, 1, max_bytes=1) == []


# what others write, and what others read


async def test_messages_of_other_programs_are_read(home: Home) -> None:
    async with home.bus() as bus:
        producer = AIOKafkaProducer(bootstrap_servers=list(home.servers))
        await producer.start()
        topic = home.topic(OTLP_SPANS)
        await producer.send_and_wait(topic, b"no headers")
        await producer.send_and_wait(topic, None, key=b"a tombstone")
        await producer.send_and_wait(topic, b"odd", headers=[("a", b"\xff1"), ("b", "é".encode())])
        await producer.stop()
        found = await read_until(bus, 3)
    assert [(message.value, dict(message.headers)) for message in found] == [
        (b"no headers", {}),
        (b"", {}),
        (b"odd", {"a": "\\xff1", "b": "é"}),
    ]


async def test_what_is_set_aside_is_on_the_topic_for_it_with_reasons(home: Home) -> None:
    async with home.bus() as bus:
        await bus.publish(OTLP_SPANS, b"\x00poison", {"format": "otlp_traces", "source": "a"})
        (poison,) = await read_until(bus, 1)
        await bus.set_aside([(poison, {"reason": "truncated"})])
    consumer = AIOKafkaConsumer(
        home.topic(TELEMETRY_DLQ),
        bootstrap_servers=list(home.servers),
        auto_offset_reset="earliest",
    )
    await consumer.start()
    record = await consumer.getone()
    await consumer.stop()
    assert record.value == b"\x00poison"
    assert dict(record.headers) == {
        "format": b"otlp_traces",
        "source": b"a",
        "reason": b"truncated",
    }


# positions that brokers do not have


async def test_messages_lost_to_retention_are_counted_once_and_reading_goes_on(home: Home) -> None:
    async with home.bus() as bus:
        for number in range(10):
            await bus.publish(OTLP_SPANS, b"%d" % number, {})
        async with home.admin() as admin:
            place = TopicPartition(home.topic(OTLP_SPANS), 0)
            await admin.delete_records({place: RecordsToDelete(before_offset=7)})
        for _ in range(2):
            found = await bus.read({SPANS: 4}, max_bytes=1000, wait=10)
            assert [int(message.value) for message in found] == [7, 8, 9]
            assert bus.status().lost_messages == 3
        # what nobody had begun to read is not missed
        assert [int(message.value) for message in await read_until(bus, 3)] == [7, 8, 9]
        assert bus.status().lost_messages == 3


async def test_a_position_past_the_end_is_refused_while_other_partitions_are_read(
    home: Home,
) -> None:
    async with home.bus() as bus:
        await bus.publish(OTLP_SPANS, b"of the new topic", {})
        at = {SPANS: 1000}
        with pytest.raises(BusUnavailable, match=r"ends at offset 1, .* before 1000: .*anew"):
            await bus.read(at, max_bytes=1000, wait=1)
        await bus.publish(OTLP_LOGS, b"a log", {})
        (message,) = await bus.read(at, max_bytes=1000, wait=10)
        assert message.value == b"a log"
        at[message.partition] = 1
        with pytest.raises(BusUnavailable, match="anew"):
            await bus.read(at, max_bytes=1000, wait=1)
        (message,) = await bus.read({**at, SPANS: 0}, max_bytes=1000, wait=10)
        assert message.value == b"of the new topic"


# lag


async def test_a_bus_that_never_reads_knows_what_the_group_has_not_read(home: Home) -> None:
    bounds = {"max_lag_bytes": 500_000, "pace_bytes": 200_000, "pace_seconds": 60}
    async with home.bus(**bounds) as collector, home.bus(**bounds) as other:
        for _ in range(6):
            await other.publish(OTLP_SPANS, bytes(50_000), {})
        await eventually(lambda: collector.status().bytes_held == 300_000)
        for _ in range(4):
            await collector.publish(OTLP_SPANS, bytes(50_000), {})
        with pytest.raises(BusFull, match="kafka_max_lag_bytes"):
            await collector.publish(OTLP_SPANS, bytes(50_000), {})
        easing = asyncio.create_task(collector.ease())
        await asyncio.sleep(0.05)
        assert not easing.done()
        await other.consumed({SPANS: 8})
        await asyncio.wait_for(easing, 30)
        assert collector.status().bytes_held == 100_000
        assert collector.status().paced_seconds > 0


async def test_answers_are_held_back_no_longer_than_stated(home: Home) -> None:
    async with home.bus(pace_bytes=1000, pace_seconds=0.05) as bus:
        await bus.publish(OTLP_SPANS, bytes(50_000), {})
        await bus.ease()
        assert bus.status().paced_seconds >= 0.05


# groups of readers


async def share(bus: KafkaBus, *, among: int) -> set[int]:
    """Read until this reader has its share of four partitions; which partitions it reads."""
    found: set[int] = set()
    async with asyncio.timeout(60):
        while True:
            with suppress(PartitionsMoved):
                messages = await bus.read({}, max_bytes=1 << 20, wait=0.5)
                found = {message.partition.number for message in messages}
                if len(found) == 4 // among:
                    return found


async def test_readers_of_a_group_share_the_partitions(home: Home) -> None:
    shared = {"partitions": 4, "session_timeout_seconds": 5}
    async with home.bus(member=True, **shared) as first:
        for number in range(40):
            await first.publish(OTLP_SPANS, b"%d" % number, {})
        with pytest.raises(PartitionsMoved, match=r"otlp_spans partitions 0 1 2 3"):
            await first.read({}, max_bytes=1000, wait=30)
        assert await share(first, among=1) == {0, 1, 2, 3}
        async with home.bus(member=True, **shared) as second:
            mine, theirs = await asyncio.gather(share(first, among=2), share(second, among=2))
            assert mine | theirs == {0, 1, 2, 3}
        # one that leaves in order is replaced at once
        began = time.monotonic()
        assert await share(first, among=1) == {0, 1, 2, 3}
        assert time.monotonic() - began < 5


async def test_partitions_are_kept_until_what_was_read_is_stored(home: Home) -> None:
    shared = {"partitions": 2, "handover_seconds": 30, "session_timeout_seconds": 10}
    async with home.bus(member=True, **shared) as first:
        await first.publish(OTLP_SPANS, b"x", {})
        (message,) = await read_until(first, 1)
        async with home.bus(member=True, **shared) as second:
            joining = asyncio.create_task(read_moved(second))
            await asyncio.sleep(3)
            assert not joining.done()
            await first.consumed({message.partition: message.offset + 1})
            rejoining = asyncio.create_task(read_moved(first))
            await asyncio.wait_for(asyncio.gather(joining, rejoining), 30)


async def read_moved(bus: KafkaBus) -> None:
    with suppress(PartitionsMoved):
        while True:
            await bus.read({}, max_bytes=1000, wait=0.5)


MEMBER = textwrap.dedent("""
    import asyncio, json, sys
    from pipeline.bus.kafka import KafkaBus
    from pipeline.bus.settings import KafkaSettings
    from pipeline.errors import PartitionsMoved

    async def main():
        settings = KafkaSettings.model_validate_json(sys.argv[1])
        bus = KafkaBus(settings, group=settings.group)
        await bus.start()
        at = {}
        while True:
            try:
                messages = await bus.read(at, max_bytes=1000, wait=0.2)
            except PartitionsMoved:
                print(json.dumps("moved"), flush=True)
                continue
            for message in messages:
                at[message.partition] = message.offset + 1
                print(json.dumps(message.value.decode()), flush=True)

    asyncio.run(main())
""")


@asynccontextmanager
async def member(settings: KafkaSettings) -> AsyncIterator[asyncio.subprocess.Process]:
    """A reader of the group in a process of its own, which tells what it reads."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", MEMBER, settings.model_dump_json()),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONPATH": "."},
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def told(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return json.loads(await asyncio.wait_for(process.stdout.readline(), 60))


async def test_a_reader_that_dies_is_replaced(home: Home) -> None:
    settings = home.settings(session_timeout_seconds=1)
    async with home.bus(member=True, session_timeout_seconds=1) as bus:
        async with member(settings) as process:
            await bus.publish(OTLP_SPANS, b"x", {})
            assert [await told(process), await told(process)] == ["moved", "x"]
        assert [message.value for message in await read_until(bus, 1)] == [b"x"]


async def test_a_reader_that_slept_past_its_session_is_told_that_partitions_moved(
    home: Home,
) -> None:
    settings = home.settings(session_timeout_seconds=1)
    async with home.bus(member=True, session_timeout_seconds=1) as bus, member(settings) as process:
        await bus.publish(OTLP_SPANS, b"before", {})
        assert [await told(process), await told(process)] == ["moved", "before"]
        process.send_signal(signal.SIGSTOP)
        # this one takes over, and leaves again
        assert [message.value for message in await read_until(bus, 1)] == [b"before"]
        await bus.publish(OTLP_SPANS, b"meanwhile", {})
        await bus._reader.stop()
        process.send_signal(signal.SIGCONT)
        # before it knows it may read what is no longer its own: that is the store's to refuse
        assert {await told(process), await told(process)} == {"moved", "meanwhile"}
        await bus.publish(OTLP_SPANS, b"after", {})
        assert await told(process) == "after"


async def test_nothing_of_a_topic_that_others_made_is_needed(home: Home) -> None:
    """The topics of an OpenTelemetry installation: of any number of partitions, some missing."""
    async with home.admin() as admin:
        await admin.create_topics([NewTopic(home.topic(OTLP_SPANS), 6, 1)])
    async with home.bus(topics="accept") as bus:
        # Kafka's own limit of 1 MiB, less headers and what compression may add
        assert 1_000_000 < bus.max_message_bytes < 1 << 20
        for _ in range(6):
            await bus.publish(OTLP_SPANS, b"x", {})
        await bus.publish(RAW_TELEMETRY, b"y", {})
        found = await read_until(bus, 7)
        assert {message.partition.number for message in found} == set(range(6))
