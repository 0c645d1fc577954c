"""The next record of each partition that is read, and what becomes of those that cannot be read."""

import asyncio
import contextlib
import logging
from collections.abc import Collection
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import (
    CorruptRecordException,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)

from pipeline.bus.kafka_client import describe
from pipeline.bus.kafka_read import Record
from pipeline.errors import BusUnavailable

log = logging.getLogger(__name__)

LOOK_AROUND: Final = 32
"""Messages after which it is looked whether older ones of other partitions came meanwhile."""

_AGAIN_SECONDS: Final = 0.02
_PROBE_MS: Final = 5000


class Heads:
    """Puts the records of several partitions in order: the oldest first.

    A partition that cannot be read on is stuck, and the others are read all the same. Records that
    will never be read are counted as lost.

    Args:
        retry_after: seconds after which a stuck partition may be tried again.

    Attributes:
        assignment: changes whenever partitions come or go; what was asked for before is no answer
            to anything after.
        lost_messages: records that were not read and never will be.
    """

    def __init__(self, retry_after: float) -> None:
        self._retry_after = retry_after
        self._heads: dict[TopicPartition, Record] = {}
        self._stuck: dict[TopicPartition, BusUnavailable] = {}
        self._counted: dict[TopicPartition, int] = {}
        self._told: dict[TopicPartition, str] = {}
        self._careful = False
        self.assignment = 0
        self.lost_messages = 0

    def forget(self) -> None:
        """Partitions came or went: nothing of before counts."""
        self.assignment += 1
        self._heads.clear()
        self._stuck.clear()

    def raise_stuck(self, consumer: AIOKafkaConsumer) -> None:
        """Raise what keeps a partition stuck, if one is; the next call tries it again."""
        if self._stuck:
            place, error = self._stuck.popitem()
            consumer.resume(place)
            raise error

    def go(self, consumer: AIOKafkaConsumer, place: TopicPartition, offset: int) -> None:
        """Read a partition on from an offset."""
        self._heads.pop(place, None)
        self._stuck.pop(place, None)
        consumer.seek(place, offset)
        consumer.resume(place)

    async def collect(
        self, consumer: AIOKafkaConsumer, before: int, *, max_bytes: int, give_up: float
    ) -> list[Record]:
        """Records oldest first, as far as they are at hand; waits for the first one only.

        Args:
            consumer: the consumer whose partitions they are.
            before: the ``assignment`` that they are of; with another nothing more is read.
            max_bytes: of values in all; the first record may be larger.
            give_up: when to wait no longer, by the clock of the event loop.
        """
        found: list[Record] = []
        size = 0
        while before == self.assignment:
            if len(found) % LOOK_AROUND == 0 or not self._heads:
                for place in consumer.assignment():
                    await self._look(consumer, place)
            if not self._heads:
                if found or not await self._wait(consumer, give_up):
                    break
                continue
            place = min(self._heads, key=lambda place: self._heads[place].timestamp)
            size += len(self._heads[place].value or b"")
            if found and size > max_bytes:
                break
            found.append(self._heads.pop(place))
            await self._look(consumer, place)
            await asyncio.sleep(0)  # unpacking takes its time: let others have a turn
        return found

    async def _look(self, consumer: AIOKafkaConsumer, place: TopicPartition) -> None:
        """Bring the next record of a partition to hand, where it was fetched already."""
        before = self.assignment
        if place in self._heads or place not in consumer.assignment():
            return
        try:
            records = await consumer.getmany(place, max_records=1)
        except OffsetOutOfRangeError as error:
            await self._out_of_range(consumer, place, error.args[0][place])
        except NoOffsetForPartitionError:
            return  # of an assignment that came meanwhile
        except UnicodeDecodeError as error:
            await self._skip(consumer, place, error)
        except CorruptRecordException as error:
            offset = await consumer.position(place)
            self._set_stuck(
                consumer,
                place,
                f"{in_words([place])} cannot be read at offset {offset}: {describe(error)}. If no "
                "replica is whole, delete the records before a later offset with kafka-delete-"
                "records; what is missing then is counted as lost",
            )
        else:
            if before == self.assignment:
                self._heads.update((place, record) for record in records.get(place, ()))

    async def _wait(self, consumer: AIOKafkaConsumer, give_up: float) -> bool:
        """Wait for a record of any partition; False when the time is over."""
        before = self.assignment
        places = consumer.assignment()
        left = give_up - asyncio.get_running_loop().time()
        if left <= 0:
            return False
        if not places:
            await asyncio.sleep(left)
            return False
        if self._careful:
            await asyncio.sleep(_AGAIN_SECONDS)
            return True
        try:
            records = await consumer.getmany(
                *places, timeout_ms=max(1, int(1000 * left)), max_records=1
            )
        except OffsetOutOfRangeError as error:
            ((place, offset),) = error.args[0].items()
            await self._out_of_range(consumer, place, offset)
        except NoOffsetForPartitionError:
            return False  # of an assignment that came meanwhile
        except (CorruptRecordException, UnicodeDecodeError):
            self._careful = True  # whose it is shows only when they are looked at singly
        else:
            if before == self.assignment:
                self._heads |= {place: record for place, (record,) in records.items()}
        return True

    async def _out_of_range(
        self, consumer: AIOKafkaConsumer, place: TopicPartition, offset: int
    ) -> None:
        before = self.assignment
        begin = (await consumer.beginning_offsets([place]))[place]
        end = (await consumer.end_offsets([place]))[place]
        if before != self.assignment:
            return
        if offset > end:
            self._set_stuck(
                consumer,
                place,
                f"{in_words([place])} ends at offset {end}, but the store has what was before "
                f"{offset}: the topic was made anew, or brokers lost data. Bring the old topic "
                "back, or give it another name (kafka_topic_prefix) and the store another place",
            )
            return
        if offset < begin:
            reason = (
                "were deleted by the topic's retention before they were read; read faster, or "
                "raise kafka_retention_seconds"
            )
            self._lose(place, offset, begin, reason)
        self.go(consumer, place, max(offset, begin))

    async def _skip(
        self, consumer: AIOKafkaConsumer, place: TopicPartition, error: UnicodeDecodeError
    ) -> None:
        """Go past a batch with a header key that is no UTF-8: it stays so, and nothing gets it out.

        The library gives up on the rest of such a batch without telling where it ends.
        """
        before = self.assignment
        self._careful = False
        first = await consumer.position(place)
        end = (await consumer.end_offsets([place]))[place]
        until = first + 1
        while until < end and before == self.assignment:
            consumer.seek(place, until)
            with contextlib.suppress(UnicodeDecodeError):
                records = await consumer.getmany(place, timeout_ms=_PROBE_MS, max_records=1)
                if before == self.assignment:
                    self._heads.update((place, record) for record in records.get(place, ()))
                break
            until += 1
        if before == self.assignment:
            self._lose(place, first, until, f"cannot be read: a header key is no UTF-8 ({error})")
            if until == end:
                self.go(consumer, place, end)

    def _lose(self, place: TopicPartition, first: int, until: int, reason: str) -> None:
        """Count messages that are not read, once, however often one comes to them."""
        lost = until - max(first, self._counted.get(place, first))
        self._counted[place] = max(until, self._counted.get(place, 0))
        if lost > 0:
            self.lost_messages += lost
            log.error("%s: %d messages from offset %d %s", in_words([place]), lost, first, reason)

    def _set_stuck(self, consumer: AIOKafkaConsumer, place: TopicPartition, reason: str) -> None:
        if self._told.get(place) != reason:
            log.error("%s", reason)
        self._told[place] = reason
        self._careful = False
        self._stuck[place] = BusUnavailable(reason, retry_after=self._retry_after)
        consumer.pause(place)


def in_words(places: Collection[TopicPartition]) -> str:
    """Partitions in words, for messages and logs."""
    numbers: dict[str, list[int]] = {}
    for place in sorted(places):
        numbers.setdefault(place.topic, []).append(place.partition)
    return ", ".join(
        f"{topic} partition{'s' if len(of) > 1 else ''} {' '.join(map(str, of))}"
        for topic, of in numbers.items()
    ) or "no partition"  # fmt: skip
