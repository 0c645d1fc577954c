"""Publishing to Kafka: bounded, batched by load, refused honestly, and back by itself.

Messages wait in lanes, one per partition. A lane sends one batch at a time: whatever came while the
last one was under way goes together, so nothing waits when little comes, and much goes in few
batches. A message that is still in its lane when its time is over was certainly not stored.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from aiokafka.structs import RecordMetadata

from pipeline.bus.kafka_client import Connection, close_quietly, describe
from pipeline.bus.kafka_lag import Lag
from pipeline.bus.kafka_read import encode_header
from pipeline.bus.kafka_topics import Topics
from pipeline.bus.settings import MIB, KafkaSettings
from pipeline.errors import BusFull, BusUnavailable, MeshweirError, MessageTooLarge
from pipeline.model.messages import Partition

log = logging.getLogger(__name__)

BATCH_BYTES: Final = 1 * MIB
"""Bytes of messages that go together in one batch, before compression."""

REQUEST_BYTES: Final = 64 * MIB
"""Bytes under way at once, about; a broker takes requests of 100 MB at most."""

RECONNECT_SECONDS: Final = 0.25


@dataclass(slots=True, eq=False)
class _Publication:
    """A message that waits for its acknowledgement; ``sent`` once it may have reached a broker."""

    value: bytes
    headers: list[tuple[str, bytes]]
    size: int
    deadline: float
    done: "asyncio.Future[int]"
    sent: bool = False

    @property
    def framed(self) -> int:
        """Bytes that it takes in a batch at most."""
        return self.size + 64 + 16 * len(self.headers)


@dataclass(slots=True, eq=False)
class _Lane:
    """What waits for one partition, and the task that sends it."""

    partition: Partition
    waiting: deque[_Publication] = field(default_factory=deque)
    bytes: int = 0
    task: "asyncio.Task[None] | None" = None


class Publisher:
    """Sends messages with acks=all, each at most once as far as this process can know.

    Args:
        connection: makes producers.
        topics: where messages may go, and how large they may be.
        settings: compression, bounds and times.
        lag: told of every message that was stored.
    """

    def __init__(
        self, connection: Connection, topics: Topics, settings: KafkaSettings, lag: Lag
    ) -> None:
        self._connection = connection
        self._topics = topics
        self._settings = settings
        self._lag = lag
        self._lanes: dict[Partition, _Lane] = {}
        self._turn = count()
        self._producer: AIOKafkaProducer | None = None
        self._connecting = asyncio.Lock()
        limit = max(map(topics.limit, topics.partitions))
        self._batch_bytes = min(BATCH_BYTES, *map(topics.limit, topics.partitions))
        self._under_way = asyncio.Semaphore(max(1, REQUEST_BYTES // max(limit, BATCH_BYTES)))
        self._closing: set[asyncio.Task[None]] = set()
        self._away = ""
        self._open = True
        self.waiting_bytes = 0

    async def start(self) -> None:
        """Connect; raises KafkaError when no broker answers."""
        self._producer = await self._connect()

    async def stop(self) -> None:
        """Wait for what was taken, as long as it may take, and refuse more."""
        self._open = False
        tasks = [lane.task for lane in self._lanes.values() if lane.task is not None]
        if tasks:
            # publishers give up by themselves, and a lane ends when nobody waits in it
            await asyncio.wait(tasks, timeout=2 * self._settings.publish_timeout_seconds)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if self._producer is not None:
            self._retire(self._producer)
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def publish(self, topic: str, value: bytes, headers: Mapping[str, str]) -> int:
        """Store one message; returns its offset once all in-sync replicas have it.

        Raises:
            BusFull: too much waits already; nothing was taken.
            BusUnavailable: no acknowledgement in time. The message says whether it was never sent,
                or may be stored all the same.
            MessageTooLarge: the message is over the topic's limit.
        """
        encoded = [(key, encode_header(text)) for key, text in headers.items()]
        size = len(value) + sum(len(key) + len(text) for key, text in encoded)
        self._refuse(topic, size)
        loop = asyncio.get_running_loop()
        seconds = self._settings.publish_timeout_seconds
        item = _Publication(value, encoded, size, loop.time() + seconds, loop.create_future())
        lane = self._join(topic, item)
        try:
            async with asyncio.timeout(seconds):
                return await item.done
        except TimeoutError:
            fate = "it may be stored all the same" if item.sent else "it was not stored"
            raise self._unavailable(f"no acknowledgement within {seconds:g} s; {fate}") from None
        finally:
            if not item.sent:
                self._leave(lane, item)

    def _refuse(self, topic: str, size: int) -> None:
        """Raise when a message cannot be taken now, or never."""
        if not self._open:
            raise self._unavailable("the bus is stopped")
        limit = self._topics.limit(topic)
        if size > limit:
            raise MessageTooLarge(size=size, limit=limit)
        # a single message always fits: an idle bus must take whatever its topics allow
        if self.waiting_bytes and self.waiting_bytes + size > self._settings.max_waiting_bytes:
            if self._away:
                raise self._unavailable(self._away)
            raise BusFull(
                f"{self.waiting_bytes} bytes wait for Kafka already",
                retry_after=self._settings.retry_after_seconds,
            )

    def _unavailable(self, reason: str) -> BusUnavailable:
        return BusUnavailable(
            f"Kafka at {self._connection}: {reason}", retry_after=self._settings.retry_after_seconds
        )

    def _join(self, topic: str, item: _Publication) -> _Lane:
        """Put a message in the shortest lane of its topic; equal ones take turns."""
        numbers = self._topics.partitions[topic]
        turn = next(self._turn) % len(numbers)
        lanes = [self._lane(Partition(topic, number)) for number in numbers]
        lane = min((*lanes[turn:], *lanes[:turn]), key=lambda lane: lane.bytes)
        lane.waiting.append(item)
        self._grow(lane, item.size)
        if lane.task is None or lane.task.done():
            lane.task = asyncio.create_task(self._send_all(lane))
        return lane

    def _lane(self, partition: Partition) -> _Lane:
        if partition not in self._lanes:
            self._lanes[partition] = _Lane(partition)
        return self._lanes[partition]

    def _leave(self, lane: _Lane, item: _Publication) -> None:
        with suppress(ValueError):
            lane.waiting.remove(item)
            self._grow(lane, -item.size)

    def _grow(self, lane: _Lane, size: int) -> None:
        lane.bytes += size
        self.waiting_bytes += size

    async def _send_all(self, lane: _Lane) -> None:
        while lane.waiting:
            producer = await self._connected()
            if producer is None:
                await asyncio.sleep(RECONNECT_SECONDS)
                continue
            async with self._under_way:
                batch = self._take(lane)
                if batch:
                    await self._deliver(producer, lane, batch)
                    self._grow(lane, -sum(item.size for item in batch))

    def _take(self, lane: _Lane) -> list[_Publication]:
        batch: list[_Publication] = []
        size = 0
        while lane.waiting and (not batch or size + lane.waiting[0].framed <= self._batch_bytes):
            item = lane.waiting.popleft()
            item.sent = True
            size += item.framed
            batch.append(item)
        return batch

    async def _deliver(
        self, producer: AIOKafkaProducer, lane: _Lane, batch: Sequence[_Publication]
    ) -> None:
        try:
            async with asyncio.timeout_at(max(item.deadline for item in batch)):
                placed = await self._send(producer, lane.partition, batch)
        except MessageSizeTooLargeError as error:
            self._replace(producer, error)
            _fail(batch, self._too_large(batch))
        except (KafkaError, OSError, TimeoutError) as error:
            # a producer whose batch failed has a gap in its sequence, and one whose batch is late
            # would go on and store what its publisher was told is not
            self._replace(producer, error)
            reason = f"{describe(error)}; the message may be stored all the same"
            _fail(batch, self._unavailable(reason))
        else:
            self._tell_back()
            for place, item in enumerate(batch):
                self._lag.published(lane.partition, placed.offset + place, item.size)
                if not item.done.done():
                    item.done.set_result(placed.offset + place)

    async def _send(
        self, producer: AIOKafkaProducer, partition: Partition, batch: Sequence[_Publication]
    ) -> RecordMetadata:
        topic = self._topics.real(partition.topic)
        if partition.number not in await producer.partitions_for(topic):
            await producer.client.force_metadata_update()
            if partition.number not in await producer.partitions_for(topic):
                raise KafkaError(f"partition {partition.number} of {topic} is not to be seen yet")
        builder = producer.create_batch()
        for item in batch:
            appended = builder.append(
                timestamp=None, key=None, value=item.value, headers=item.headers
            )
            assert appended is not None  # noqa: S101 - batches are cut to half of what fits
        builder.close()
        acknowledged = await producer.send_batch(builder, topic, partition=partition.number)
        placed: RecordMetadata = await acknowledged
        return placed

    def _too_large(self, batch: Sequence[_Publication]) -> MeshweirError:
        if len(batch) == 1:
            size = batch[0].size
            return MessageTooLarge(size=size, limit=size - 1, what="message for the broker")
        return self._unavailable("max.message.bytes of a topic was lowered: start again to read it")

    async def _connected(self) -> AIOKafkaProducer | None:
        """The producer, a new one where there is none; None when no broker answers."""
        async with self._connecting:
            if self._producer is None:
                try:
                    self._producer = await self._connect()
                except (KafkaError, OSError, TimeoutError) as error:
                    self._tell_away(error)
        return self._producer

    async def _connect(self) -> AIOKafkaProducer:
        compression = self._settings.compression
        producer = self._connection.producer(
            acks="all",
            enable_idempotence=True,
            compression_type=None if compression == "none" else compression,
            max_batch_size=2 * self._batch_bytes,  # the batches are cut by us, headers included
        )
        try:
            async with asyncio.timeout(self._settings.publish_timeout_seconds):
                await producer.start()
        except BaseException:
            await close_quietly(producer)
            raise
        return producer

    def _replace(self, producer: AIOKafkaProducer, error: BaseException) -> None:
        """Use it no more; other lanes that it serves are done or late within their own times."""
        self._tell_away(error)
        if self._producer is producer:
            self._producer = None
            self._retire(producer)

    def _tell_away(self, error: BaseException) -> None:
        if not self._away:
            log.warning("Kafka at %s: %s; trying again", self._connection, describe(error))
        self._away = describe(error)

    def _tell_back(self) -> None:
        if self._away:
            log.info("Kafka at %s takes messages again", self._connection)
        self._away = ""

    def _retire(self, producer: AIOKafkaProducer) -> None:
        closing = asyncio.create_task(_abandon(producer))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)


def _fail(batch: Sequence[_Publication], error: MeshweirError) -> None:
    for item in batch:
        if not item.done.done():
            item.done.set_exception(error)


async def _abandon(producer: AIOKafkaProducer) -> None:
    """End a producer without waiting for what it has: an idempotent one tries for ever."""
    sending = producer._sender.sender_task  # noqa: SLF001 - stop() would wait until all is sent
    if sending is not None:
        sending.cancel()
        await asyncio.wait({sending})
    producer._closed = True  # noqa: SLF001 - as stop() does
    await producer.client.close()
