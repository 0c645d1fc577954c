"""Files of lines: cut into chunks of whole lines, and brought past the door chunk by chunk.

Lines that a container runtime wrote in parts are whole in a chunk, unless they are longer than it.

A chunk is one message on the bus. Memory is bounded by one chunk, whatever the file; what is bad in
a chunk is told with its line and goes along with what is good, so that the decoder sets it aside.
"""

import io
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from collectors.pieces import MESSAGE_BYTES, Fault, Piece
from pipeline.decode.gates.line_gate import admit_lines, line_format
from pipeline.decode.lines.container_lines import Opened, opened, whole_until
from pipeline.decode.privacy.masking import MaskedKeys
from pipeline.model.pods import ContainerLog

CHUNK_BYTES: Final = MESSAGE_BYTES - (1 << 14)
"""The largest chunk; with its headers it still is a message of less than ``MESSAGE_BYTES``."""
LINE_LIMIT: Final = 512 << 10
"""The longest line that is taken, in bytes; all that is longer is passed over and told."""

_READ: Final = 256 << 10
_NEWLINE: Final = b"\n"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some lines of a file.

    Attributes:
        line: number of the first of them, from 1.
        text: whole lines, each with its end; empty when the line is longer than is taken.
    """

    line: int
    text: bytes


def chunks(
    stream: BinaryIO, *, size: int = CHUNK_BYTES, limit: int = LINE_LIMIT
) -> Iterator[Chunk]:
    """Cut a stream into chunks of at most ``size`` bytes; a line has at most ``limit`` of them."""
    rest, line = b"", 1
    while read := stream.read(min(_READ, size)):
        rest += read
        while len(rest) >= size:
            end = _end(rest[:size])
            if not end:
                rest, ended = _passed_over(rest, stream)
                yield Chunk(line, b"")
                line += 1
                if not ended:
                    return
                continue
            yield from _within(Chunk(line, rest[:end]), limit)
            line += rest.count(_NEWLINE, 0, end)
            rest = rest[end:]
    if rest:
        whole = rest if rest.endswith(_NEWLINE) else rest + _NEWLINE
        yield from _within(Chunk(line, whole), limit)


def _end(text: bytes) -> int:
    """Where to cut: between lines, and not between the parts of one, where that can be."""
    return whole_until(text) or text.rfind(_NEWLINE) + 1


def _passed_over(rest: bytes, stream: BinaryIO) -> tuple[bytes, bool]:
    """What follows the line that ``rest`` begins with, and whether that line ended."""
    while True:
        end = rest.find(_NEWLINE) + 1
        if end:
            return rest[end:], True
        rest = stream.read(_READ)
        if not rest:
            return b"", False


def _within(chunk: Chunk, limit: int) -> Iterator[Chunk]:
    """The chunk, without lines that are too long; these as chunks of their own."""
    if len(chunk.text) <= limit:
        yield chunk
        return
    text, line, begin, kept, kept_line = chunk.text, chunk.line, 0, 0, chunk.line
    while begin < len(text):
        end = text.index(_NEWLINE, begin) + 1
        if end - begin > limit + 1:
            if kept < begin:
                yield Chunk(kept_line, text[kept:begin])
            yield Chunk(line, b"")
            kept, kept_line = end, line + 1
        begin, line = end, line + 1
    if kept < len(text):
        yield Chunk(kept_line, text[kept:])


class LineReader:
    """Brings lines of one format past the door.

    Args:
        format: one of ``LINE_FORMATS``.
        masked: keys whose values are masked.
        log: whose log the file is, where its path says so.
    """

    def __init__(self, format: str, masked: MaskedKeys, log: ContainerLog | None = None) -> None:
        self._format = format
        self._masked = masked
        self._above = log.line() if log and line_format(format).of_pod else b""

    def read(self, stream: BinaryIO) -> Iterator[Piece | Fault]:
        """All lines of a stream."""
        header = b""
        for chunk in chunks(stream):
            if chunk.text:
                if chunk.line == 1:
                    header = self._header(chunk)
                if header and chunk.line > 1:
                    yield from self._opened(header + chunk.text, f"line {chunk.line}")
                else:
                    yield from self._opened(chunk.text, f"line {chunk.line}", _by_line(chunk))
            else:
                yield self._too_long(f"line {chunk.line}")

    def documents(self, documents: list[tuple[str, bytes]]) -> Iterator[Piece | Fault]:
        """Records that did not stand on lines of their own: of each its place, and its JSON."""
        text, ends = bytearray(), []
        for _, document in documents:
            text += document
            text += _NEWLINE
            ends.append(len(text))
        yield from self._opened(
            bytes(text),
            documents[0][0],
            lambda offset: documents[bisect_right(ends, offset)][0],
        )

    def _header(self, chunk: Chunk) -> bytes:
        """The first line of a file, where it names the columns of all others."""
        first = chunk.text[: chunk.text.index(_NEWLINE) + 1]
        is_header = line_format(self._format).is_header
        return first if is_header and is_header(first) else b""

    def _opened(
        self, text: bytes, first: str, place: Callable[[int], str] | None = None
    ) -> Iterator[Piece | Fault]:
        """Lines without what they are wrapped into; what is larger then is cut once more.

        Args:
            text: the lines.
            first: where they begin; all that is known of lines that were wrapped.
            place: where a byte of the text stands.
        """
        logged = opened(text)
        open_lines = line_format(self._format).opened
        lines = open_lines(logged.text) if open_lines else logged.text
        if place and len(lines) == len(logged.text):
            yield from self._logged(logged, place)
            return
        for chunk in chunks(io.BytesIO(lines)):
            if chunk.text:
                yield from self._admitted(chunk.text, lambda _: first)
            else:
                yield self._too_long(first)

    def _logged(self, logged: Opened, place: Callable[[int], str]) -> Iterator[Piece | Fault]:
        """Lines without what a container runtime wrote, each told by where it stood."""
        if not len(logged.begins):
            yield from self._admitted(logged.text, place)
            return
        for chunk in chunks(io.BytesIO(logged.text)):
            where = _at_source(logged, int(logged.begins[chunk.line - 1]), place)
            if chunk.text:
                yield from self._admitted(chunk.text, where)
            else:
                yield self._too_long(where(0))

    def _too_long(self, place: str) -> Fault:
        return Fault(place, f"line longer than {LINE_LIMIT} bytes", format=self._format)

    def _admitted(self, text: bytes, place: Callable[[int], str]) -> Iterator[Piece | Fault]:
        admitted = admit_lines(self._format, text, self._masked)
        on_bus = admitted.records > 0
        for told in admitted.refused:
            where = place(told.offset or 0)
            yield Fault(where, told.reason, told.records, self._format, on_bus=on_bus)
        if on_bus:
            body = self._above + admitted.body
            yield Piece(self._format, body, admitted.records, admitted.rejected)


def _at_source(logged: Opened, begin: int, place: Callable[[int], str]) -> Callable[[int], str]:
    return lambda offset: place(logged.source(begin + offset))


def _by_line(chunk: Chunk) -> Callable[[int], str]:
    return lambda offset: f"line {chunk.line + chunk.text.count(_NEWLINE, 0, offset)}"
