"""The grammar of JSON inside kernels: where strings, numbers and words end, and what is in them.

Strict as RFC 8259 and ``orjson`` are: control characters, lone surrogates and bytes that are not
UTF-8 are errors. Every function looks at each byte once, whatever the input.
"""

from typing import Final

import numpy as np

from pipeline.decode.kernels.blocks import BLOCK, block_test, lowest
from pipeline.decode.kernels.kernel import Buffer, inlined, kernel
from pipeline.decode.kernels.text import BACKSLASH, QUOTE, utf8_sequence

ESCAPES: Final = 1
"""Mark of a string that has backslashes in it."""
MARK_BITS: Final = 1

LONGEST_ESCAPE: Final = 6
"""How many bytes of an escape may stand for one byte."""

_stops = block_test({QUOTE, BACKSLASH, *range(32), *range(128, 256)})
"""What may end a string, or needs a closer look."""

_WORD_BYTE: Final = np.zeros(256, np.uint8)
_WORD_BYTE[list(b"truefalsn")] = 1

_UNESCAPED: Final = np.zeros(256, np.uint8)
_UNESCAPED[list(b'"\\/bfnrt')] = np.frombuffer(b'"\\/\b\f\n\r\t', np.uint8)
_HEX: Final = np.full(256, -1, np.int64)
_HEX[list(b"0123456789")] = range(10)
_HEX[list(b"abcdef")] = range(10, 16)
_HEX[list(b"ABCDEF")] = range(10, 16)


@inlined
def space(source: Buffer, at: int, end: int) -> int:
    """The next byte that is not white space."""
    while at < end and source.data[at] <= 32 and source.data[at] in (32, 10, 13, 9):
        at += 1
    return at


@inlined
def string_end(source: Buffer, at: int, end: int) -> int:
    """Where a string ends that begins at ``at``, after its quote.

    Returns:
        the place of the closing quote, shifted by ``MARK_BITS``, with ESCAPES; or the
        complement of the place of an error.
    """
    marks = 0
    while at < end:
        stops = _stops(source.data, at)
        if not stops:
            at += BLOCK
            continue
        at += lowest(stops)
        if at >= end:
            break
        if source.data[at] == QUOTE:
            return at << MARK_BITS | marks
        step = _odd_size(source, at, end)
        if step <= 0:
            return ~at
        marks |= int(source.data[at] == BACKSLASH)
        at += step
    return ~end


@kernel
def _odd_size(source: Buffer, at: int, end: int) -> int:
    """How many bytes an escape or a character that is not ASCII has; not positive for an error."""
    if source.data[at] == BACKSLASH:
        return _escape_size(source, at, end)
    return utf8_sequence(source, at, end) if source.data[at] >= 0x80 else 0


@inlined
def _code(source: Buffer, at: int, end: int) -> int:
    """The four hexadecimal digits behind a backslash and u, or -1."""
    if at + 6 > end or source.data[at] != BACKSLASH or source.data[at + 1] != ord("u"):
        return -1
    code = 0
    for index in range(at + 2, at + 6):
        digit = _HEX[source.data[index]]
        if digit < 0:
            return -1
        code = code << 4 | digit
    return code


@kernel
def _escape_size(source: Buffer, at: int, end: int) -> int:
    """How many bytes an escape has, with both halves of a surrogate pair; 0 for an error."""
    if at + 1 >= end:
        return 0
    if _UNESCAPED[source.data[at + 1]]:
        return 2
    code = _code(source, at, end)
    if code < 0 or 0xDC00 <= code < 0xE000:
        return 0
    if code < 0xD800 or code >= 0xE000:
        return 6
    return 12 if 0xDC00 <= _code(source, at + 6, end) < 0xE000 else 0


@kernel
def unescape(source: Buffer, begin: int, end: int) -> int:
    """Put what the escapes of a checked string stand for in their place; returns its new length."""
    at = begin
    out = begin
    while at < end:
        byte = source.data[at]
        if byte != BACKSLASH:
            source.data[out] = byte
            at += 1
            out += 1
            continue
        short = _UNESCAPED[source.data[at + 1]]
        if short:
            source.data[out] = short
            at += 2
            out += 1
            continue
        code = _code(source, at, end)
        at += 6
        if 0xD800 <= code < 0xE000:
            code = 0x10000 + ((code - 0xD800) << 10) + _code(source, at, end) - 0xDC00
            at += 6
        out = _encode(source, code, out)
    return out - begin


@inlined
def _encode(source: Buffer, code: int, out: int) -> int:
    """Write a character as UTF-8."""
    if code < 0x80:
        source.data[out] = code
        return out + 1
    if code < 0x800:
        source.data[out] = 0xC0 | code >> 6
        source.data[out + 1] = 0x80 | code & 63
        return out + 2
    if code < 0x10000:
        source.data[out] = 0xE0 | code >> 12
        source.data[out + 1] = 0x80 | code >> 6 & 63
        source.data[out + 2] = 0x80 | code & 63
        return out + 3
    source.data[out] = 0xF0 | code >> 18
    source.data[out + 1] = 0x80 | code >> 12 & 63
    source.data[out + 2] = 0x80 | code >> 6 & 63
    source.data[out + 3] = 0x80 | code & 63
    return out + 4


@inlined
def _digits(source: Buffer, at: int, end: int) -> int:
    while at < end and 48 <= source.data[at] <= 57:
        at += 1
    return at


@inlined
def number_end(source: Buffer, at: int, end: int) -> int:
    """Where a number ends; the complement of the place of an error."""
    stop = _digits(source, at, end)
    if source.data[at] == ord("0") or source.data[stop] in (ord("."), ord("e"), ord("E")):
        return _odd_number_end(source, at, end)
    return stop if stop > at else _odd_number_end(source, at, end)


@kernel
def _odd_number_end(source: Buffer, at: int, end: int) -> int:
    """The same of numbers that are not plain digits."""
    if source.data[at] == ord("-"):
        at += 1
    begin = at
    at = _digits(source, at, end)
    if at == begin or (source.data[begin] == ord("0") and at > begin + 1):
        return ~begin
    if at < end and source.data[at] == ord("."):
        begin = at + 1
        at = _digits(source, begin, end)
        if at == begin:
            return ~at
    if at < end and source.data[at] | 32 == ord("e"):
        begin = at + 1
        if begin < end and (source.data[begin] == ord("+") or source.data[begin] == ord("-")):
            begin += 1
        at = _digits(source, begin, end)
        if at == begin:
            return ~at
    return int(at)


@kernel
def word_end(source: Buffer, at: int, end: int) -> int:
    """Where ``true``, ``false`` or ``null`` ends; the complement of the place of an error."""
    begin = at
    while at < end and at < begin + 5 and _WORD_BYTE[source.data[at]]:
        at += 1
    size = at - begin
    told = 0
    for index in range(begin, at):
        told = told << 8 | int(np.int64(source.data[index]))
    if (size == 4 and (told == 0x74727565 or told == 0x6E756C6C)) or (  # noqa: PLR1714 - compiled
        size == 5 and told == 0x66616C7365
    ):
        return int(at)
    return ~begin
