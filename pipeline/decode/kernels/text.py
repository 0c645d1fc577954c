"""Text inside kernels: copied by words, mended where it is not UTF-8, escaped for JSON.

The writers take a slice (``offset << 32 | length``) of a buffer, write to another buffer from
``at`` on and return where they stopped. They write whole words and so may scribble up to ``SLACK``
bytes behind that place. Room for what they may need at most is the caller's to provide.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from pipeline.decode.kernels.kernel import Buffer, Ints, inlined, kernel

LENGTH_MASK: Final = 0xFFFFFFFF
OFFSET_BITS: Final = 32

LONGEST_MENDED: Final = 3
LONGEST_ESCAPED: Final = 6
"""How many bytes one byte of text may become, as text and as JSON."""

_HIGH_BITS: Final = np.uint64(0x8080808080808080)
_ONES: Final = np.uint64(0x0101010101010101)
_QUOTES: Final = np.uint64(ord('"')) * _ONES
_BACKSLASHES: Final = np.uint64(ord("\\")) * _ONES
_SPACES: Final = np.uint64(ord(" ")) * _ONES
_EIGHT: Final = np.uint64(8)
_ALL: Final = np.uint64(0xFFFFFFFFFFFFFFFF)

QUOTE, BACKSLASH, COMMA, COLON = 0x22, 0x5C, 0x2C, 0x3A
OPEN_OBJECT, CLOSE_OBJECT, OPEN_ARRAY, CLOSE_ARRAY = 0x7B, 0x7D, 0x5B, 0x5D

_HEX: Final = np.frombuffer(b"0123456789abcdef", np.uint8)
_BASE64: Final = np.frombuffer(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", np.uint8
)
_SHORT: Final = np.zeros(128, np.uint8)
_SHORT[[8, 9, 10, 12, 13, QUOTE, BACKSLASH]] = np.frombuffer(b'btnfr"\\', np.uint8)
"""What follows the backslash of characters that JSON has a short escape for."""


def slices_of(words: Sequence[bytes]) -> Ints:
    """Where the words are in a buffer that has them one after the other."""
    lengths = np.array([len(word) for word in words], np.int64)
    return (np.cumsum(lengths) - lengths) << OFFSET_BITS | lengths


@inlined
def copy(source: Buffer, slice_: int, out: Buffer, at: int) -> int:
    """Copy bytes as they are."""
    begin = slice_ >> OFFSET_BITS
    length = slice_ & LENGTH_MASK
    for index in range(0, length, 8):
        out.words[at + index] = source.words[begin + index]
    return at + length


@inlined
def copy_text(source: Buffer, slice_: int, out: Buffer, at: int) -> int:
    """Copy text, with U+FFFD for whatever is not UTF-8."""
    begin = slice_ >> OFFSET_BITS
    length = slice_ & LENGTH_MASK
    seen = np.uint64(0)
    index = 0
    while index <= length - 8:
        word = source.words[begin + index]
        out.words[at + index] = word
        seen |= word
        index += 8
    if index < length:
        word = source.words[begin + index]
        out.words[at + index] = word
        seen |= word & (_ALL >> np.uint64(64 - 8 * (length - index)))
    if seen & _HIGH_BITS:
        return _copy_mended(source, slice_, out, at)
    return int(at + length)


@kernel
def utf8_sequence(source: Buffer, begin: int, end: int) -> int:
    """Length of the UTF-8 character at ``begin``, or minus the bytes that one U+FFFD stands for.

    The table is that of the Unicode standard, 3.9; replacing is that of Python and of the web.
    """
    data = source.data
    lead = data[begin]
    if lead < 0x80:
        return 1
    if lead < 0xC2 or lead > 0xF4:
        return -1
    more = 1 + (lead >= 0xE0) + (lead >= 0xF0)
    least = 0xA0 if lead == 0xE0 else 0x90 if lead == 0xF0 else 0x80
    most = 0x9F if lead == 0xED else 0x8F if lead == 0xF4 else 0xBF
    for index in range(1, more + 1):
        if begin + index >= end or not least <= data[begin + index] <= most:
            return -index
        least, most = 0x80, 0xBF
    return int(more + 1)


@kernel
def _copy_mended(source: Buffer, slice_: int, out: Buffer, at: int) -> int:
    position = slice_ >> OFFSET_BITS
    end = position + (slice_ & LENGTH_MASK)
    while position < end:
        step = utf8_sequence(source, position, end)
        if step > 0:
            for index in range(step):
                out.data[at + index] = source.data[position + index]
            at += step
        else:
            at = _replacement(out, at)
        position += abs(step)
    return at


@inlined
def _replacement(out: Buffer, at: int) -> int:
    out.data[at] = 0xEF
    out.data[at + 1] = 0xBF
    out.data[at + 2] = 0xBD
    return at + 3


@inlined
def is_plain(word: int) -> bool:
    """Whether eight bytes need no escape and are ASCII. Source: Bit Twiddling Hacks, haszero."""
    quotes = word ^ _QUOTES
    backslashes = word ^ _BACKSLASHES
    found = (word - _SPACES) | (quotes - _ONES) | (backslashes - _ONES) | word
    return bool(found & _HIGH_BITS == 0)


@inlined
def json_string(source: Buffer, slice_: int, out: Buffer, at: int) -> int:
    """Write text as a JSON string with its quotes."""
    begin = slice_ >> OFFSET_BITS
    length = slice_ & LENGTH_MASK
    out.data[at] = QUOTE
    at += 1
    index = 0
    while index < length:
        word = source.words[begin + index]
        left = length - index
        kept = word
        if left < 8:
            # what lies behind the text is not looked at
            mask = _ALL >> np.uint64(64 - 8 * left)
            kept = (word & mask) | (_SPACES & ~mask)
        if not is_plain(kept):
            return _json_rest(source, begin + index, begin + length, out, at + index)
        out.words[at + index] = word
        index += 8
    out.data[at + length] = QUOTE
    return at + length + 1


@kernel
def _json_rest(source: Buffer, position: int, end: int, out: Buffer, at: int) -> int:
    """The rest of a JSON string, character by character, and its closing quote."""
    while position < end:
        byte = source.data[position]
        step = 1
        if byte >= 128:
            step = utf8_sequence(source, position, end)
            if step < 0:
                at = _replacement(out, at)
            for index in range(step):
                out.data[at] = source.data[position + index]
                at += 1
        elif _SHORT[byte] != 0:
            out.data[at] = BACKSLASH
            out.data[at + 1] = _SHORT[byte]
            at += 2
        elif byte < 32:
            at = _escape(byte, out, at)
        else:
            out.data[at] = byte
            at += 1
        position += abs(step)
    out.data[at] = QUOTE
    return at + 1


@inlined
def _escape(byte: int, out: Buffer, at: int) -> int:
    out.data[at] = BACKSLASH
    out.data[at + 1] = ord("u")
    out.data[at + 2] = ord("0")
    out.data[at + 3] = ord("0")
    out.data[at + 4] = _HEX[byte >> 4]
    out.data[at + 5] = _HEX[byte & 15]
    return at + 6


@kernel
def decimal(value: int, out: Buffer, at: int) -> int:
    """Write a signed number in decimal."""
    if value < 0:
        out.data[at] = ord("-")
        return unsigned_decimal(-value, out, at + 1)
    return unsigned_decimal(value, out, at)


@kernel
def unsigned_decimal(bits: int, out: Buffer, at: int) -> int:
    """Write a number, given as the 64 bits of an unsigned integer, in decimal."""
    ten = np.uint64(10)
    value = np.uint64(bits)
    digits = 1
    rest = value // ten
    while rest:
        digits += 1
        rest //= ten
    for index in range(at + digits - 1, at - 1, -1):
        out.data[index] = ord("0") + value % ten
        value //= ten
    return at + digits


@kernel
def hexadecimal(source: Buffer, slice_: int, out: Buffer, at: int) -> int:
    """Write bytes as a JSON string of lower-case hexadecimal digits."""
    begin = slice_ >> OFFSET_BITS
    out.data[at] = QUOTE
    at += 1
    for index in range(begin, begin + (slice_ & LENGTH_MASK)):
        byte = source.data[index]
        out.data[at] = _HEX[byte >> 4]
        out.data[at + 1] = _HEX[byte & 15]
        at += 2
    out.data[at] = QUOTE
    return at + 1


@kernel
def base64(source: Buffer, slice_: int, out: Buffer, at: int) -> int:
    """Write bytes as a JSON string of base64 with padding."""
    begin = slice_ >> OFFSET_BITS
    length = slice_ & LENGTH_MASK
    out.data[at] = QUOTE
    at += 1
    for index in range(0, length, 3):
        group = 0
        for byte in range(3):
            group = group << 8
            if index + byte < length:
                group |= int(np.int64(source.data[begin + index + byte]))
        for digit in range(4):
            out.data[at + digit] = _BASE64[(group >> (18 - 6 * digit)) & 63]
        for digit in range(length - index + 1, 4):
            out.data[at + digit] = ord("=")
        at += 4
    out.data[at] = QUOTE
    return at + 1
