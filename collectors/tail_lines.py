"""Whole lines of a file that grows, as parcels for the bus: by the formats that import knows."""

import io
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from collectors import formats
from collectors.channel import Channel, Parcel
from collectors.pieces import Fault, Piece
from collectors.receive.file import TOPICS, joined
from collectors.recordings import Recording
from pipeline.decode.door import MaskedKeys
from pipeline.decode.gates.line_gate import line_format
from pipeline.errors import DecodeError
from pipeline.model.ledger import Outcome
from pipeline.model.pods import ContainerLog
from pipeline.model.topics import LINE_FORMATS, RAW_TELEMETRY

SOURCE: Final = "tail"
UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Lot:
    """What a chunk of lines holds.

    Attributes:
        format: the format of lines it is in; empty where it is none, or not known yet.
        bodies: what goes on the bus, by format.
        lost: records that cannot go there, by format and reason.
    """

    format: str = ""
    bodies: Mapping[str, bytes] = field(default_factory=dict)
    lost: Mapping[tuple[str, str], int] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of all bodies."""
        return sum(map(len, self.bodies.values()))

    def parcels(self, origin: str) -> list[Parcel]:
        """The bodies, each with where it stood."""
        return [Parcel(channel(name, origin), body) for name, body in self.bodies.items()]


def channel(name: str, origin: str = "") -> Channel:
    """The way of records of one format; the bus is waited for without end, the file keeps them."""
    return Channel(
        SOURCE,
        name,
        TOPICS.get(name, RAW_TELEMETRY),
        patience=math.inf,
        lost=Outcome.DROPPED,
        keeps_bad=name in LINE_FORMATS,
        origin=origin,
    )


def lot(text: bytes, told: str, header: Callable[[], bytes], path: str = "") -> Lot:
    """Read whole lines.

    Args:
        text: the lines.
        told: the format that the user named, or that was found before.
        header: gives the first line of the file, where the lines do not begin with it.
        path: of the file; a container's log has a path that says whose it is.
    """
    name = formats.of_lines(text, told)
    if told in LINE_FORMATS:
        name = told
    if name is None:
        return _documents(text, told)
    return Lot(name, {name: _above(name, header, path) + text})


def _above(name: str, header: Callable[[], bytes], path: str) -> bytes:
    """What must stand before lines, so that a message stands for itself."""
    known = line_format(name)
    if known.of_pod:
        log = ContainerLog.of_path(path)
        return log.line() if log else b""
    first = header() if known.is_header else b""
    return first if known.is_header and known.is_header(first) else b""


def _documents(text: bytes, told: str) -> Lot:
    """Lines that are documents of JSON, such as requests of OTLP."""
    payloads: dict[str, list[bytes]] = defaultdict(list)
    lost = Counter[tuple[str, str]]()
    for found in _read(text, told):
        if isinstance(found, Fault):
            if not found.on_bus:
                lost[found.format or UNKNOWN, found.reason] += found.records
        elif found.format == formats.JAEGER_JSON:
            lost[found.format, "not a format of files that grow"] += found.records
        else:
            payloads[found.format].append(found.payload)
    if not payloads and all(name == UNKNOWN for name, _ in lost):
        lines = sum(bool(line.strip()) for line in text.split(b"\n"))
        return Lot(lost={(UNKNOWN, "no telemetry in a known format"): lines})
    return Lot("", {name: joined(name, some) for name, some in payloads.items()}, lost)


def _read(text: bytes, told: str) -> Iterator[Piece | Fault]:
    try:
        # secrets are masked by the intake
        yield from Recording(io.BytesIO(text), format=told, masked=MaskedKeys(())).read()
    except DecodeError as error:
        yield Fault("", error.reason)
