"""The Bus port: what collectors publish to and jobs read from, whatever stands behind it.

The promises, which the contract suite holds every implementation to:

* ``publish`` returns only when the message would survive ``kill -9`` and a power cut. Messages
  published by one caller to one topic are read in the order in which they were published.
* A full bus raises ``BusFull`` and has taken nothing; it never drops what it acknowledged, except
  by the stated retention of messages that were already read.
* ``read`` never changes what is stored: the reader owns its positions, and the same positions give
  the same messages for as long as retention keeps them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.model.messages import Message, Positions


@dataclass(frozen=True, slots=True)
class BusStatus:
    """What an operator wants to know of a bus.

    Attributes:
        bytes_held: bytes that were not yet consumed.
        bytes_allowed: the bound past which it refuses.
        ends: the end of each partition.
        paced_seconds: how long publishers were kept waiting by ``ease``, all of them together.
    """

    bytes_held: int
    bytes_allowed: int
    ends: Positions
    paced_seconds: float = 0.0


class Bus(Protocol):
    """A durable, ordered, replayable carrier of messages."""

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
        A partition absent from ``positions`` is read from its oldest kept message.
        """

    async def consumed(self, positions: Positions) -> None:
        """Tell the bus that everything before ``positions`` is in the store; retention may act."""

    def status(self) -> BusStatus:
        """A snapshot for metrics; never blocks."""
