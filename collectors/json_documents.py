"""Cuts a stream of JSON text into documents small enough to hold, whatever the layout of the file.

Understood are one document, several one after another, one on each line, and arrays of them. The
large arrays of a document (spans, traces, resource groups) are given element by element, so that
memory is bounded by one element and not by the file. This module cuts and never interprets; what
cannot be cut is reported with its line, and the rest is read on.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

import orjson

from pipeline.decode.kernels.deep_json import TOO_DEEP, written

CHUNK: Final = 1 << 20
DOCUMENT_LIMIT: Final = 32 << 20
"""The largest document, or element of a document's large array, that is taken, in bytes."""

CONTAINERS: Final = frozenset(
    {b"resourceSpans", b"resourceMetrics", b"resourceLogs", b"batches", b"data"}
    | {b"resource_spans", b"resource_metrics", b"resource_logs"}
)
"""Keys of a document whose arrays are given element by element."""

_HEAD_LINES: Final = 64
_TO_BRACKET: Final = re.compile(rb'[^"\[\]{}]*+(?:"(?:[^"\\]++|\\.)*+"[^"\[\]{}]*+)*+', re.DOTALL)
_KEY_AT_END: Final = re.compile(rb'"([A-Za-z_]{1,32})"[ \t\r\n]*:[ \t\r\n]*$')
_NEXT_DOCUMENT: Final = re.compile(rb"\n(?=[\[{])")
_BETWEEN: Final = b" \t\r\n,\xef\xbb\xbf\x1e"  # a byte order mark, and the separator of RFC 7464
_BETWEEN_RUN: Final = re.compile(b"[" + _BETWEEN + b"]*")
_MAX_DEPTH: Final = 1000  # orjson reads no 1,024, and writes no 255
_TOO_DEEP: Final = "nested too deeply"
_CLOSERS: Final = {ord("]"): ord("["), ord("}"): ord("{")}


@dataclass(frozen=True, slots=True)
class Cut:
    """One piece of a JSON file.

    Attributes:
        line: line of the file it begins on, from 1.
        text: the JSON text, or what can be shown of text that is not JSON.
        value: the JSON value; None when it could not be read.
        reason: why it could not be read; empty when it was.
    """

    line: int
    text: bytes
    value: object = None
    reason: str = ""


def cut(stream: BinaryIO, *, limit: int = DOCUMENT_LIMIT) -> Iterator[Cut]:
    """Cut a stream into documents, or elements of their large arrays, in order."""
    head = stream.read(CHUNK)
    if _is_lines(head):
        yield from _lines(_Buffered(head, stream), limit)
    else:
        yield from _Cutter(head, stream, limit).run()


def _is_lines(head: bytes) -> bool:
    """Whether each line is a document: the first one is, or two of the first are."""
    lines = head.split(b"\n")
    if len(head) == CHUNK:
        lines.pop()  # it may go on
    first = True
    good = 0
    for line in lines[:_HEAD_LINES]:
        if not line.strip():
            continue
        good += line[:1] in (b"{", b"[") and _is_document(line)
        if (first and good) or good == 2:
            return True
        first = False
    return False


def _is_document(line: bytes) -> bool:
    try:
        return bool(orjson.loads(line))
    except orjson.JSONDecodeError:
        return False


class _Buffered:
    """Lines of a stream whose first bytes were already taken."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        self._rest = head
        self._stream = stream

    def line(self, limit: int) -> tuple[bytes, bool]:
        """The next line, cut at ``limit``, and whether it was cut; empty at the end."""
        parts: list[bytes] = []
        size = 0
        while True:
            end = self._rest.find(b"\n") + 1
            part = self._rest[:end] if end else self._rest
            self._rest = self._rest[len(part) :]
            if size <= limit:
                parts.append(part[: limit + 1 - size])
            size += len(part)
            if end:
                break
            self._rest = self._stream.read(CHUNK)
            if not self._rest:
                break
        return b"".join(parts), size > limit


def _lines(source: _Buffered, limit: int) -> Iterator[Cut]:
    number = 0
    while True:
        line, too_long = source.line(limit)
        if not line:
            return
        number += 1
        if too_long:
            yield Cut(number, line[:CHUNK], reason=f"line longer than {limit} bytes")
        elif line.strip(_BETWEEN):
            yield _parsed(line.strip(_BETWEEN), number)


def _parsed(document: bytes, line: int, *, wrap: bytes = b"") -> Cut:
    wrapped = b'{"' + wrap + b'":[' + document + b"]}" if wrap else document
    try:
        value = orjson.loads(wrapped)
    except orjson.JSONDecodeError:
        return Cut(line, document, reason="not JSON")
    if written(value) == TOO_DEEP:
        return Cut(line, document, reason=_TOO_DEEP)
    return Cut(line, wrapped, value)


class _Broken(Exception):
    """The brackets of a document do not match, or it is too large."""


class _Cutter:
    """Finds the borders of documents by their brackets; strings are skipped over as a whole."""

    def __init__(self, head: bytes, stream: BinaryIO, limit: int) -> None:
        self._buffer = head
        self._stream = stream
        self._limit = limit
        self._at = 0  # where reading stands
        self._keep = 0  # first byte still needed
        self._line = 1  # line of the byte at _counted
        self._counted = 0

    def run(self) -> Iterator[Cut]:
        """All pieces of the stream."""
        while self._to_document():
            try:
                yield from self._document()
            except _Broken as error:
                shown = self._buffer[self._keep : self._keep + CHUNK]
                yield Cut(self._line_of_kept(), shown, reason=str(error))
                self._resume()

    def _line_of_kept(self) -> int:
        self._line += self._buffer.count(b"\n", self._counted, self._keep)
        self._counted = self._keep
        return self._line

    def _more(self) -> bool:
        """Read on, forgetting what is not needed; False at the end of the stream."""
        chunk = self._stream.read(CHUNK)
        self._line_of_kept()
        self._buffer = self._buffer[self._keep :] + chunk
        self._at -= self._keep
        self._keep = self._counted = 0
        return bool(chunk)

    def _to_document(self) -> bool:
        """Stand on the first byte of the next document; False at the end of the stream."""
        while True:
            found = _BETWEEN_RUN.match(self._buffer, self._at)
            self._at = self._keep = found.end() if found else self._at
            if self._at < len(self._buffer):
                return True
            if not self._more():
                return False

    def _resume(self) -> None:
        """Go on at the next line that begins like a document, after what was kept."""
        while True:
            found = _NEXT_DOCUMENT.search(self._buffer, self._keep)
            if found:
                self._at = self._keep = found.end()
                return
            self._at = self._keep = max(self._keep, len(self._buffer) - 1)
            if not self._more():
                self._at = len(self._buffer)
                return

    def _bracket(self) -> int:
        """Stand on the next bracket outside of strings and return it."""
        while True:
            found = _TO_BRACKET.match(self._buffer, self._at)
            at = found.end() if found else self._at
            if at - self._keep > self._limit:
                raise _Broken(f"document larger than {self._limit} bytes")
            if at < len(self._buffer) and self._buffer[at] != ord('"'):
                self._at = at
                return self._buffer[at]
            if len(self._buffer) - self._keep > self._limit:
                raise _Broken(f"document larger than {self._limit} bytes")
            if not self._more():
                raise _Broken("the file ends in the middle of a document")

    def _document(self) -> Iterator[Cut]:
        if self._buffer[self._at] not in b"[{":
            raise _Broken("not JSON")
        first = self._buffer[self._at]
        stack = bytearray([first])
        self._at += 1
        # the depth at which elements begin, and the key they stand under
        depth, key = (1, b"") if first == ord("[") else (0, b"")
        whole = not depth
        while stack:
            bracket = self._bracket()
            if bracket not in _CLOSERS:
                if depth and len(stack) == depth:
                    self._keep = self._at
                elif not depth and len(stack) == 1 and bracket == ord("["):
                    key = self._container()
                    depth = 2 if key else 0
                    whole = whole and not key
                self._push(stack, bracket)
                continue
            if stack.pop() != _CLOSERS[bracket]:
                raise _Broken("brackets do not match")
            self._at += 1
            if depth and len(stack) == depth:
                yield self._kept(key)
            elif depth and len(stack) < depth:
                depth = 0  # another large array may follow under another key
        if whole:
            yield self._kept(b"")

    def _push(self, stack: bytearray, bracket: int) -> None:
        if len(stack) == _MAX_DEPTH:
            raise _Broken(_TOO_DEEP)
        stack.append(bracket)
        self._at += 1

    def _container(self) -> bytes:
        """The key of the array that begins here, when its elements are to be given one by one."""
        found = _KEY_AT_END.search(self._buffer[max(self._keep, self._at - 128) : self._at])
        return found[1] if found and found[1] in CONTAINERS else b""

    def _kept(self, key: bytes) -> Cut:
        piece = _parsed(self._buffer[self._keep : self._at], self._line_of_kept(), wrap=key)
        self._keep = self._at
        return piece
