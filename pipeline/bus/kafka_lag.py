"""How much waits to be read: kept from what this process does, corrected by asking the brokers."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from pipeline.model.messages import Partition, Positions

_MEMORY: Final = 1000
"""Messages over which the mean size is taken, about."""


class Lag:
    """Messages between what the group has read and the ends, in bytes by their mean size."""

    def __init__(self) -> None:
        self._ends: dict[Partition, int] = {}
        self._read: dict[Partition, int] = {}
        self._sizes: defaultdict[str, tuple[int, float]] = defaultdict(lambda: (0, 0.0))
        self._fresh_ends: dict[Partition, int] = {}
        self._fresh_read: dict[Partition, int] = {}

    @property
    def ends(self) -> Positions:
        """The end of each partition, as far as it is known."""
        return dict(self._ends)

    @property
    def bytes(self) -> int:
        """Bytes that were not read yet, about."""
        return round(
            sum(
                max(0, end - self._read.get(partition, end)) * self._sizes[partition.topic][1]
                for partition, end in self._ends.items()
            )
        )

    def published(self, partition: Partition, offset: int, size: int) -> None:
        """A message was stored at an offset; an offset below 0 is one that nobody told."""
        self.sized(partition.topic, size)
        if offset >= self._ends.get(partition, 0):
            self._ends[partition] = self._fresh_ends[partition] = offset + 1
            self._read.setdefault(partition, offset)

    def sized(self, topic: str, size: int) -> None:
        """A message of a topic has so many bytes."""
        seen, mean = self._sizes[topic]
        seen = min(seen + 1, _MEMORY)
        self._sizes[topic] = (seen, mean + (size - mean) / seen)

    def consumed(self, positions: Positions) -> None:
        """Everything before these positions is in the store."""
        self._read |= positions
        self._fresh_read |= positions

    def asking(self) -> None:
        """The brokers are about to be asked: what happens from now on is newer than the answer."""
        self._fresh_ends.clear()
        self._fresh_read.clear()

    def answered(self, ends: Mapping[Partition, int], read: Mapping[Partition, int]) -> None:
        """The brokers' answer: the ends, and where the group (or the oldest message) stands."""
        fresh = self._fresh_ends
        self._ends = {
            partition: max(end, fresh.get(partition, end)) for partition, end in ends.items()
        }
        self._read = {**read, **self._fresh_read}

    def unsized(self) -> dict[str, Partition]:
        """Topics of whose messages no size is known, each with a partition that has unread ones."""
        return {
            partition.topic: partition
            for partition, end in self._ends.items()
            if end > self._read.get(partition, end) and not self._sizes[partition.topic][0]
        }
