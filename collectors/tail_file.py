"""One file that grows: its next whole lines, whether it is still the same, whether it is a copy."""

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final

from collectors.line_chunks import LINE_LIMIT
from collectors.tail_places import Pending, Place
from pipeline.decode.lines.container_lines import whole_until

HEAD_BYTES: Final = 1024
"""How many of its first bytes tell a file from another."""

CHUNK_BYTES: Final = LINE_LIMIT
"""The largest chunk, and so the longest line."""

_COMPRESSED: Final = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ")
_NEWLINE: Final = b"\n"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Whole lines of a file, from one offset to before another.

    ``text`` is empty for a line that is longer than is taken.
    """

    begin: int
    end: int
    text: bytes


class TailedFile:
    """A file that is open, and how far it was read.

    Args:
        file: opened for reading, in binary.
        place: how far it was read.
    """

    def __init__(self, file: BinaryIO, place: Place) -> None:
        self._file = file
        self.place = place

    @classmethod
    def open(cls, path: Path) -> "TailedFile":
        """Open a file of which nothing was read; raises OSError."""
        file = path.open("rb")
        found = os.fstat(file.fileno())
        return cls(file, Place(str(path), found.st_dev, found.st_ino))

    def close(self) -> None:
        """Let it go."""
        self._file.close()

    @property
    def size(self) -> int:
        """How large it is now."""
        return os.fstat(self._file.fileno()).st_size

    @property
    def is_compressed(self) -> bool:
        """Whether its first bytes say so."""
        return self._at(0, 6).startswith(_COMPRESSED)

    def holds(self, place: Place) -> bool:
        """Whether it has, before the offset of that place, what was read there."""
        if self.size < max(place.offset, place.head_size):
            return False
        return _hash(self._at(0, place.head_size)) == place.head if place.head else True

    def is_copy_of(self, place: Place) -> bool:
        """Whether it begins with what was read there, by so much that it is no chance."""
        return place.offset >= place.head_size == HEAD_BYTES and self.holds(place)

    def begin_again(self) -> None:
        """It was cut short: nothing of what it has now was read."""
        self.place = replace(self.place, offset=0, head_size=0, head="", pending=None)

    def next(self, *, is_last: bool = False) -> Chunk | None:
        """The next whole lines; None when there are none yet.

        A line that a container runtime writes in parts is waited for until the last of them is
        there, or a chunk is full.

        Args:
            is_last: whether nobody will write on, so that a last line needs no end.
        """
        begin = self.place.offset
        data = self._at(begin, CHUNK_BYTES)
        cut = whole_until(data)
        if not cut and (is_last or len(data) == CHUNK_BYTES):
            cut = data.rfind(_NEWLINE) + 1
        if cut:
            return Chunk(begin, begin + cut, data[:cut])
        if len(data) < CHUNK_BYTES:
            return Chunk(begin, begin + len(data), data + _NEWLINE) if data and is_last else None
        return self._too_long(begin, is_last=is_last)

    def header(self) -> bytes:
        """Its first line; empty while that has no end."""
        line, found, _ = self._at(0, CHUNK_BYTES).partition(_NEWLINE)
        return line + found if found else b""

    def learn_head(self) -> None:
        """Know the file by as much of its beginning as there is."""
        if self.place.head_size < HEAD_BYTES:
            head = self._at(0, HEAD_BYTES)
            self.place = replace(self.place, head_size=len(head), head=_hash(head))

    def trying(self, origin: str, until: int, at_ns: int) -> Place:
        """The place to keep before a chunk goes to the bus."""
        self.learn_head()
        self.place = replace(self.place, pending=Pending(origin, until, at_ns))
        return self.place

    def taken(self, until: int) -> None:
        """What is before ``until`` is on the bus, or was passed over."""
        self.place = replace(self.place, offset=until, pending=None)
        self.learn_head()

    def _too_long(self, begin: int, *, is_last: bool) -> Chunk | None:
        at = begin + CHUNK_BYTES
        while data := self._at(at, CHUNK_BYTES):
            end = data.find(_NEWLINE) + 1
            if end:
                return Chunk(begin, at + end, b"")
            at += len(data)
        return Chunk(begin, at, b"") if is_last else None

    def _at(self, offset: int, size: int) -> bytes:
        return os.pread(self._file.fileno(), size, offset)


def _hash(head: bytes) -> str:
    return hashlib.blake2b(head, digest_size=12).hexdigest()
