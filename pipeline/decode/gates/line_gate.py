"""The check at the door of formats of lines: secrets and persons hidden, bad lines found.

The decoder itself says which lines are good, so that door and decoder can never disagree.
"""

from dataclasses import dataclass, replace
from functools import cache
from typing import Final

from pipeline.decode import DECODERS, module_of
from pipeline.decode.gates.gate import Admission, Gate
from pipeline.decode.lines.container_lines import bare, opened
from pipeline.decode.lines.lines import Checked, LineFormat
from pipeline.decode.privacy.masking import MaskedKeys
from pipeline.errors import DecodeError
from pipeline.model.topics import FORMAT_SIGNAL, LINE_FORMATS

FEW_LINES: Final = 1024
"""Up to so many lines nobody minds how short they are."""

SHORTEST_MEAN: Final = 16
"""Bytes that lines must have on average; the shortest record of any format has three times as many.
A body of nothing but lines of two bytes would take hundreds of times its size while it is read."""


@dataclass(frozen=True, slots=True)
class LineGate(Gate):
    """The gate of one of ``LINE_FORMATS``, by its name."""

    name: str

    def admit(self, body: bytes, masked: MaskedKeys) -> Admission:
        """See ``Gate``; only what cannot be lines of records is refused as a whole."""
        _must_be_records(body)
        return admit_lines(self.name, body, masked)


def _must_be_records(body: bytes) -> None:
    """Refuse what cannot be lines of records, before it takes memory; raises DecodeError."""
    lines = body.count(b"\n")
    if lines > FEW_LINES and len(body) < SHORTEST_MEAN * lines:
        raise DecodeError("lines too short to be records")


def admit_lines(format_name: str, body: bytes, masked: MaskedKeys) -> Admission:
    """Hide secrets and persons in whole lines and count their records, whatever the bytes are."""
    lines = opened(body).text
    open_lines = line_format(format_name).opened
    lines = open_lines(lines) if open_lines else lines
    masked_lines = masked.mask_text(lines, format_name)
    records, refused = _checked(format_name, masked_lines)
    if len(lines) != len(body):
        refused = tuple(replace(refusal, offset=None) for refusal in refused)
    return Admission(masked_lines, records, refused)


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
    found: LineFormat = module_of(format_name).LINES
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
