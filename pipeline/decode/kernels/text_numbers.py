"""Decimal numbers in text as doubles, column by column: what Go's ``ParseFloat`` reads as such.

Most numbers are short: their digits fit a double, and so does the power of ten, so that one
multiplication is exact (Clinger, "How to read floating point numbers accurately", 1990). The others
are left to Python.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.decode.kernels.columns import NOTHING
from pipeline.decode.kernels.kernel import Buffer, Bytes, Ints, inlined, kernel
from pipeline.decode.kernels.text import LENGTH_MASK, OFFSET_BITS

Doubles = NDArray[np.float64]
Truths = NDArray[np.bool_]

LONGEST: Final = 128
"""Characters of a number at most."""

_EXACT_DIGITS: Final = 1 << 53
_MOST_DIGITS: Final = 10**17
_LARGEST_EXPONENT: Final = 100_000
_POWERS: Final = np.array([10.0**power for power in range(23)])
_INFINITY: Final = np.frombuffer(b"infinity", np.uint8)
_NAN: Final = np.frombuffer(b"nan", np.uint8)
_BAD, _READ, _LONG = 0, 1, 2


class Numbers(NamedTuple):
    """Numbers, and which of them could be read; the others are NaN."""

    values: Doubles
    good: Truths


def numbers_of(source: Buffer, slices: Ints) -> Numbers:
    """Read ``12``, ``-0.5``, ``1.5e+09``, ``+Inf`` and ``NaN``; ``NOTHING`` is no number."""
    values = np.empty(len(slices), np.float64)
    states = np.empty(len(slices), np.uint8)
    _read(source, np.ascontiguousarray(slices), values, states)
    for index in np.flatnonzero(states == _LONG).tolist():
        begin = int(slices[index]) >> OFFSET_BITS
        text = source.data[begin : begin + (int(slices[index]) & LENGTH_MASK)].tobytes()
        values[index] = float(text)
    return Numbers(values, states != _BAD)


@kernel
def _read(source: Buffer, slices: Ints, values: Doubles, states: Bytes) -> None:
    for index in range(len(slices)):
        values[index] = np.nan
        states[index] = _BAD
        length = slices[index] & LENGTH_MASK
        if slices[index] != NOTHING and 0 < length <= LONGEST:
            begin = slices[index] >> OFFSET_BITS
            values[index], states[index] = _number(source, begin, begin + length)


@kernel
def _number(source: Buffer, at: int, end: int) -> tuple[float, int]:
    data = source.data
    negative = data[at] == ord("-")
    if negative or data[at] == ord("+"):
        at += 1
    if at < end and data[at] > ord("9"):
        return _word(source, at, end, negative)
    digits, exponent, told, exact = 0, 0, False, True
    fraction = False
    while at < end:
        byte = int(np.int64(data[at]))
        if byte == ord(".") and not fraction:
            fraction = True
        elif ord("0") <= byte <= ord("9"):
            told = True
            if digits < _MOST_DIGITS:
                digits = digits * 10 + byte - ord("0")
                exponent -= int(fraction)
            else:
                exact = False
                exponent += int(not fraction)
        else:
            break
        at += 1
    more, at = _exponent(source, at, end)
    if not told or at != end:
        return np.nan, _BAD
    exponent += more
    if not exact or digits > _EXACT_DIGITS or abs(exponent) >= len(_POWERS):
        return np.nan, _LONG
    value = float(digits)
    value = value / _POWERS[-exponent] if exponent < 0 else value * _POWERS[exponent]
    return (-value if negative else value), _READ


@kernel
def _exponent(source: Buffer, at: int, end: int) -> tuple[int, int]:
    """The number after an ``e``, and where it ends; -1 when there is none after it."""
    data = source.data
    if at == end or data[at] not in (ord("e"), ord("E")):
        return 0, at
    at += 1
    negative = at < end and data[at] == ord("-")
    if at < end and data[at] in (ord("-"), ord("+")):
        at += 1
    begin, value = at, 0
    while at < end and ord("0") <= data[at] <= ord("9"):
        value = min(value * 10 + int(np.int64(data[at])) - ord("0"), _LARGEST_EXPONENT)
        at += 1
    return (-value if negative else value), (at if at > begin else -1)


@inlined
def _word(source: Buffer, at: int, end: int, negative: bool) -> tuple[float, int]:  # noqa: FBT001 - kernels have no keyword arguments
    if _is(source, at, end, _NAN, 3):
        return np.nan, _READ
    if _is(source, at, end, _INFINITY, 3) or _is(source, at, end, _INFINITY, 8):
        return (-np.inf if negative else np.inf), _READ
    return np.nan, _BAD


@inlined
def _is(source: Buffer, at: int, end: int, word: Bytes, length: int) -> bool:
    """Whether the text is so much of a word, in any letter case."""
    same = end - at == length
    for index in range(length):
        same &= source.data[at + index] | 0x20 == word[index]
    return bool(same)
