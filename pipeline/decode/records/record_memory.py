"""Names of members that the walk has met, so that it need not look at them again.

Records of one sender have the same members in the same order. So of each name the walk remembers
which came after it, and nearly always knows the next one before it is there: a comparison of a few
words is all that is left to do. What is remembered is only ever a guess; bytes decide.
"""

from typing import Final, NamedTuple

import numpy as np

from pipeline.decode.kernels.hashing import equal
from pipeline.decode.kernels.kernel import Buffer, Ints, empty_buffer, inlined, kernel
from pipeline.decode.kernels.text import COLON, LENGTH_MASK, OFFSET_BITS, copy
from pipeline.decode.records.record_plan import (
    CELL,
    CHILD,
    COUNT,
    LONGEST_NAME,
    NO_CELL,
    NOWHERE,
    Plan,
    find,
    slot_of,
)
from pipeline.decode.records.record_scan import (
    ESCAPES,
    LONGEST_ESCAPE,
    MARK_BITS,
    space,
    string_end,
    unescape,
)

NAME, OWNER, LEADS_TO, FILLS, COUNTS, NEXT = range(6)
"""Columns: where the name is, from its quote to its colon; the node it is a member of; child, cell
and count of its edge; the row of the name that came after it."""

_ROWS: Final = 512
_PROBES: Final = 8
_NOBODY: Final = -1
BEGIN: Final = _ROWS
"""The row that stands for the begin of a record."""
_OTHER: Final = _ROWS + 1
"""The row of a name that is not remembered: it has escapes, or space before its colon."""


class Memory(NamedTuple):
    """What is remembered; for one walk.

    Attributes:
        names: a row for each name.
        scratch: room to unescape a name in.
    """

    names: Ints
    scratch: Buffer


def nothing_seen() -> Memory:
    """The memory of a walk that begins."""
    names = np.full((_ROWS + 2, NEXT + 1), _NOBODY, np.int64)
    names[:, NEXT] = BEGIN
    return Memory(names, empty_buffer(LONGEST_ESCAPE * LONGEST_NAME))


@inlined
def is_next(source: Buffer, at: int, end: int, names: Ints, row: int, node: int) -> bool:
    """Whether the name of a row stands at ``at``, as a member of that node, with its colon."""
    size = names[row, NAME] & LENGTH_MASK
    if names[row, OWNER] != node or at + size > end:
        return False
    return equal(source, at, source, names[row, NAME] >> OFFSET_BITS, size)


@kernel
def learn(
    source: Buffer, at: int, end: int, plan: Plan, memory: Memory, node: int, last: int
) -> tuple[int, int]:
    """Read the name of a member that begins at ``at``, and remember that it came after ``last``.

    Returns:
        the place behind its colon, or the complement of the place of an error; and its row.
    """
    names = memory.names
    stop = string_end(source, at + 1, end)
    if stop < 0:
        return stop, last
    close = stop >> MARK_BITS
    colon = space(source, close + 1, end)
    if colon >= end or source.data[colon] != COLON:
        return ~colon, last
    row = _OTHER
    if stop & ESCAPES:
        edge = _find_escaped(source, at + 1, close, plan, memory.scratch, node)
        _remember(plan, names, row, edge)
    elif colon > close + 1:
        _remember(plan, names, row, find(plan, source, at + 1, close - at - 1, node))
    else:
        row = _row_of(source, at, colon + 1 - at, names, node)
        if names[row, OWNER] == _NOBODY:
            _remember(plan, names, row, find(plan, source, at + 1, close - at - 1, node))
            names[row, NAME] = at << OFFSET_BITS | (colon + 1 - at)
            names[row, OWNER] = node
    names[last, NEXT] = row
    return colon + 1, row


@inlined
def _row_of(source: Buffer, at: int, size: int, names: Ints, node: int) -> int:
    """The row of a name; when it has none, one that is free, or that another had."""
    first = slot_of(source, at, size, node, _ROWS)
    for probe in range(_PROBES):
        row = (first + probe) & (_ROWS - 1)
        if names[row, OWNER] == _NOBODY:
            return row
        known = names[row, NAME]
        alike = names[row, OWNER] == node and known & LENGTH_MASK == size
        if alike and equal(source, at, source, known >> OFFSET_BITS, size):
            return row
    names[first, OWNER] = _NOBODY
    return first


@inlined
def _remember(plan: Plan, names: Ints, row: int, edge: int) -> None:
    names[row, LEADS_TO] = plan.edges[edge, CHILD] if edge >= 0 else NOWHERE
    names[row, FILLS] = plan.edges[edge, CELL] if edge >= 0 else NO_CELL
    names[row, COUNTS] = plan.edges[edge, COUNT] if edge >= 0 else NO_CELL


@kernel
def _find_escaped(
    source: Buffer, begin: int, end: int, plan: Plan, scratch: Buffer, node: int
) -> int:
    """The same as ``find`` of a name with escapes, which stay as they are where they are."""
    if end - begin > scratch.size:
        return -1
    copy(source, begin << OFFSET_BITS | (end - begin), scratch, 0)
    return find(plan, scratch, 0, unescape(scratch, 0, end - begin), node)
