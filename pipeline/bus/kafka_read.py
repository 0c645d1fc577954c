"""Reading records of Kafka: what a record is to us, and looking messages up by place and time."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from pipeline.bus.kafka_client import REQUEST_SECONDS, Connection, close_quietly
from pipeline.bus.kafka_topics import Topics
from pipeline.bus.settings import MIB, KafkaSettings
from pipeline.errors import BusUnavailable
from pipeline.model.messages import Message, OffsetRange, Offsets, Partition

FETCH_BYTES: Final = 8 * MIB
"""Compressed bytes of one partition that are fetched at once; a larger batch comes alone."""

Record = ConsumerRecord[bytes, bytes]

FETCH_WAIT_MS: Final = 200
"""How long a broker waits for a message; as long a jump to another offset can take."""

_AGAIN_SECONDS: Final = 0.1

_MS: Final = 1_000_000
"""Nanoseconds."""


def message(record: Record, topics: Topics) -> Message:
    """A record as a message: no value is an empty one, and headers become text whatever they hold.

    Of headers with the same key the last one counts.
    """
    return Message(
        Partition(topics.ours(record.topic), record.partition),
        record.offset,
        record.value or b"",
        {key: decode_header(value) for key, value in record.headers},
    )


def decode_header(value: bytes | None) -> str:
    r"""A header's value as text; bytes that are no UTF-8 are written out as ``\xff``."""
    return (value or b"").decode("utf-8", "backslashreplace")


def encode_header(text: str) -> bytes:
    """The bytes of a header's value."""
    return text.encode("utf-8", "backslashreplace")


class Lookup:
    """Asks brokers where things stand and reads single messages; disturbs no reader.

    Args:
        connection: makes clients.
        topics: the topics to look at.
        settings: whose group is asked for.
    """

    def __init__(self, connection: Connection, topics: Topics, settings: KafkaSettings) -> None:
        self._connection = connection
        self._topics = topics
        self._group = settings.group
        self._asker: AIOKafkaConsumer | None = None
        self._fetcher: AIOKafkaConsumer | None = None
        self._admin: AIOKafkaAdminClient | None = None
        self._coordinator: int | None = None
        self._opening = asyncio.Lock()
        self._fetching = asyncio.Lock()

    async def stop(self) -> None:
        """Close all connections; the next question opens new ones."""
        clients = (self._asker, self._fetcher, self._admin)
        self._asker = self._fetcher = self._admin = self._coordinator = None
        await asyncio.gather(*(close_quietly(client) for client in clients if client is not None))

    async def admin(self) -> AIOKafkaAdminClient:
        """An admin client that is connected; raises KafkaError when no broker answers."""
        async with self._opening:
            if self._admin is None:
                admin = self._connection.admin()
                try:
                    await admin.start()
                except BaseException:
                    await close_quietly(admin)
                    raise
                self._admin = admin
            return self._admin

    async def begins(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The oldest kept offset of each partition."""
        asker = await self._open_asker()
        return self._ours(await asker.beginning_offsets(self._real(partitions)))

    async def ends(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The offset that each partition's next message will have."""
        asker = await self._open_asker()
        return self._ours(await asker.end_offsets(self._real(partitions)))

    async def committed(self) -> dict[Partition, int]:
        """Where the group says it stands; partitions of which it has said something."""
        told = await self._group_offsets()
        return self._ours(
            {place: offset.offset for place, offset in told.items() if offset.offset >= 0}
        )

    async def _group_offsets(self) -> dict[TopicPartition, OffsetAndMetadata]:
        give_up = asyncio.get_running_loop().time() + REQUEST_SECONDS
        while True:
            try:
                return await self._ask_group()
            except KafkaError as error:
                # the first question of a cluster's life makes the topic that holds the answers
                if not error.retriable or asyncio.get_running_loop().time() > give_up:
                    raise
                await asyncio.sleep(_AGAIN_SECONDS)

    async def _ask_group(self) -> dict[TopicPartition, OffsetAndMetadata]:
        admin = await self.admin()
        try:
            if self._coordinator is None:
                self._coordinator = await admin.find_coordinator(self._group)
            return await admin.list_consumer_group_offsets(self._group, self._coordinator)
        except BaseException:
            self._coordinator = None  # it may have moved
            raise

    async def span(self, partitions: Sequence[Partition], since_ns: int, until_ns: int) -> Offsets:
        """Which kept messages were stored in a time; Kafka's times have milliseconds."""
        ends = await self.ends(partitions)
        first = await self._at(partitions, since_ns, ends)
        until = await self._at(partitions, until_ns, ends)
        return {
            partition: OffsetRange(first[partition], until[partition])
            for partition in partitions
            if first[partition] < until[partition]
        }

    async def _at(
        self, partitions: Sequence[Partition], time_ns: int, ends: Mapping[Partition, int]
    ) -> dict[Partition, int]:
        asker = await self._open_asker()
        at_ms = max(0, time_ns // _MS)
        found = await asker.offsets_for_times(dict.fromkeys(self._real(partitions), at_ms))
        told = {
            self._partition(place): place_and_time.offset
            for place, place_and_time in found.items()
            if place_and_time is not None
        }
        return {**ends, **told}

    async def fetch(
        self, partition: Partition, first: int, until: int, *, max_bytes: int
    ) -> Sequence[Message]:
        """Kept messages of one partition from ``first`` to before ``until``, within bytes."""
        begin = (await self.begins([partition]))[partition]
        end = (await self.ends([partition]))[partition]
        first, until = max(first, begin), min(until, end)
        if first >= until:
            return []
        async with self._fetching:
            fetcher = await self._open_fetcher()
            (place,) = self._real([partition])
            if fetcher.assignment() != {place}:
                fetcher.assign([place])
            fetcher.seek(place, first)
            fetcher.resume(place)
            try:
                return await self._collect(fetcher, place, until, max_bytes=max_bytes)
            finally:
                fetcher.pause(place)

    async def _collect(
        self, fetcher: AIOKafkaConsumer, place: TopicPartition, until: int, *, max_bytes: int
    ) -> list[Message]:
        found: list[Message] = []
        size = 0
        give_up = asyncio.get_running_loop().time() + REQUEST_SECONDS
        # the last offsets of a partition may be marks of transactions, which nobody gets to read
        while await fetcher.position(place) < until:
            records = await fetcher.getmany(place, timeout_ms=200, max_records=1)
            for record in records.get(place, ()):
                size += len(record.value or b"")
                if record.offset >= until or (found and size > max_bytes):
                    return found
                found.append(message(record, self._topics))
            if not records and asyncio.get_running_loop().time() > give_up:
                raise BusUnavailable(
                    f"Kafka at {self._connection}: no answer from {place.topic} partition "
                    f"{place.partition} within {REQUEST_SECONDS:g} s"
                )
        return found

    async def _open_asker(self) -> AIOKafkaConsumer:
        async with self._opening:
            if self._asker is None:
                self._asker = await self._consumer()
            return self._asker

    async def _open_fetcher(self) -> AIOKafkaConsumer:
        if self._fetcher is None:
            self._fetcher = await self._consumer(
                auto_offset_reset="earliest",
                max_partition_fetch_bytes=FETCH_BYTES,
                fetch_max_wait_ms=FETCH_WAIT_MS,
            )
        return self._fetcher

    async def _consumer(self, **arguments: object) -> AIOKafkaConsumer:
        consumer = self._connection.consumer(**arguments)
        try:
            await consumer.start()
        except BaseException:
            await close_quietly(consumer)
            raise
        return consumer

    def _real(self, partitions: Iterable[Partition]) -> list[TopicPartition]:
        return [TopicPartition(self._topics.real(topic), number) for topic, number in partitions]

    def _partition(self, place: TopicPartition) -> Partition:
        return Partition(self._topics.ours(place.topic), place.partition)

    def _ours(self, told: Mapping[TopicPartition, int]) -> dict[Partition, int]:
        return {self._partition(place): offset for place, offset in told.items()}
