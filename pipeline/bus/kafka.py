"""The bus on Kafka: durable when all in-sync replicas have it, shared by many processes.

Each part is a module: topics (``kafka_topics.py``), publishing (``kafka_produce.py``), reading on
(``kafka_consume.py``, ``kafka_heads.py``), looking up (``kafka_read.py``), what waits to be read
(``kafka_lag.py``).
"""

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from typing import Final

from aiokafka.errors import KafkaError

from pipeline.bus.kafka_client import Connection, describe
from pipeline.bus.kafka_consume import Reader
from pipeline.bus.kafka_lag import Lag
from pipeline.bus.kafka_produce import Publisher
from pipeline.bus.kafka_read import Lookup
from pipeline.bus.kafka_topics import Topics
from pipeline.bus.port import BusStatus
from pipeline.bus.settings import KafkaSettings
from pipeline.errors import BusFull, BusUnavailable, InvalidInput, MessageTooLarge
from pipeline.model.messages import Message, Offsets, Partition, Positions
from pipeline.model.topics import TELEMETRY_DLQ, TOPICS

log = logging.getLogger(__name__)

WATCH_SECONDS: Final = 0.5
"""How often brokers are asked how much waits to be read."""

REFRESH_TURNS: Final = 40
"""Turns of watching after which it is looked for new partitions."""

RENEW_TURNS: Final = 3
"""Failed turns of watching after which connections are made anew, from the bootstrap servers."""

ASIDE_AT_ONCE: Final = 32

_FAILURES: Final = (KafkaError, OSError, TimeoutError, UnicodeDecodeError)
"""What the library raises; header keys that are no UTF-8 included."""


class KafkaBus:
    """The Bus port on Apache Kafka; see ``pipeline/bus/port.py`` for its promises.

    Durable is what all in-sync replicas acknowledged (``acks=all``); how many those must be is the
    topic's ``min.insync.replicas``. A message whose publisher was told ``BusUnavailable`` may be
    stored all the same, when its acknowledgement was lost with the broker; the error says so.

    Args:
        settings: where Kafka is, and how much may wait.
        group: shares the partitions with the other processes of this consumer group; None reads
            all of them. The offsets it notes at the brokers are of ``settings.group`` then.
        topics: the topics it carries and reads.

    Raises:
        InvalidInput: settings of the connection cannot be used.
    """

    def __init__(
        self, settings: KafkaSettings, *, group: str | None = None, topics: Sequence[str] = TOPICS
    ) -> None:
        self._settings = settings
        self._names = tuple(topics)
        self._topics = Topics(settings, topics)
        self._connection = Connection(settings)
        self._lag = Lag()
        self._lookup = Lookup(self._connection, self._topics, settings)
        self._reader = Reader(self._connection, self._topics, settings, group=group, names=topics)
        self._publisher: Publisher | None = None
        self._watching: asyncio.Task[None] | None = None
        self._eased = asyncio.Event()
        self._paced_seconds = 0.0
        self._away = ""

    @property
    def max_message_bytes(self) -> int:
        """Bytes that the value of one message may have, by the limits of the topics."""
        return self._topics.max_message_bytes

    async def start(self) -> None:
        """Connect, and make or check the topics.

        Raises:
            BusUnavailable: no broker can be used; says why and what to do.
            InvalidInput: a topic is other than the settings say.
        """
        if self._publisher is not None:
            return
        try:
            await self._topics.ensure(await self._lookup.admin())
            publisher = Publisher(self._connection, self._topics, self._settings, self._lag)
            await publisher.start()
            self._publisher = publisher
            await self._ask()
        except _FAILURES as error:
            await self.stop()
            raise await self._connection.unavailable(error) from error
        except BaseException:
            await self.stop()
            raise
        self._watching = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Wait for the acknowledgement of what was taken, leave the group, let go. Idempotent."""
        publisher, self._publisher = self._publisher, None
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})
            self._watching = None
        self._eased.set()
        if publisher is not None:
            await publisher.stop()
        await self._reader.stop()
        await self._lookup.stop()

    async def publish(self, topic: str, value: bytes, headers: Mapping[str, str]) -> int:
        """Store one message; returns its offset once all in-sync replicas have it.

        Raises:
            BusFull: too much waits to be read or sent; nothing was taken.
            BusUnavailable: not acknowledged within ``publish_timeout_seconds``. The message says
                whether it was certainly not stored, or may be.
            MessageTooLarge: the message is over the topic's limit.
            InvalidInput: the topic is not one of this bus.
        """
        if topic not in self._names:
            raise InvalidInput("topic", found=topic, allowed=", ".join(sorted(self._names)))
        publisher = self._open()
        if self._held + len(value) > self._settings.max_lag_bytes:
            raise BusFull(
                f"{self._held} bytes were published and not read yet, of "
                f"{self._settings.max_lag_bytes} (kafka_max_lag_bytes)",
                retry_after=self._settings.retry_after_seconds,
            )
        return await publisher.publish(topic, value, headers)

    async def ease(self) -> None:
        """Wait while more than ``pace_bytes`` are not read, at most ``pace_seconds``."""
        if self._publisher is None or not self._settings.pace_seconds or not self._behind:
            return
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._eased.clear()
        try:
            async with asyncio.timeout(self._settings.pace_seconds):
                await self._eased.wait()
        except TimeoutError:
            pass
        finally:
            self._paced_seconds += loop.time() - began

    async def read(self, positions: Positions, *, max_bytes: int, wait: float) -> Sequence[Message]:
        """The next messages after ``positions``, topics merged by the time of their arrival.

        Raises:
            PartitionsMoved: with a group, once after each change of its members, the first joining
                included, before any message.
            BusUnavailable: no broker can be used; or a partition cannot be read on, and the others
                have nothing. The message says what to do.
        """
        self._open()
        messages = await self._reader.read(positions, max_bytes=max_bytes, wait=wait)
        for message in messages:
            self._lag.sized(message.partition.topic, _weight(message))
        return messages

    async def span(self, since_ns: int, until_ns: int) -> Offsets:
        """Which kept messages arrived in a time, Unix nanoseconds; Kafka counts milliseconds."""
        self._open()
        try:
            return await self._lookup.span(self._partitions, since_ns, until_ns)
        except _FAILURES as error:
            raise await self._connection.unavailable(error) from error

    async def fetch(
        self, partition: Partition, first: int, until: int, *, max_bytes: int
    ) -> Sequence[Message]:
        """Kept messages of one partition from ``first`` to before ``until``."""
        self._open()
        if partition not in self._partitions:
            return []
        try:
            return await self._lookup.fetch(partition, first, until, max_bytes=max_bytes)
        except _FAILURES as error:
            raise await self._connection.unavailable(error) from error

    async def consumed(self, positions: Positions) -> None:
        """Note that everything before ``positions`` is in the store.

        The brokers are told too, for displays of lag and for the other processes' pace; when they
        cannot be, nothing is lost.
        """
        self._open()
        self._lag.consumed(positions)
        self._ease_off()
        await self._reader.consumed(positions)

    async def set_aside(self, messages: Sequence[tuple[Message, Mapping[str, str]]]) -> None:
        """Publish messages on ``telemetry_dlq``, with the headers that say why beside their own."""
        publisher = self._open()
        for begin in range(0, len(messages), ASIDE_AT_ONCE):
            await asyncio.gather(
                *(
                    _publish_aside(publisher, message, reasons)
                    for message, reasons in messages[begin : begin + ASIDE_AT_ONCE]
                )
            )

    def status(self) -> BusStatus:
        """Bytes not read yet (about) and waiting, their bound, and the end of each partition."""
        return BusStatus(
            self._held,
            self._settings.max_lag_bytes,
            self._lag.ends,
            self._paced_seconds,
            self._reader.lost_messages,
            self._away,
        )

    @property
    def _held(self) -> int:
        waiting = 0 if self._publisher is None else self._publisher.waiting_bytes
        return self._lag.bytes + waiting

    @property
    def _behind(self) -> bool:
        return self._held > self._settings.pace_bytes

    @property
    def _partitions(self) -> list[Partition]:
        return [
            Partition(name, number)
            for name in self._names
            for number in self._topics.partitions.get(name, ())
        ]

    def _open(self) -> Publisher:
        if self._publisher is None:
            raise BusUnavailable(
                "the bus is not open", retry_after=self._settings.retry_after_seconds
            )
        return self._publisher

    def _ease_off(self) -> None:
        if not self._behind:
            self._eased.set()

    async def _watch(self) -> None:
        """Keep the lag true to what other processes publish and read, for as long as it is open."""
        turn, failed = 0, 0
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            turn += 1
            try:
                if turn % REFRESH_TURNS == 0:
                    await self._topics.refresh(await self._lookup.admin())
                await self._ask()
            except (*_FAILURES, BusUnavailable) as error:
                failed += 1
                self._away = f"Kafka at {self._connection} does not answer: {describe(error)}"
                if failed == 1:
                    log.warning("%s", self._away)
                if failed % RENEW_TURNS == 0:
                    await self._lookup.stop()
            else:
                if failed:
                    log.info("Kafka at %s answers again", self._connection)
                failed, self._away = 0, ""

    async def _ask(self) -> None:
        lookup, partitions = self._lookup, self._partitions
        self._lag.asking()
        ends = await lookup.ends(partitions)
        read = await lookup.committed()
        untold = [partition for partition in partitions if partition not in read]
        if untold:
            read |= await lookup.begins(untold)
        self._lag.answered(ends, read)
        for partition in self._lag.unsized().values():
            await self._sample(partition, ends[partition])
        self._ease_off()

    async def _sample(self, partition: Partition, end: int) -> None:
        """Learn how large messages are from the youngest one, where it can be read."""
        with contextlib.suppress(*_FAILURES, BusUnavailable):
            for message in await self._lookup.fetch(partition, end - 1, end, max_bytes=1):
                self._lag.sized(partition.topic, _weight(message))


def _weight(message: Message) -> int:
    """Bytes of a message, as they are counted when it is published."""
    return len(message.value) + sum(len(key) + len(text) for key, text in message.headers.items())


async def _publish_aside(
    publisher: Publisher, message: Message, reasons: Mapping[str, str]
) -> None:
    try:
        await publisher.publish(TELEMETRY_DLQ, message.value, {**message.headers, **reasons})
    except MessageTooLarge as error:
        log.warning(
            "message %d of %s partition %d is not on %s: %s; the quarantine has it",
            message.offset,
            *message.partition,
            TELEMETRY_DLQ,
            error,
        )
