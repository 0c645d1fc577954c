"""Syslog messages out of a stream of bytes: frames by RFC 6587, headers by RFC 5424, leniently.

A frame that begins with a number and a space has that many bytes; any other ends with a line feed.
Both may come on one connection. What is too long is passed over, with no more of it held than the
limit. Nothing here reads sockets.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_COUNT: Final = re.compile(rb"[1-9][0-9]{0,9}(?: |\Z)")
_LONGEST_COUNT: Final = 11
_BETWEEN: Final = b"\r\n\0"
"""What may stand between frames: senders that end lines and count them, too."""

_HEADER: Final = re.compile(
    rb"<[0-9]{1,3}>[0-9]{1,3}(?: [!-~]++){5} "  # priority, version, time, host, app, process, id
    rb'(?:-|(?:\[[^ \]]++(?: [^ =\]]++="(?:[^"\\]|\\.)*+")*+\])++)'  # structured data
    rb"(?: (?:\xef\xbb\xbf)?|\Z)",
    re.DOTALL,
)
_PRIORITY: Final = re.compile(rb"<[0-9]{1,3}>")


@dataclass(frozen=True, slots=True)
class BadFrame:
    """A frame that was passed over; the reason is countable words."""

    reason: str


class Frames:
    """Cuts one connection's bytes into frames.

    Args:
        limit: the longest frame that is taken, in bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._left_out = 0  # bytes of a counted frame that are still to be passed over
        self._in_long_line = False

    def feed(self, data: bytes) -> Iterator[bytes | BadFrame]:
        """The frames that end in these bytes, without what frames them; read it to its end."""
        self._buffer += data
        while self._passed_over():
            self._skip_between()
            if not self._buffer:
                return
            counted = _COUNT.match(self._buffer)
            if counted and not counted[0].endswith(b" ") and len(counted[0]) < _LONGEST_COUNT:
                return  # the number may go on
            found = self._counted(counted[0]) if counted else self._line()
            if found is None:
                return
            yield found

    def end(self) -> Iterator[bytes | BadFrame]:
        """What the connection ended with: a last line without its end, or half a frame."""
        self._skip_between()
        unfinished, self._buffer = bytes(self._buffer), bytearray()
        if self._left_out or self._in_long_line or not unfinished:
            return  # told already
        if _COUNT.match(unfinished):
            yield BadFrame("connection ended in the middle of a frame")
        else:
            yield unfinished

    def _passed_over(self) -> bool:
        """Pass over the rest of what was too long; whether its end is reached."""
        if self._left_out:
            taken = min(self._left_out, len(self._buffer))
            del self._buffer[:taken]
            self._left_out -= taken
        if self._in_long_line:
            end = self._buffer.find(b"\n") + 1
            del self._buffer[: end or len(self._buffer)]
            self._in_long_line = not end
        return not self._left_out and not self._in_long_line

    def _skip_between(self) -> None:
        at = 0
        while at < len(self._buffer) and self._buffer[at] in _BETWEEN:
            at += 1
        del self._buffer[:at]

    def _counted(self, count: bytes) -> bytes | BadFrame | None:
        size, begin = int(count), len(count)
        if size > self._limit:
            self._left_out = begin + size
            return self._too_long()
        if len(self._buffer) < begin + size:
            return None
        return self._taken(begin, begin + size)

    def _line(self) -> bytes | BadFrame | None:
        end = self._buffer.find(b"\n")
        if max(end, 0) > self._limit or (end < 0 and len(self._buffer) > self._limit):
            self._in_long_line = True
            return self._too_long()
        return None if end < 0 else self._taken(0, end)

    def _taken(self, begin: int, end: int) -> bytes:
        frame = bytes(self._buffer[begin:end])
        del self._buffer[:end]
        return frame

    def _too_long(self) -> BadFrame:
        return BadFrame(f"frame longer than {self._limit} bytes")


def message_of(frame: bytes) -> bytes:
    """What a frame says behind its header, on one line; empty when it says nothing.

    A header is passed over that is one of RFC 5424, or, where it is any other, all before the first
    brace: MessageLogging documents neither whether nor how it writes one.
    """
    header = _HEADER.match(frame) or _PRIORITY.match(frame)
    message = frame[header.end() :] if header else frame
    brace = message.find(b"{")
    # line breaks within JSON stand between its tokens
    return message[max(brace, 0) :].translate(_SPACES).strip()


_SPACES: Final = bytes(0x20 if byte in b"\r\n\0" else byte for byte in range(256))
