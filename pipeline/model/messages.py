"""What travels on the bus: partitions, positions and messages."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Partition(NamedTuple):
    """One ordered log of a topic. The embedded bus has exactly one partition, 0, per topic."""

    topic: str
    number: int = 0


Positions = Mapping[Partition, int]
"""For each partition the offset of the next message to read."""


class OffsetRange(NamedTuple):
    """Messages of one partition: from the offset ``first`` to before the offset ``until``."""

    first: int
    until: int


Offsets = Mapping[Partition, OffsetRange]
"""For each partition a run of its messages."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message as read: where it stands, and the bytes and headers that were published."""

    partition: Partition
    offset: int
    value: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
