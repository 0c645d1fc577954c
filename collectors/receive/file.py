"""Reads recordings from files and puts them on the bus: what ``meshweir import`` does.

Files may be plain, gzip or zstd (told by their first bytes), lines of text, scraped metrics (of the
time when the file was written), JSON in any layout that ``json_documents`` can cut, or protobuf: a
bare OTLP request, or what the Collector's file exporter writes (each message behind its size in
four bytes, big-endian; compressed one by one or not).
What cannot be read is set aside with its place and reason, and the rest goes in. Memory is bounded
by the largest document, not by the file.
"""

import asyncio
import gzip
import os
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, cast

import pyarrow as pa

from collectors import formats
from collectors.intake import reason_of
from collectors.pieces import MESSAGE_BYTES, Fault, Piece
from collectors.recordings import ZSTD_MAGIC, Recording
from collectors.redaction import redaction
from collectors.settings import IntakeSettings
from pipeline.bus.port import Bus
from pipeline.decode.privacy.masking import MaskedKeys
from pipeline.errors import MeshweirError, Transient
from pipeline.model.ledger import Flow, Ledger, Outcome
from pipeline.model.pods import ContainerLog
from pipeline.model.topics import (
    FORMAT_HEADER,
    FORMAT_SIGNAL,
    LINE_FORMATS,
    RAW_TELEMETRY,
    RECEIVED_AT_HEADER,
    RECORDS_HEADER,
    SOURCE_HEADER,
    TOPIC_FORMAT,
)

SOURCE: Final = "import"
PATIENCE_SECONDS: Final = 300.0
"""How long a full or absent bus is waited for before the import gives up."""
FAULTS_KEPT: Final = 100
"""How many faults of a file are kept with their place; all are counted."""

TOPICS: Final = {name: topic for topic, name in TOPIC_FORMAT.items()}
"""The topics of formats that have one of their own."""
_GZIP_MAGIC: Final = b"\x1f\x8b"
_UNREADABLE: Final = (OSError, EOFError, zlib.error, pa.ArrowInvalid)


@dataclass(slots=True)
class FileReport:
    """What became of one file.

    Attributes:
        path: the file as it was named.
        format: the format it was in, several joined by ``+``; the one asked for when nothing was
            recognised.
        accepted: records that are durable on the bus.
        quarantined: records set aside; a line that cannot be read counts as one.
        error: why the file could not be read to its end, or None.
        faults: the first of what was set aside, with its place.
    """

    path: str
    format: str
    accepted: int = 0
    quarantined: int = 0
    error: str | None = None
    faults: list[Fault] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the import of a file is: bytes of the file as it lies on disk, and records."""

    path: str
    bytes_read: int
    bytes_total: int
    accepted: int
    quarantined: int


OnProgress = Callable[[Progress], None]


async def import_files(
    paths: Iterable[str | Path],
    *,
    format: str,
    bus: Bus,
    ledger: Ledger,
    on_progress: OnProgress | None = None,
    settings: IntakeSettings | None = None,
) -> list[FileReport]:
    """Put the records of files on the bus, one file after another, and tell what became of each.

    Returns when everything is durable. A file that cannot be read is told in its report and does
    not keep the others back.

    Args:
        paths: the files.
        format: a name out of ``formats.FORMATS``, or one of its other spellings.
        bus: where messages go; a full bus is waited for.
        ledger: where records are counted, under the source ``import``.
        on_progress: called after every message.
        settings: what is hidden.

    Raises:
        InvalidInput: the format is not known.
    """
    name = formats.known(format)
    masked = redaction(settings or IntakeSettings())
    reports: list[FileReport] = []
    for path in paths:
        run = _Import(Path(path), name, masked, bus, ledger, on_progress)
        reports.append(await run.run())
    return reports


@dataclass(slots=True)
class _Parcel:
    """Pieces of one format that will be one message."""

    payloads: list[bytes] = field(default_factory=list)
    size: int = 0
    records: int = 0
    refused: int = 0


class _Import:
    """The import of one file."""

    def __init__(
        self,
        path: Path,
        name: str,
        masked: MaskedKeys,
        bus: Bus,
        ledger: Ledger,
        on_progress: OnProgress | None,
    ) -> None:
        self._path = path
        self._name = name
        self._masked = masked
        self._bus = bus
        self._ledger = ledger
        self._on_progress = on_progress
        self._report = FileReport(str(path), name)
        self._parcels: dict[str, _Parcel] = {}
        self._formats: set[str] = set()
        self._refused_formats: set[str] = set()

    async def run(self) -> FileReport:
        """Read the file to its end, or to where it cannot be read any more."""
        report = self._report
        try:
            with self._path.open("rb") as file:
                await self._take(file, self._path.stat())
        except _UNREADABLE as error:
            report.error = _explained(error)
        except MeshweirError as error:
            report.error = str(error)
        told = self._formats or self._refused_formats
        if told:
            report.format = "+".join(sorted(told))
        elif report.quarantined and report.error is None and self._name == formats.AUTO:
            report.error = (
                f"no telemetry in a known format; name it with --format, one of: "
                f"{', '.join(formats.FORMATS)}"
            )
        return report

    async def _take(self, file: BinaryIO, stat: os.stat_result) -> None:
        size, at_ms = stat.st_size, stat.st_mtime_ns // 1_000_000
        log = ContainerLog.of_path(str(self._path.absolute()))
        recording = Recording(
            _opened(file), format=self._name, masked=self._masked, at_ms=at_ms, log=log
        )
        items = recording.read()
        try:
            while (item := await asyncio.to_thread(next, items, None)) is not None:
                if isinstance(item, Fault):
                    self._set_aside(item)
                else:
                    await self._add(item)
                    self._tell(file.tell(), size)
        finally:
            for name in list(self._parcels):
                await self._send(name)
        self._tell(size, size)

    def _tell(self, done: int, size: int) -> None:
        if self._on_progress:
            report = self._report
            self._on_progress(
                Progress(report.path, done, size, report.accepted, report.quarantined)
            )

    def _set_aside(self, fault: Fault) -> None:
        report = self._report
        report.quarantined += fault.records
        if fault.format:
            self._refused_formats.add(fault.format)
        if len(report.faults) < FAULTS_KEPT:
            report.faults.append(fault)
        if fault.on_bus:
            return  # counted with the message it is in
        flow = Flow(SOURCE, FORMAT_SIGNAL.get(fault.format or self._name, "unknown"))
        self._ledger.count(flow, Outcome.RECEIVED, fault.records)
        self._ledger.count(flow, Outcome.REJECTED, fault.records, reason=fault.reason)

    async def _add(self, piece: Piece) -> None:
        self._formats.add(piece.format)
        parcel = self._parcels.get(piece.format)
        if parcel and parcel.size and parcel.size + len(piece.payload) > MESSAGE_BYTES:
            await self._send(piece.format)
        parcel = self._parcels.setdefault(piece.format, _Parcel())
        parcel.payloads.append(piece.payload)
        parcel.size += len(piece.payload)
        parcel.records += piece.records
        parcel.refused += piece.refused

    async def _send(self, name: str) -> None:
        parcel = self._parcels.pop(name)
        value = joined(name, parcel.payloads)
        on_bus = parcel.records + parcel.refused
        flow = Flow(SOURCE, FORMAT_SIGNAL[name])
        self._ledger.count(flow, Outcome.RECEIVED, on_bus)
        self._ledger.count_bytes(flow, len(value))
        headers = {
            FORMAT_HEADER: name,
            SOURCE_HEADER: SOURCE,
            RECEIVED_AT_HEADER: str(time.time_ns()),
            RECORDS_HEADER: str(on_bus),
        }
        try:
            await self._publish(TOPICS.get(name, RAW_TELEMETRY), value, headers)
        except MeshweirError as error:
            self._ledger.count(flow, Outcome.DROPPED, on_bus, reason=reason_of(error))
            raise
        self._ledger.count(flow, Outcome.ACCEPTED, on_bus)
        self._report.accepted += parcel.records

    async def _publish(self, topic: str, value: bytes, headers: dict[str, str]) -> None:
        give_up = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                await self._bus.publish(topic, value, headers)
            except Transient as error:
                if time.monotonic() > give_up:
                    raise
                await asyncio.sleep(error.retry_after)
            else:
                return


def joined(name: str, payloads: list[bytes]) -> bytes:
    """One message of many: requests of OTLP and lines follow each other, JSON is in an array."""
    if name in TOPICS or name in LINE_FORMATS:
        return b"".join(payloads)
    if len(payloads) == 1:
        return payloads[0]
    return b"[" + b",".join(payloads) + b"]"


def _opened(file: BinaryIO) -> BinaryIO:
    """The content of a file, decompressed when its first bytes say that it is compressed."""
    magic = file.read(4)
    file.seek(0)
    if magic.startswith(_GZIP_MAGIC):
        return cast("BinaryIO", gzip.GzipFile(fileobj=file))
    if magic == ZSTD_MAGIC:
        return cast("BinaryIO", pa.CompressedInputStream(pa.PythonFile(file), "zstd"))
    return file


def _explained(error: BaseException) -> str:
    if isinstance(error, EOFError):
        return "the compressed data ends too early; what came before it was taken"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)
