"""The check at the door of formats of lines: secrets and persons hidden, bad lines found.

The decoder itself says which lines are good, so that door and decoder can never disagree.
"""

from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from typing import Final

from pipeline.decode import DECODERS, MODULES
from pipeline.decode.lines.container_lines import bare, opened
from pipeline.decode.lines.lines import Checked, LineFormat
from pipeline.decode.privacy.masking import MaskedKeys
from pipeline.errors import DecodeError
from pipeline.model.decoded import Refusal
from pipeline.model.topics import FORMAT_SIGNAL, LINE_FORMATS

FEW_LINES: Final = 1024
"""Up to so many lines nobody minds how short they are."""

SHORTEST_MEAN: Final = 16
"""Bytes that lines must have on average; the shortest record of any format has three times as many.
A body of nothing but lines of two bytes would take hundreds of times its size while it is read."""


@dataclass(frozen=True, slots=True)
class AdmittedLines:
    """Lines that may go on the bus.

    Attributes:
        body: the bytes, secrets and persons overwritten; of the same length as they came, unless
            they were wrapped into something.
        records: how many records the decoder will take.
        refused: what it will refuse; offsets are those of the lines as they came, None where they
            were wrapped.
    """

    body: bytes
    records: int
    refused: tuple[Refusal, ...] = ()

    @property
    def rejected(self) -> int:
        """How many records the decoder will refuse."""
        return sum(refusal.records for refusal in self.refused)


def must_be_records(body: bytes) -> None:
    """Refuse what cannot be lines of records, before it takes memory; raises DecodeError."""
    lines = body.count(b"\n")
    if lines > FEW_LINES and len(body) < SHORTEST_MEAN * lines:
        raise DecodeError("lines too short to be records")


def admit_lines(format_name: str, body: bytes, masked: MaskedKeys) -> AdmittedLines:
    """Hide secrets and persons in whole lines and count their records, whatever the bytes are."""
    lines = opened(body).text
    open_lines = line_format(format_name).opened
    lines = open_lines(lines) if open_lines else lines
    masked_lines = masked.mask_text(lines, format_name)
    records, refused = _checked(format_name, masked_lines)
    if len(lines) != len(body):
        refused = tuple(replace(refusal, offset=None) for refusal in refused)
    return AdmittedLines(masked_lines, records, refused)


def _checked(format_name: str, lines: bytes) -> Checked:
    check = line_format(format_name).check
    if check:
        return check([lines])
    decoded = DECODERS[format_name]([lines])
    rows = decoded.batches.get(FORMAT_SIGNAL[format_name])
    return Checked(0 if rows is None else rows.num_rows, decoded.refused)


@cache
def line_format(format_name: str) -> LineFormat:
    """What is known of one of ``LINE_FORMATS``."""
    found: LineFormat = import_module(MODULES[format_name]).LINES
    return found


def logged_lines(text: bytes) -> list[bytes]:
    """The lines that were logged, without what a container runtime wrapped them into."""
    lines = bare(opened(text).text).split(b"\n")
    return [line.strip() for line in lines if line.strip()]


def format_of_lines(lines: list[bytes]) -> str | None:
    """The format that most of these lines look like; None when none does."""
    counts = {name: sum(map(line_format(name).fits, lines)) for name in LINE_FORMATS}
    best = max(counts, key=counts.__getitem__, default=None)
    return best if best and counts[best] else None
