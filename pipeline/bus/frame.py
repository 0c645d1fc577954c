"""How a message lies in the log: the frame that is the value of its offset.

::

    1 byte    version of the frame (1)
    4 bytes   length of the headers, big-endian
    8 bytes   when it was stored, Unix nanoseconds, big-endian
    8 bytes   bytes of all frames of the topic before this one, big-endian
    headers   a JSON object of strings
    value     the message as published, to the end

The running sum of bytes makes "how much lies between two offsets" a subtraction, so a restart
counts nothing.
"""

import struct
from dataclasses import dataclass
from typing import Final, NamedTuple

import orjson

from pipeline.model.messages import Message, Partition

FRAME: Final = struct.Struct(">BIQQ")
"""What stands in front of headers and value."""

FRAME_VERSION: Final = 1


class Entry(NamedTuple):
    """One message to append: its topic, its headers as JSON, its value."""

    topic: str
    headers: bytes
    value: bytes

    @property
    def size(self) -> int:
        """Bytes of the frame that will be stored."""
        return FRAME.size + len(self.headers) + len(self.value)

    def frame(self, *, stored_at: int, bytes_before: int) -> bytes:
        """What is stored of it."""
        head = FRAME.pack(FRAME_VERSION, len(self.headers), stored_at, bytes_before)
        return b"".join((head, self.headers, self.value))


@dataclass(slots=True)
class Kept:
    """A kept message, which is copied out of the map only when it is taken.

    Attributes:
        topic: its topic.
        offset: its offset.
        frame: its frame, in the map.
    """

    topic: str
    offset: int
    frame: memoryview

    @property
    def stored_at(self) -> int:
        """When it was stored, Unix nanoseconds."""
        return stored_at(self.frame)

    def message(self) -> Message:
        """A copy of it, which outlives the look at the map."""
        _, length, _, _ = FRAME.unpack_from(self.frame)
        body = FRAME.size + length
        headers = orjson.loads(self.frame[FRAME.size : body])
        return Message(Partition(self.topic), self.offset, bytes(self.frame[body:]), headers)


def stored_at(frame: memoryview | bytes) -> int:
    """When a frame was stored, Unix nanoseconds."""
    moment: int = FRAME.unpack_from(frame)[2]
    return moment


def bytes_before(frame: memoryview | bytes) -> int:
    """Bytes of all frames of its topic before a frame."""
    before: int = FRAME.unpack_from(frame)[3]
    return before
