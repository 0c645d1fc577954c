"""A walk over lines that are simple JSON objects, as log writers write them, with no objects made.

Simple is an object of known members whose values are null, whole numbers, or strings of printable
ASCII without escapes. Any other line, and any that is no JSON at all, is left to a parser; so what
is answered here must be, and is, what a parser would answer.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.decode.kernels.blocks import BLOCK, block_test, lowest
from pipeline.decode.kernels.columns import NOTHING
from pipeline.decode.kernels.hashing import equal
from pipeline.decode.kernels.kernel import Buffer, Ints, buffer_of, inlined, kernel
from pipeline.decode.kernels.text import LENGTH_MASK, OFFSET_BITS, slices_of
from pipeline.decode.lines.lines import Lines

_NULL: Final = -2
"""The cell of a member that is null."""
_NOTHING: Final = int(NOTHING)
_LONGEST_NUMBER: Final = 18
_MOST_MEMBERS: Final = 64

_QUOTE, _COLON, _COMMA, _OPEN, _CLOSE, _BACKSLASH, _DASH = 0x22, 0x3A, 0x2C, 0x7B, 0x7D, 0x5C, 0x2D
_ZERO, _NINE = 0x30, 0x39
_SPACE: Final = 0x20
_stops = block_test({_QUOTE, _BACKSLASH, *range(32), *range(128, 256)})
"""What ends a simple string, or does not stand in one."""


class Members(NamedTuple):
    """The members that are known, as the kernel takes them.

    Attributes:
        text: all spellings of all names, as they stand in a line: with quotes and colon.
        spellings: where each spelling is.
        cells: which cell each spelling fills.
        digits: of each cell whether it may be a number.
    """

    text: Buffer
    spellings: Ints
    cells: Ints
    digits: NDArray[np.bool_]


class Walked(NamedTuple):
    """What was found.

    Attributes:
        cells: of each line the slices of its members, one column a name; ``NOTHING`` where a
            member is not there, null, ``""`` or ``"-"``.
        simple: which lines are simple; the cells of others mean nothing.
    """

    cells: Ints
    simple: NDArray[np.bool_]


def members_of(spellings: Mapping[str, Sequence[str]], digits: Sequence[str]) -> Members:
    """Compile members.

    Args:
        spellings: the ways in which each name is written; the order is that of the cells.
        digits: names whose values may be numbers.
    """
    words = [
        (b'"%s":' % word.encode(), cell)
        for cell, one in enumerate(spellings.values())
        for word in one
    ]
    return Members(
        buffer_of(word for word, _ in words),
        slices_of([word for word, _ in words]),
        np.array([cell for _, cell in words], np.int64),
        np.array([name in digits for name in spellings], np.bool_),
    )


def walk(lines: Lines, members: Members) -> Walked:
    """Walk over all lines."""
    found = Walked(
        np.full((len(lines), len(members.digits)), NOTHING), np.zeros(len(lines), np.bool_)
    )
    _walk(lines.buffer, lines.slices, members, np.zeros(_MOST_MEMBERS, np.int64), *found)
    return found


@kernel
def _walk(
    source: Buffer,
    slices: Ints,
    members: Members,
    order: Ints,
    cells: Ints,
    simple: NDArray[np.bool_],
) -> None:
    for line in range(len(slices)):
        at = slices[line] >> OFFSET_BITS
        end = at + (slices[line] & LENGTH_MASK)
        simple[line] = _object(source, at, end, members, order, cells[line])


@inlined
def _object(source: Buffer, at: int, end: int, members: Members, order: Ints, cells: Ints) -> bool:
    """Read one object; ``order`` remembers which spelling came when in the last one."""
    data = source.data
    if data[at] != _OPEN:
        return False
    for count in range(_MOST_MEMBERS):
        at = _blanks(source, _member(source, at + 1, end, members, order, count, cells), end)
        if at < 0 or at >= end:
            return False
        if data[at] == _CLOSE:
            return bool(at + 1 == end) and _settle(cells)
        if data[at] != _COMMA:
            return False
    return False


@inlined
def _member(
    source: Buffer, at: int, end: int, members: Members, order: Ints, count: int, cells: Ints
) -> int:
    """Keep one member and return where it ends; -1 when it is not simple."""
    at, spelling = _blanks(source, at, end), order[count]
    if _is_spelled(source, at, end, members, spelling):
        at += members.spellings[spelling] & LENGTH_MASK
    else:
        at, spelling = _other_key(source, at, end, members)
        if at < 0:
            return -1
        order[count] = max(spelling, 0)
    value = _blanks(source, at, end)
    after = _value(source, value, end)
    if after < 0:
        return -1
    return after if _store(source, value, after, members, spelling, cells) else -1


@inlined
def _settle(cells: Ints) -> bool:
    for cell in range(len(cells)):
        if cells[cell] == _NULL:
            cells[cell] = _NOTHING
    return True


@inlined
def _blanks(source: Buffer, at: int, end: int) -> int:
    while 0 <= at < end and source.data[at] in (_SPACE, 0x09):
        at += 1
    return at


@inlined
def _string(source: Buffer, at: int, end: int) -> int:
    """Behind the closing quote of a simple string; -1 when there is none."""
    if at < 0 or at >= end or source.data[at] != _QUOTE:
        return -1
    at += 1
    stops = _stops(source.data, at)
    while not stops and at < end:
        at += BLOCK
        stops = _stops(source.data, at)
    at += lowest(stops)
    return at + 1 if at < end and source.data[at] == _QUOTE else -1


@inlined
def _value(source: Buffer, at: int, end: int) -> int:
    """Behind a simple value; -1 when it is none."""
    data = source.data
    if data[at] == _QUOTE:
        return _string(source, at, end)
    if data[at] == ord("n"):
        null = data[at + 1] == ord("u") and data[at + 2] == ord("l") and data[at + 3] == ord("l")
        return at + 4 if null and at + 4 <= end else -1
    begin = at
    while at < end and _ZERO <= data[at] <= _NINE:
        at += 1
    length = at - begin
    if length == 0 or length > _LONGEST_NUMBER or (length > 1 and data[begin] == _ZERO):
        return -1
    return at if at < end and data[at] in (_COMMA, _CLOSE, _SPACE) else -1


@kernel
def _other_key(source: Buffer, at: int, end: int, members: Members) -> tuple[int, int]:
    """Behind the colon of a key, and its number; -1 for one that is not simple or not known."""
    stop = _string(source, at, end)
    colon = _blanks(source, stop, end)
    if stop < 0 or colon >= end or source.data[colon] != _COLON:
        return -1, -1
    for spelling in range(len(members.spellings)):
        known = members.spellings[spelling]
        size = (known & LENGTH_MASK) - 1  # without the colon
        if size == stop - at and equal(source, at, members.text, known >> OFFSET_BITS, size):
            return colon + 1, spelling
    return colon + 1, -1


@inlined
def _is_spelled(source: Buffer, at: int, end: int, members: Members, spelling: int) -> bool:
    """Whether a key stands there as it is spelled, with quotes and colon."""
    known = members.spellings[spelling]
    size = known & LENGTH_MASK
    return 0 <= at <= end - size and equal(source, at, members.text, known >> OFFSET_BITS, size)


@inlined
def _store(
    source: Buffer, begin: int, end: int, members: Members, spelling: int, cells: Ints
) -> bool:
    """Keep a value; False when the line is not simple after all."""
    data = source.data
    null, quoted = data[begin] == ord("n"), data[begin] == _QUOTE
    length = end - begin - 2 * int(quoted)
    dash = quoted and (length == 0 or (length == 1 and data[begin + 1] == _DASH))
    if spelling < 0:
        return bool(null or dash)
    cell = members.cells[spelling]
    if cells[cell] != _NOTHING or not (null or quoted or members.digits[cell]):
        return False
    value = (begin + int(quoted)) << OFFSET_BITS | length
    cells[cell] = _NULL if null or dash else value
    return True
