"""Which series an exposition has, and which of those before are gone from the one after.

Prometheus ends a series that a target exposes no more with a stale marker. To know these, the
scraper compares the series of each scrape with those before. A compiled walk finds where the series
of each line ends, and hashes it; of the scrape before only the hashes and the packed texts are
kept, and as long as a target exposes the same series, nothing but hashes is compared.
"""

import re
import zlib
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.decode.kernels.kernel import Bytes, Ints, Words, inlined, kernel
from pipeline.model.scrape import STALE_PREFIX

Truths = NDArray[np.bool_]

_TYPES: Final = re.compile(rb"^# TYPE [^\n]*$", re.MULTILINE)
_PACKING_LEVEL: Final = 1

_NEWLINE: Final = ord("\n")
_QUOTE: Final = ord('"')
_BACKSLASH: Final = ord("\\")
_HASH: Final = ord("#")
_OPEN: Final = ord("{")
_CLOSE: Final = ord("}")

_FNV_OFFSET: Final = np.uint64(0xCBF29CE484222325)
_FNV_PRIME: Final = np.uint64(0x100000001B3)


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of an exposition that are samples, in their order.

    Attributes:
        starts: where each series begins in the body.
        ends: where it ends, before its value.
        hashes: 64-bit FNV-1a of its bytes.
        timed: whether a time of its own follows the value.
    """

    starts: Ints
    ends: Ints
    hashes: Words
    timed: Truths

    def series(self, *, with_timed: bool = False) -> "Series":
        """Their series; those with a time of their own only when asked for."""
        if with_timed or not self.timed.any():
            return Series(len(self.starts), self.starts, self.ends, self.hashes)
        told = ~self.timed
        return Series(len(told), self.starts[told], self.ends[told], self.hashes[told])


@dataclass(frozen=True, slots=True)
class Series:
    """The series of one exposition whose end is told, in the order of their lines.

    A line with a time may tell of long ago, and that it is gone says nothing; unless asked to,
    Prometheus leaves such series alone, too.

    Attributes:
        samples: lines with a sample, those with a time included.
        starts: where each series begins in the body.
        ends: where it ends, before its value.
        hashes: 64-bit FNV-1a of its bytes.
    """

    samples: int
    starts: Ints
    ends: Ints
    hashes: Words


def samples_of(body: bytes) -> Lines:
    """The samples of an exposition in Prometheus' text format or OpenMetrics.

    Whether lines are well-formed is the business of the check at the door: of ones that are not,
    anything may come out.
    """
    lines = body.count(b"\n") + 1
    starts, ends = np.empty(lines, np.int64), np.empty(lines, np.int64)
    hashes, timed = np.empty(lines, np.uint64), np.empty(lines, np.bool_)
    found = _walk(np.frombuffer(body, np.uint8), starts, ends, hashes, timed)
    return Lines(starts[:found], ends[:found], hashes[:found], timed[:found])


def series_of(body: bytes, *, with_timed: bool = False) -> Series:
    """The series of an exposition; those with a time of their own only when asked for."""
    return samples_of(body).series(with_timed=with_timed)


@dataclass(slots=True)
class Remembered:
    """The series of a target's last scrape that reached the bus.

    Attributes:
        hashes: of each series.
        texts: the series, one a line, packed.
        types: the ``# TYPE`` lines, packed.
    """

    hashes: Words = field(default_factory=lambda: np.empty(0, np.uint64))
    texts: bytes = b""
    types: bytes = b""

    def keep(self, body: bytes, series: Series) -> None:
        """Remember these instead."""
        if np.array_equal(self.hashes, series.hashes):
            return
        bounds = zip(series.starts.tolist(), series.ends.tolist(), strict=True)
        self.texts = _packed([body[start:end] for start, end in bounds])
        self.types = _packed(_TYPES.findall(body))
        self.hashes = series.hashes.copy()

    def stale_lines(self, body: bytes, series: Series) -> bytes:
        """The comment lines about series that are remembered and not in this body any more.

        In front of them stand those ``# TYPE`` lines that the body lacks: without them nobody
        could tell what kind of metric has ended.
        """
        if np.array_equal(self.hashes, series.hashes):
            return b""
        gone = np.flatnonzero(~np.isin(self.hashes, series.hashes))
        if not len(gone):
            return b""
        here = set(_TYPES.findall(body))
        lacking = [line for line in zlib.decompress(self.types).split(b"\n") if line not in here]
        texts = zlib.decompress(self.texts).split(b"\n")
        stale = [STALE_PREFIX + texts[index] for index in gone.tolist()]
        return b"\n".join((*filter(None, lacking), *stale, b""))


def _packed(lines: list[bytes]) -> bytes:
    return zlib.compress(b"\n".join(lines), _PACKING_LEVEL)


@kernel
def _walk(data: Bytes, starts: Ints, ends: Ints, hashes: Words, timed: Truths) -> int:
    """Fill in what each sample is; answers how many there are."""
    at = found = 0
    while at < len(data):
        at = _past_blanks(data, at)
        if at < len(data) and data[at] != _HASH and data[at] != _NEWLINE:
            end = _end_of_series(data, at)
            starts[found], ends[found] = at, end
            hashes[found] = _hash(data, at, end)
            timed[found] = _has_time(data, end)
            found += 1
            at = end
        while at < len(data) and data[at] != _NEWLINE:
            at += 1
        at += 1
    return found


@inlined
def _is_blank(byte: int) -> bool:
    return byte in (0x20, 0x09, 0x0D)


@inlined
def _past_blanks(data: Bytes, at: int) -> int:
    while at < len(data) and _is_blank(data[at]):
        at += 1
    return at


@inlined
def _past_word(data: Bytes, at: int) -> int:
    while at < len(data) and not _is_blank(data[at]) and data[at] not in (_NEWLINE, _OPEN):
        at += 1
    return at


@kernel
def _end_of_series(data: Bytes, at: int) -> int:
    """Where the name that begins at ``at`` ends, and its labels where it has some."""
    end = _past_word(data, at)
    at = _past_blanks(data, end)
    if at == len(data) or data[at] != _OPEN:
        return end
    quoted = False
    while at < len(data) and data[at] != _NEWLINE:
        if quoted and data[at] == _BACKSLASH:
            at += 1
        elif data[at] == _QUOTE:
            quoted = not quoted
        elif data[at] == _CLOSE and not quoted:
            return at + 1
        at += 1
    return min(at, len(data))


@kernel
def _has_time(data: Bytes, end: int) -> bool:
    """Whether a second word follows the value; OpenMetrics' exemplars begin with a hash sign."""
    at = _past_blanks(data, _past_word(data, _past_blanks(data, end)))
    return at < len(data) and data[at] != _NEWLINE and data[at] != _HASH


@kernel
def _hash(data: Bytes, start: int, end: int) -> np.uint64:
    value = _FNV_OFFSET
    for index in range(start, end):
        value = (value ^ np.uint64(data[index])) * _FNV_PRIME
    return value
