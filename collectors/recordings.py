"""Turns the bytes of a recording into pieces that can go on the bus, and faults that cannot.

A piece is OTLP protobuf that passed the check at the door, JSON of a foreign format that at least
one span could be read from, lines of which at least one is a record, or a scraped text. This module
reads a stream and opens nothing.
"""

import io
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO, Final, cast

import orjson
import pyarrow as pa

from collectors import formats, json_documents
from collectors.cut.body import GROUP, groups, smaller
from collectors.line_chunks import CHUNK_BYTES, LINE_LIMIT, LineReader
from collectors.otlp_dialects import standard
from collectors.pieces import MESSAGE_BYTES, Fault, Piece
from pipeline.decode import jaeger_json, otlp_json, zipkin_json
from pipeline.decode.door import MaskedKeys, admit
from pipeline.decode.otlp.via_otlp import flat
from pipeline.decode.otlp_json import REQUESTS
from pipeline.errors import DecodeError, MessageTooLarge
from pipeline.model.pods import ContainerLog
from pipeline.model.scrape import SCRAPE_PREFIX, Scrape
from pipeline.model.topics import LINE_FORMATS

GROUP_LIMIT: Final = 64 << 20
"""The largest message or resource group in a protobuf file, in bytes."""

ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"

_FOREIGN: Final = {
    formats.JAEGER_JSON: jaeger_json.to_otlp,
    formats.ZIPKIN_JSON: zipkin_json.to_otlp,
}


class Recording:
    """Reads one recording.

    Args:
        stream: the bytes, decompressed.
        format: a name out of ``formats.FORMATS``.
        masked: what is hidden.
        at_ms: the time of samples that carry none, Unix milliseconds.
        log: whose log it is, where its path says so.
    """

    def __init__(
        self,
        stream: BinaryIO,
        *,
        format: str,
        masked: MaskedKeys,
        at_ms: int = 0,
        log: ContainerLog | None = None,
    ) -> None:
        self._stream = stream
        self._format = format
        self._at_ms = at_ms
        self._log = log
        self._masked = masked

    def read(self) -> Iterator[Piece | Fault]:
        """All pieces and faults, in the order of the file.

        Raises DecodeError when the format of a binary file cannot be told.
        """
        head = self._stream.read(json_documents.CHUNK)
        rest = cast("BinaryIO", _Joined(head, self._stream))
        lines = formats.of_lines(head, self._format)
        if formats.is_exposition(head, self._format):
            yield from self._exposition(rest)
        elif lines is not None:
            yield from LineReader(lines, self._masked, self._log).read(rest)
        elif formats.looks_like_text(head) or not formats.may_be_protobuf(head):
            yield from self._json(rest)
        elif head[0] == GROUP:
            yield from self._bare(rest)
        else:
            yield from self._framed(rest)

    def _exposition(self, stream: BinaryIO) -> Iterator[Piece | Fault]:
        """One message: types stand before their samples, so that a text cannot be cut anywhere."""
        text = stream.read(GROUP_LIMIT + 1)
        if len(text) > GROUP_LIMIT:
            raise MessageTooLarge(size=len(text), limit=GROUP_LIMIT, what="scraped text")
        name = formats.of_exposition(text, self._format)
        scraped = text.startswith(SCRAPE_PREFIX)
        head = b"" if scraped else Scrape(self._at_ms, None, up=True).line()
        end = b"" if text.endswith(b"\n") else b"\n"
        try:
            admitted = admit(name, head + text + end, self._masked)
        except DecodeError as error:
            yield Fault("line 1", error.reason, format=name)
            return
        on_bus = admitted.records > 0
        for told in admitted.refused:
            line = text.count(b"\n", 0, max((told.offset or 0) - len(head), 0)) + 1
            yield Fault(f"line {line}", told.reason, told.records, name, on_bus=on_bus)
        if on_bus:
            yield Piece(name, admitted.body, admitted.records, admitted.rejected)

    def _json(self, stream: BinaryIO) -> Iterator[Piece | Fault]:
        waiting = _Waiting(self._masked)
        for found in json_documents.cut(stream):
            place = f"line {found.line}"
            name = self._named(found)
            if name in LINE_FORMATS:
                yield from waiting.add(name, place, found.value)
            else:
                yield from self._document(found, place)
        yield from waiting.taken()

    def _named(self, found: json_documents.Cut) -> str | None:
        if found.reason:
            return None
        told = self._format if self._format not in (formats.AUTO, formats.OTLP) else None
        return told or formats.of_json(found.value)

    def _document(self, found: json_documents.Cut, place: str) -> Iterator[Piece | Fault]:
        if found.reason:
            yield Fault(place, found.reason)
            return
        name = self._named(found)
        if name in LINE_FORMATS:
            waiting = _Waiting(self._masked)
            yield from waiting.add(name, place, found.value)
            yield from waiting.taken()
        elif name is None:
            yield Fault(place, "no telemetry in a known format")
        elif name in _FOREIGN:
            yield from self._foreign(name, found, place)
        else:
            yield from self._otlp_json(name, found, place)

    def _foreign(self, name: str, found: json_documents.Cut, place: str) -> Iterator[Piece | Fault]:
        for part in _parts(self._without_secrets(found), found.value):
            converted = _FOREIGN[name](part)
            on_bus = converted.spans > 0
            for told in converted.refused:
                yield Fault(place, told.reason, told.records, name, on_bus=on_bus)
            if on_bus:
                refused = sum(told.records for told in converted.refused)
                yield Piece(name, part, converted.spans, refused)

    def _without_secrets(self, found: json_documents.Cut) -> bytes:
        if self._masked.mask_value(found.text, found.value):
            return orjson.dumps(found.value)
        return found.text

    def _otlp_json(
        self, name: str, found: json_documents.Cut, place: str
    ) -> Iterator[Piece | Fault]:
        value, changed = standard(found.value)
        text = orjson.dumps(value) if changed else found.text
        try:
            request = otlp_json.to_protobuf(text, REQUESTS[name])
        except DecodeError as error:
            yield Fault(place, error.reason, format=name)
            return
        yield from self._admitted(name, request, place)

    def _admitted(self, name: str, request: bytes, place: str) -> Iterator[Piece | Fault]:
        """The request, cut to size, as far as it passes the door."""
        try:
            for part in smaller(name, request, size=MESSAGE_BYTES):
                admission = admit(name, part, self._masked)
                rejected, on_bus = admission.rejected, admission.records > 0
                if rejected:
                    yield Fault(place, admission.reason, rejected, name, on_bus=on_bus)
                if on_bus:
                    yield Piece(name, admission.body, admission.records, rejected)
        except DecodeError as error:
            yield Fault(place, error.reason, format=name)

    def _bare(self, stream: BinaryIO) -> Iterator[Piece | Fault]:
        name = None if self._format in (formats.AUTO, formats.OTLP) else self._format
        number = 0
        try:
            for number, group in enumerate(groups(stream, limit=GROUP_LIMIT), start=1):
                name = name or _told_apart(group)
                yield from self._admitted(name, group, f"resource group {number}")
        except (DecodeError, MessageTooLarge) as error:
            if name is None:
                raise
            yield Fault(f"resource group {number + 1}", _reason(error), format=name or "")

    def _framed(self, stream: BinaryIO) -> Iterator[Piece | Fault]:
        number = 0
        while header := stream.read(4):
            number += 1
            place = f"message {number}"
            size = int(struct.unpack(">I", header.rjust(4, b"\0"))[0])
            body = stream.read(size) if len(header) == 4 and size <= GROUP_LIMIT else b""
            if len(body) != size or len(header) < 4:
                reason = "the file ends in the middle of a message, or is not OTLP"
                if number == 1:
                    raise DecodeError(reason)
                yield Fault(place, reason)
                return
            yield from self._message(body, place)

    def _message(self, body: bytes, place: str) -> Iterator[Piece | Fault]:
        if body.startswith(ZSTD_MAGIC):
            try:
                body = _decompressed(body)
            except (OSError, MessageTooLarge):
                yield Fault(place, "broken zstd data, or too large")
                return
        if formats.looks_like_text(body):
            for found in json_documents.cut(io.BytesIO(body)):
                yield from self._document(found, place)
            return
        told = self._format in formats.OTLP_FORMATS
        name = self._format if told else formats.of_protobuf(body)
        if name is None:
            yield Fault(place, "no telemetry in a known format")
        elif body:
            yield from self._admitted(name, body, place)


def _told_apart(group: bytes) -> str:
    name = formats.of_protobuf(group)
    if name is None:
        raise DecodeError("protobuf, but not a request of OTLP; name it with --format")
    return name


def _parts(document: bytes, value: object) -> Iterator[bytes]:
    """The document, or, where it is larger than a message, its traces and spans in parts."""
    count = -(-len(document) // MESSAGE_BYTES)
    if count == 1:
        yield document
        return
    holder = value
    while isinstance(holder, dict) and holder.get("data"):
        holder = holder["data"]
    items = holder if isinstance(holder, list) else [holder]
    if len(items) > 1:
        for some in _shares(items, count):
            yield from _parts(orjson.dumps(some), some)
    elif items and isinstance(items[0], dict) and isinstance(items[0].get("spans"), list):
        for some in _shares(items[0]["spans"], count):
            yield orjson.dumps({**items[0], "spans": some})
    elif items and isinstance(items[0], list):
        yield from _parts(document, items[0])
    else:
        yield document


def _shares(items: list[Any], count: int) -> Iterator[list[Any]]:
    size = max(1, -(-len(items) // count))
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _decompressed(body: bytes) -> bytes:
    with pa.CompressedInputStream(pa.BufferReader(body), "zstd") as stream:
        found = bytes(stream.read(GROUP_LIMIT + 1))
    if len(found) > GROUP_LIMIT:
        raise MessageTooLarge(size=len(found), limit=GROUP_LIMIT)
    return found


def _reason(error: DecodeError | MessageTooLarge) -> str:
    return error.reason if isinstance(error, DecodeError) else str(error)


class _Waiting:
    """Records of formats of lines that stood in other layouts, until they make a message."""

    def __init__(self, masked: MaskedKeys) -> None:
        self._masked = masked
        self._format = ""
        self._records: list[tuple[str, bytes]] = []
        self._size = 0

    def add(self, name: str, place: str, value: object) -> Iterator[Piece | Fault]:
        """One more record, or an array of them; first what waits, where it would be too much."""
        for record in map(orjson.dumps, flat(value)):
            if len(record) > LINE_LIMIT:
                yield Fault(place, f"record longer than {LINE_LIMIT} bytes", format=name)
                continue
            if name != self._format or self._size + len(record) >= CHUNK_BYTES:
                yield from self.taken()
            self._format = name
            self._records.append((place, record))
            self._size += len(record) + 1

    def taken(self) -> Iterator[Piece | Fault]:
        """All that waits."""
        if self._records:
            yield from LineReader(self._format, self._masked).documents(self._records)
        self._records, self._size = [], 0


class _Joined(io.RawIOBase):
    """A stream whose first bytes were already taken."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        self._head = head
        self._at = 0
        self._stream = stream

    def read(self, size: int = -1, /) -> bytes:
        """The next ``size`` bytes, fewer only at the end of the stream."""
        taken = self._head[self._at : self._at + size]
        self._at += len(taken)
        parts = [taken]
        size -= len(taken)
        while size > 0:
            part = self._stream.read(size)
            if not part:
                break
            parts.append(part)
            size -= len(part)
        return b"".join(parts)
