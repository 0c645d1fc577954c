"""What the texts of log lines mean: times, durations and numbers, column by column.

Every function takes slices of a buffer and answers values and whether each could be read; a slice
that is ``NOTHING`` cannot.
"""

from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.decode.kernels.columns import NOTHING
from pipeline.decode.kernels.kernel import Buffer, Ints, inlined, kernel
from pipeline.decode.kernels.text import LENGTH_MASK, OFFSET_BITS
from pipeline.decode.otlp.json_records import ready_texts

_SECOND: Final = 1_000_000_000
_DAY: Final = 86_400
_LONGEST_NUMBER: Final = 18
_FIRST_YEAR, _LAST_YEAR = 1678, 2261
"""Years whose nanoseconds fit 64 bits."""
_ZERO, _NINE = ord("0"), ord("9")
_MONTHS: Final = np.frombuffer(b"JanFebMarAprMayJunJulAugSepOctNovDec", np.uint8)


class Values(NamedTuple):
    """Numbers, and which of them could be read."""

    values: Ints
    good: NDArray[np.bool_]

    def array(self, kind: pa.DataType, *, times: int = 1) -> pa.Array:
        """As an Arrow array, multiplied; null where it could not be read."""
        return pa.array(self.values * times, pa.int64(), mask=~self.good).cast(kind)


def _room(slices: Ints) -> Values:
    return Values(np.zeros(len(slices), np.int64), np.zeros(len(slices), np.bool_))


def of_texts(texts: pa.Array) -> tuple[Buffer, Ints]:
    """The buffer and slices of an Arrow array of strings; null is ``NOTHING``."""
    return ready_texts(texts)


def whole_numbers(source: Buffer, slices: Ints) -> Values:
    """Digits, of which there may be 18."""
    found = _room(slices)
    _whole_numbers(source, np.ascontiguousarray(slices), found.values, found.good)
    return found


def rfc3339(source: Buffer, slices: Ints) -> Values:
    """``2020-11-25T21:26:18.409Z`` as Unix nanoseconds; ``+01:00`` for ``Z`` too."""
    found = _room(slices)
    _rfc3339(source, np.ascontiguousarray(slices), found.values, found.good)
    return found


def common_log_time(source: Buffer, slices: Ints) -> Values:
    """``17/May/2015:10:05:03 +0000`` as Unix nanoseconds."""
    found = _room(slices)
    _common_log_time(source, np.ascontiguousarray(slices), found.values, found.good)
    return found


def durations(source: Buffer, slices: Ints) -> Values:
    """``13ms``, ``1.2s``, ``980us``, ``5ns``, ``2m`` as nanoseconds."""
    found = _room(slices)
    _durations(source, np.ascontiguousarray(slices), found.values, found.good)
    return found


@inlined
def _digits(source: Buffer, begin: int, count: int) -> int:
    """The number that so many digits make; -1 when one of them is none."""
    value = 0
    for index in range(begin, begin + count):
        byte = source.data[index]
        if byte < _ZERO or byte > _NINE:
            return -1
        value = value * 10 + byte - _ZERO
    return int(value)


@kernel
def _whole_numbers(source: Buffer, slices: Ints, values: Ints, good: NDArray[np.bool_]) -> None:
    for index in range(len(slices)):
        length = slices[index] & LENGTH_MASK
        if slices[index] == NOTHING or length == 0 or length > _LONGEST_NUMBER:
            continue
        value = _digits(source, slices[index] >> OFFSET_BITS, length)
        good[index] = value >= 0
        values[index] = max(value, 0)


@kernel
def _days(year: int, month: int, day: int) -> int:
    """Days since 1970; source: Howard Hinnant, chrono-compatible date algorithms."""
    year -= int(month <= 2)
    era = year // 400
    of_era = year - era * 400
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return int(era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468)


@kernel
def _month_days(year: int, month: int) -> int:
    if month == 2:
        return 28 + int(year % 4 == 0 and (year % 100 != 0 or year % 400 == 0))
    return 30 + int(month in (1, 3, 5, 7, 8, 10, 12))


@kernel
def _instant(year: int, month: int, day: int, second: int) -> int:
    """Unix seconds, or -1 << 62 when there is no such day or it is too far away."""
    if not (_FIRST_YEAR <= year <= _LAST_YEAR and 1 <= month <= 12):
        return -1 << 62
    if not (1 <= day <= _month_days(year, month) and second >= 0):
        return -1 << 62
    return int(_days(year, month, day) * _DAY + second)


@kernel
def _clock(source: Buffer, at: int) -> int:
    """Seconds since midnight of ``21:26:18``; -1 when it is no time. A leap second is one more."""
    hour, minute = _digits(source, at, 2), _digits(source, at + 3, 2)
    second = _digits(source, at + 6, 2)
    if source.data[at + 2] != ord(":") or source.data[at + 5] != ord(":"):
        return -1
    if not (0 <= hour < 24 and 0 <= minute < 60 and 0 <= second <= 60):
        return -1
    return hour * 3600 + minute * 60 + second


@kernel
def _zone(source: Buffer, at: int, length: int) -> int:
    """Seconds east of UTC of ``Z``, ``+01:00``, ``+0100``; 1 << 62 when it is no zone."""
    data = source.data
    if length == 1 and data[at] in (ord("Z"), ord("z")):
        return 0
    colon = int(length == 6 and data[at + 3] == ord(":"))
    if length != 5 + colon or data[at] not in (ord("+"), ord("-")):
        return 1 << 62
    hours, minutes = _digits(source, at + 1, 2), _digits(source, at + 3 + colon, 2)
    if not (0 <= hours < 24 and 0 <= minutes < 60):
        return 1 << 62
    east = hours * 3600 + minutes * 60
    return east if data[at] == ord("+") else -east


@kernel
def _fraction(source: Buffer, at: int, end: int) -> tuple[int, int]:
    """Nanoseconds of ``.409`` and where it ends; digits past the ninth are left out."""
    if at >= end or source.data[at] != ord("."):
        return 0, at
    at += 1
    value, scale, begin = 0, _SECOND, at
    while at < end and _ZERO <= source.data[at] <= _NINE:
        if scale > 1:
            scale //= 10
            value += (source.data[at] - _ZERO) * scale
        at += 1
    return value, (at if at > begin else -1)


@kernel
def _rfc3339(source: Buffer, slices: Ints, values: Ints, good: NDArray[np.bool_]) -> None:
    data = source.data
    for index in range(len(slices)):
        at, length = slices[index] >> OFFSET_BITS, slices[index] & LENGTH_MASK
        if slices[index] == NOTHING or length < 20 or length > 64:
            continue
        if data[at + 4] != ord("-") or data[at + 7] != ord("-"):
            continue
        if data[at + 10] not in (ord("T"), ord("t"), ord(" ")):
            continue
        seconds = _instant(
            _digits(source, at, 4),
            _digits(source, at + 5, 2),
            _digits(source, at + 8, 2),
            _clock(source, at + 11),
        )
        nanos, end = _fraction(source, at + 19, at + length)
        east = _zone(source, end, at + length - end) if end >= 0 else 1 << 62
        good[index] = seconds != -1 << 62 and east != 1 << 62
        if good[index]:
            values[index] = (seconds - east) * _SECOND + nanos


@kernel
def _common_log_time(source: Buffer, slices: Ints, values: Ints, good: NDArray[np.bool_]) -> None:
    data = source.data
    for index in range(len(slices)):
        at, length = slices[index] >> OFFSET_BITS, slices[index] & LENGTH_MASK
        if slices[index] == NOTHING or length != 26 or data[at + 20] != ord(" "):
            continue
        if data[at + 2] != ord("/") or data[at + 6] != ord("/") or data[at + 11] != ord(":"):
            continue
        month = 0
        for number in range(12):
            if (
                data[at + 3] == _MONTHS[3 * number]
                and data[at + 4] == _MONTHS[3 * number + 1]
                and data[at + 5] == _MONTHS[3 * number + 2]
            ):
                month = number + 1
        seconds = _instant(
            _digits(source, at + 7, 4), month, _digits(source, at, 2), _clock(source, at + 12)
        )
        east = _zone(source, at + 21, 5)
        good[index] = seconds != -1 << 62 and east != 1 << 62
        if good[index]:
            values[index] = (seconds - east) * _SECOND


@kernel
def _durations(source: Buffer, slices: Ints, values: Ints, good: NDArray[np.bool_]) -> None:
    for index in range(len(slices)):
        begin, length = slices[index] >> OFFSET_BITS, slices[index] & LENGTH_MASK
        if slices[index] == NOTHING or length > 32:
            continue
        end, at, whole = begin + length, begin, 0
        while at < end and at - begin < 9 and _ZERO <= source.data[at] <= _NINE:
            whole = whole * 10 + source.data[at] - _ZERO
            at += 1
        digits = at - begin
        billionths, at = _fraction(source, at, end)
        unit = _unit(source, at, end) if digits and at >= 0 else 0
        if unit and whole < 9_000_000_000_000_000_000 // unit:
            good[index] = True
            values[index] = whole * unit + billionths * max(unit // _SECOND, 1) // max(
                _SECOND // unit, 1
            )


@kernel
def _unit(source: Buffer, at: int, end: int) -> int:
    """Nanoseconds of a unit; 0 when it is none."""
    first, last, length = source.data[at], source.data[end - 1], end - at
    if length == 1:
        return _SECOND if first == ord("s") else 60 * _SECOND if first == ord("m") else 0
    if last != ord("s"):
        return 0
    if length == 2 and first == ord("m"):
        return 1_000_000
    if length == 2 and first == ord("n"):
        return 1
    # us, and the same with either of the two letters that look like a mu
    micro = length == 3 and first in (0xC2, 0xCE)
    return 1_000 if micro or (length == 2 and first == ord("u")) else 0
