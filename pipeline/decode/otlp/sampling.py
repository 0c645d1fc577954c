"""The sampling threshold that a span's trace state carries.

``ot=th:<hex>`` among the members of a W3C tracestate tells the threshold T of consistent
probability sampling as up to 14 hexadecimal digits with trailing zeros left out. Source:
OpenTelemetry specification, ``trace/tracestate-probability-sampling``.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.decode.kernels.kernel import Buffer, Ints, inlined, kernel
from pipeline.decode.kernels.text import LENGTH_MASK, OFFSET_BITS

_DIGITS: Final = 14
_COMMA, _SEMICOLON, _SPACE, _TAB = (ord(one) for one in ",; \t")
_OT: Final = np.frombuffer(b"ot=", np.uint8)
_TH: Final = np.frombuffer(b"th:", np.uint8)


def thresholds(source: Buffer, trace_states: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """The threshold of each trace state (of 56 bits), and which tell one."""
    found = np.full(len(trace_states), -1, np.int64)
    _thresholds(source, np.ascontiguousarray(trace_states), found)
    return found, found >= 0


@kernel
def _thresholds(source: Buffer, trace_states: Ints, found: Ints) -> None:
    for index in range(len(trace_states)):
        position = trace_states[index] >> OFFSET_BITS
        end = position + (trace_states[index] & LENGTH_MASK)
        while position < end:
            stop = _until(source, position, end, _COMMA)
            while position < stop and source.data[position] in (_SPACE, _TAB):
                position += 1
            if _begins(source, position, stop, _OT):
                found[index] = _of_member(source, position + len(_OT), stop)
            position = stop + 1


@inlined
def _of_member(source: Buffer, position: int, end: int) -> int:
    """The threshold among the fields of OpenTelemetry's own member, or -1."""
    while position < end:
        stop = _until(source, position, end, _SEMICOLON)
        if _begins(source, position, stop, _TH):
            return _hexadecimal(source, position + len(_TH), stop)
        position = stop + 1
    return -1


@inlined
def _until(source: Buffer, position: int, end: int, byte: int) -> int:
    while position < end and source.data[position] != byte:
        position += 1
    return position


@inlined
def _begins(source: Buffer, position: int, end: int, word: NDArray[np.uint8]) -> bool:
    if end - position < len(word):
        return False
    for index in range(len(word)):  # noqa: SIM110 - kernels have no generators
        if source.data[position + index] != word[index]:
            return False
    return True


@inlined
def _hexadecimal(source: Buffer, position: int, end: int) -> int:
    """A number of one to fourteen lower-case digits, filled up with zeros at the right; or -1."""
    while position < end and source.data[end - 1] in (_SPACE, _TAB):
        end -= 1
    digits = end - position
    if digits < 1 or digits > _DIGITS:
        return -1
    value = 0
    for index in range(position, end):
        byte = int(np.int64(source.data[index]))
        if ord("0") <= byte <= ord("9"):
            value = value << 4 | (byte - ord("0"))
        elif ord("a") <= byte <= ord("f"):
            value = value << 4 | (byte - ord("a") + 10)
        else:
            return -1
    return value << 4 * (_DIGITS - digits)
