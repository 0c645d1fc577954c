"""The Bus port: what collectors publish to and jobs read from, whatever stands behind it.

The promises, which the contract suite holds every implementation to:

* ``publish`` returns only when the message would survive ``kill -9`` and a power cut. Messages
  that one caller published to one partition, one after the other, are read in that order.
* A full bus raises ``BusFull`` and has taken nothing; it never drops what it acknowledged, except
  by the stated retention of messages that were already read.
* ``read`` never changes what is stored: the reader owns its positions, and the same positions give
  the same messages for as long as retention keeps them.
* Several readers may share the partitions. Each is then told with ``PartitionsMoved`` when other
  partitions became its own; that a reader who lost one cannot store what it read before is the
  store's promise (``expected`` in ``pipeline/store/port.py``), not the bus's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.model.messages import Message, Offsets, Partition, Positions


@dataclass(frozen=True, slots=True)
class BusStatus:
    """What an operator wants to know of a bus.

    Attributes:
        bytes_held: bytes that were not yet consumed.
        bytes_allowed: the bound past which it refuses.
        ends: the end of each partition.
        paced_seconds: how long publishers were kept waiting by ``ease``, all of them together.
        lost_messages: messages that this reader did not get: retention was faster, or they cannot
            be read.
        away: why the other side does not answer just now; empty while it does.
    """

    bytes_held: int
    bytes_allowed: int
    ends: Positions
    paced_seconds: float = 0.0
    lost_messages: int = 0
    away: str = ""


class Bus(Protocol):
    """A durable, ordered, replayable carrier of messages."""

    @property
    def max_message_bytes(self) -> int:
        """Bytes that the value of one message may have; who has more to say cuts it."""

    async def start(self) -> None:
        """Open or connect; raises BusUnavailable with what to do when that fails."""

    async def stop(self) -> None:
        """Make everything accepted durable, then let go. Idempotent."""

    async def publish(self, topic: str, value: bytes, headers: Mapping[str, str]) -> int:
        """Store one message and return its offset once it is durable.

        Raises:
            BusFull: the bus holds all it may; nothing was taken.
            BusUnavailable: the bus does not answer; the message may not be stored.
            MessageTooLarge: this message can never be taken.
        """

    async def ease(self) -> None:
        """Return at once, or, when much waits to be read, once that is less; soon at any rate.

        Whoever publishes calls it before answering whom the message came from, so that senders who
        wait for answers send no faster than messages are read. Nothing depends on it.
        """

    async def read(self, positions: Positions, *, max_bytes: int, wait: float) -> Sequence[Message]:
        """Return the next messages after ``positions``, oldest first, at most about ``max_bytes``.

        Waits up to ``wait`` seconds for the first message; returns an empty sequence after that.
        A partition absent from ``positions`` is read from its oldest kept message. Only partitions
        that are this reader's are read, whatever ``positions`` names.

        Raises:
            PartitionsMoved: once after each change of which partitions are this reader's, before
                any message of a new one is returned.
        """

    async def span(self, since_ns: int, until_ns: int) -> Offsets:
        """Which kept messages were stored in a time, Unix nanoseconds; partitions with any."""

    async def fetch(
        self, partition: Partition, first: int, until: int, *, max_bytes: int
    ) -> Sequence[Message]:
        """Kept messages of any one partition from ``first`` to before ``until``, oldest first.

        At most about ``max_bytes``, at least one; empty when none of them is kept. Reading on with
        ``read`` is not disturbed.
        """

    async def consumed(self, positions: Positions) -> None:
        """Tell the bus that everything before ``positions`` is in the store; retention may act."""

    async def set_aside(self, messages: Sequence[tuple[Message, Mapping[str, str]]]) -> None:
        """Keep messages that could not be decoded where other programs see them.

        Each comes with headers that say why; value and own headers are kept as they were. A bus
        that no other program reads keeps none: the store's quarantine has them all.

        Raises:
            BusFull, BusUnavailable: as ``publish``; a message may be kept twice when tried again.
        """

    def status(self) -> BusStatus:
        """A snapshot for metrics; never blocks."""
