"""Reading on from Kafka: alone or as one of a group, always from the positions of the store.

What the brokers have noted as a group's offsets is never read from: those are for displays of lag.
"""

import asyncio
import contextlib
import logging
from collections.abc import Collection, Sequence
from typing import Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import ConsumerStoppedError, KafkaError, NoOffsetForPartitionError

from pipeline.bus.kafka_client import Connection, close_quietly
from pipeline.bus.kafka_heads import Heads, in_words
from pipeline.bus.kafka_read import FETCH_BYTES, FETCH_WAIT_MS, message
from pipeline.bus.kafka_topics import Topics
from pipeline.bus.settings import KafkaSettings
from pipeline.errors import PartitionsMoved
from pipeline.model.messages import Message, Partition, Positions

log = logging.getLogger(__name__)

COMMIT_SECONDS: Final = 1.0
"""How long noting positions is waited for; they are for displays, and the next come soon."""

HEARTBEATS: Final = 5
"""Signs of life within a session."""


class Reader(ConsumerRebalanceListener):
    """Reads the partitions of this process, oldest messages first.

    Args:
        connection: makes consumers.
        topics: where to read, and which partitions there are.
        settings: bounds and times.
        group: shares the partitions with the others of this group; None reads all of them.
        names: the topics to read, as Meshweir calls them.
    """

    def __init__(
        self,
        connection: Connection,
        topics: Topics,
        settings: KafkaSettings,
        *,
        group: str | None,
        names: Sequence[str],
    ) -> None:
        self._connection = connection
        self._topics = topics
        self._settings = settings
        self._group = group
        self._names = tuple(names)
        self._consumer: AIOKafkaConsumer | None = None
        self._turn = asyncio.Lock()
        self._assigned = asyncio.Event()
        self._moved = False
        self._noting: asyncio.Future[None] | None = None
        self._stored = asyncio.Event()
        self._stored.set()
        self._place: dict[TopicPartition, int] = {}
        self._oldest: dict[TopicPartition, int] = {}
        self._heads = Heads(settings.retry_after_seconds)

    @property
    def lost_messages(self) -> int:
        """Messages that were not read and never will be."""
        return self._heads.lost_messages

    async def stop(self) -> None:
        """Leave the group, so that the others have the partitions at once. Idempotent."""
        self._stored.set()
        await self._close()

    async def read(self, positions: Positions, *, max_bytes: int, wait: float) -> Sequence[Message]:
        """The next messages after ``positions``; see ``Bus.read``.

        Raises:
            PartitionsMoved: as ``Bus.read``; also before the first message.
            BusUnavailable: Kafka cannot be reached; or a partition cannot be read on and none of
                the others has anything.
        """
        self._stored.set()
        give_up = asyncio.get_running_loop().time() + wait
        async with self._turn:
            try:
                messages = await self._read(positions, max_bytes=max_bytes, give_up=give_up)
            except (KafkaError, ConsumerStoppedError, OSError) as error:
                # whatever state its consumer is in, a new one is in none
                await self._close()
                raise await self._connection.unavailable(error) from error
        if messages:
            self._stored.clear()
        return messages

    async def consumed(self, positions: Positions) -> None:
        """Note positions at the brokers as well as can be; nothing depends on it."""
        self._stored.set()
        with contextlib.suppress(KafkaError, ConsumerStoppedError, OSError):
            if self._group is None:
                async with self._turn:
                    self._assign_all(await self._open())
            if self._consumer is not None:
                await self._note(self._consumer, positions)

    async def _note(self, consumer: AIOKafkaConsumer, positions: Positions) -> None:
        mine = consumer.assignment()
        offsets = {
            place: offset
            for partition, offset in positions.items()
            if (place := self._real(partition)) in mine
        }
        if offsets and (self._noting is None or self._noting.done()):
            # not cancelled when it takes longer: what the library does of it under a shield would
            # then fail with nobody to hear of it
            self._noting = asyncio.ensure_future(consumer.commit(offsets))
            self._noting.add_done_callback(_heard)
            await asyncio.wait({self._noting}, timeout=COMMIT_SECONDS)

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """Called by the library before partitions go: let what was read be stored first."""
        self._forget()
        self._assigned.clear()
        if revoked and not self._stored.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.handover_seconds):
                    await self._stored.wait()

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Called by the library when partitions came: nothing is read until the store was asked."""
        self._forget()
        if self._consumer is not None:
            self._consumer.pause(*assigned)
        self._moved = True
        self._assigned.set()
        log.info("reading %s", in_words(assigned))

    def _forget(self) -> None:
        self._heads.forget()
        self._place.clear()
        self._oldest.clear()

    async def _open(self) -> AIOKafkaConsumer:
        if self._consumer is not None:
            return self._consumer
        session = self._settings.session_timeout_seconds
        consumer = self._connection.consumer(
            # without a group of its own it still notes where it stands, unless others do
            group_id=self._group or self._settings.group,
            auto_offset_reset="none",
            session_timeout_ms=int(session * 1000),
            heartbeat_interval_ms=int(session * 1000 / HEARTBEATS),
            rebalance_timeout_ms=int(1000 * max(session, 2 * self._settings.handover_seconds)),
            fetch_max_wait_ms=FETCH_WAIT_MS,
            fetch_max_bytes=self._settings.max_fetch_bytes,
            max_partition_fetch_bytes=min(FETCH_BYTES, self._settings.max_fetch_bytes),
        )
        try:
            await consumer.start()
        except BaseException:
            await close_quietly(consumer)
            raise
        self._consumer = consumer
        if self._group is not None:
            names = [self._topics.real(name) for name in self._names]
            consumer.subscribe(names, listener=self)
        return consumer

    async def _close(self) -> None:
        consumer, self._consumer = self._consumer, None
        self._assigned.clear()
        self._forget()
        if consumer is not None:
            await close_quietly(consumer)
        if self._noting is not None:
            self._noting.cancel()
            self._noting = None

    async def _read(
        self, positions: Positions, *, max_bytes: int, give_up: float
    ) -> Sequence[Message]:
        consumer = await self._open()
        if self._group is None:
            self._assign_all(consumer)
        elif not await self._has_partitions(give_up):
            return []
        before = self._heads.assignment
        await self._seek(consumer, positions)
        found = await self._heads.collect(consumer, before, max_bytes=max_bytes, give_up=give_up)
        if before != self._heads.assignment:
            return []  # the next call says that they moved
        if not found:
            self._heads.raise_stuck(consumer)
        for record in found:
            self._place[TopicPartition(record.topic, record.partition)] = record.offset + 1
        return [message(record, self._topics) for record in found]

    async def _has_partitions(self, give_up: float) -> bool:
        """Whether this reader has its share; raises PartitionsMoved once for each new one."""
        assert self._consumer is not None  # noqa: S101 - it was just opened
        try:
            async with asyncio.timeout_at(give_up):
                await self._assigned.wait()
        except TimeoutError:
            # this raises what keeps the group from forming; where to read is not known yet
            with contextlib.suppress(TimeoutError, NoOffsetForPartitionError):
                async with asyncio.timeout(0):
                    await self._consumer.getmany()
            return False
        if self._moved:
            self._moved = False
            raise PartitionsMoved(f"this reader has {in_words(self._consumer.assignment())} now")
        return True

    def _assign_all(self, consumer: AIOKafkaConsumer) -> None:
        everything = {
            TopicPartition(self._topics.real(name), number)
            for name in self._names
            for number in self._topics.partitions[name]
        }
        if consumer.assignment() != everything:
            self._forget()
            consumer.assign(sorted(everything))
            consumer.pause(*everything)

    async def _seek(self, consumer: AIOKafkaConsumer, positions: Positions) -> None:
        """Go to where the caller stands, wherever that is not where the last messages ended."""
        before = self._heads.assignment
        mine = consumer.assignment()
        wanted: dict[TopicPartition, int] = {}
        absent: list[TopicPartition] = []
        for place in mine:
            position = positions.get(Partition(self._topics.ours(place.topic), place.partition))
            if position is not None:
                wanted[place] = position
            elif place not in self._oldest:
                absent.append(place)
            else:
                wanted[place] = self._oldest[place]
        if absent:
            begins = await consumer.beginning_offsets(absent)
            if before != self._heads.assignment:
                return
            self._oldest |= begins
            wanted |= begins
        for place, offset in wanted.items():
            if self._place.get(place) != offset:
                self._place[place] = offset
                self._heads.go(consumer, place, offset)

    def _real(self, partition: Partition) -> TopicPartition:
        return TopicPartition(self._topics.real(partition.topic), partition.number)


def _heard(noting: asyncio.Future[None]) -> None:
    """Take note of how it ended, whichever way."""
    if not noting.cancelled():
        noting.exception()
