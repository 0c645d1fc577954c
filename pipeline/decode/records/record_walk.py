"""The walk over JSON records: one pass over the bytes, a row of cells for every record.

A message is records in any layout: one on each line, in arrays, one after another, indented. What
is wrong with a record concerns that record only; the walk goes on at the next line that can begin
one. This module must not know any format.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from pipeline.decode.kernels.kernel import Buffer, Bytes, Ints, buffer_of, inlined, kernel
from pipeline.decode.kernels.text import (
    CLOSE_ARRAY,
    CLOSE_OBJECT,
    COMMA,
    LENGTH_MASK,
    OFFSET_BITS,
    OPEN_ARRAY,
    OPEN_OBJECT,
    QUOTE,
)
from pipeline.decode.records.record_memory import (
    BEGIN,
    COUNTS,
    FILLS,
    LEADS_TO,
    NAME,
    NEXT,
    Memory,
    is_next,
    learn,
    nothing_seen,
)
from pipeline.decode.records.record_plan import NO_CELL, ROOT, Plan
from pipeline.decode.records.record_scan import (
    ESCAPES,
    MARK_BITS,
    number_end,
    space,
    string_end,
    unescape,
    word_end,
)
from pipeline.model.decoded import Refusal

MISSING, STRING, NUMBER, TRUE, FALSE, NULL, STRUCTURE, NUMBER_OF, ESCAPED = range(9)
"""What a cell holds; NUMBER_OF is a plain number and no slice, ESCAPED a string whose escapes are
still in it: none is when the walk is over."""

MAX_DEPTH: Final = 64
NOT_JSON, NOT_OBJECT, TOO_DEEP, INCOMPLETE = range(4)
REASONS: Final = ("not JSON", "not a JSON object", "nested too deeply", "no time is told")
"""Why a record is refused. INCOMPLETE: none of the cells that are needed was told."""

_RECORD_SEPARATOR: Final = 0x1E
"""What stands before each record of a JSON text sequence (RFC 7464)."""

FAULTS_NAMED: Final = 1000
"""How many bad records of a message are named one by one; the rest are counted by reason."""

_NODE, _BEGIN, _CELL, _COUNT, _CLOSER, _ITEMS = range(6)


class Room(NamedTuple):
    """What the walk writes on.

    Attributes:
        cells: of each record its cells: slices, or numbers where ``kinds`` says so.
        kinds: what each cell holds.
        begins: where each record begins.
        faults: place and reason of what was refused.
        stack: one row for each level of nesting.
        memory: names that were met.
    """

    cells: Ints
    kinds: Bytes
    begins: Ints
    faults: Ints
    stack: Ints
    memory: Memory


@dataclass(frozen=True, slots=True)
class Walked:
    """Records as the walk found them.

    Attributes:
        source: the bytes, with the strings of cells unescaped.
        cells: a row for each record.
        kinds: what each cell holds.
        texts: the messages as they came.
        starts: where each message begins in ``source``.
        messages: the message each record is in.
        offsets: where in its message each record begins.
        refused: what was set aside.
    """

    source: Buffer
    cells: Ints
    kinds: Bytes
    texts: Sequence[bytes]
    starts: Ints
    messages: Ints
    offsets: Ints
    refused: tuple[Refusal, ...]


def walk(messages: Sequence[bytes], plan: Plan, width: int) -> Walked:
    """Find the records of messages and put what the plan looks for into cells.

    Args:
        messages: JSON text.
        plan: what to look for.
        width: how many cells a row has.
    """
    source = buffer_of(messages)
    bounds = np.cumsum([0, *map(len, messages)])
    room = _room(max(64, source.size >> 9), width)
    counts: list[int] = []
    refused: list[Refusal] = []
    rows = 0
    for number in range(len(messages)):
        at, end, faults = int(bounds[number]), int(bounds[number + 1]), 0
        before = rows
        while True:
            at, rows, faults = _walk(source, at, end, plan, room, rows, faults)
            if at >= end:
                break
            room = _larger(room, rows, faults)
        counts.append(rows - before)
        refused += _refusals(number, room.faults[:faults], int(bounds[number]))
    _unescape(source, room.cells[:rows], room.kinds[:rows])
    owners = np.repeat(np.arange(len(messages)), counts)
    return Walked(
        source,
        room.cells[:rows],
        room.kinds[:rows],
        messages,
        bounds,
        owners,
        room.begins[:rows] - bounds[owners] if rows else room.begins[:0],
        tuple(refused),
    )


def _refusals(message: int, faults: Ints, begin: int) -> list[Refusal]:
    named = [
        Refusal(message, REASONS[reason], place - begin)
        for place, reason in faults[:FAULTS_NAMED].tolist()
    ]
    rest = faults[FAULTS_NAMED:]
    for reason in np.unique(rest[:, 1]).tolist():
        here = rest[rest[:, 1] == reason]
        named.append(Refusal(message, REASONS[reason], int(here[0, 0]) - begin, len(here)))
    return named


def _room(rows: int, width: int) -> Room:
    return Room(
        np.empty((rows, width), np.int64),
        np.empty((rows, width), np.uint8),
        np.empty(rows, np.int64),
        np.empty((64, 2), np.int64),
        np.zeros((MAX_DEPTH + 1, _ITEMS + 1), np.int64),
        nothing_seen(),
    )


def _larger(room: Room, rows: int, faults: int) -> Room:
    """Twice as much room for what has become full."""
    cells, kinds, begins, told, stack, memory = room
    if rows == len(cells):
        cells = np.concatenate((cells, np.empty_like(cells)))
        kinds = np.concatenate((kinds, np.empty_like(kinds)))
        begins = np.concatenate((begins, np.empty_like(begins)))
    if faults == len(told):
        told = np.concatenate((told, np.empty_like(told)))
    return Room(cells, kinds, begins, told, stack, memory)


@kernel
def _walk(
    source: Buffer, at: int, end: int, plan: Plan, room: Room, rows: int, faults: int
) -> tuple[int, int, int]:
    """Walk on until the end, or until there is no room for another record or fault."""
    while at < end:
        byte = source.data[at]
        if byte in (32, 10, 13, 9, _RECORD_SEPARATOR, COMMA, OPEN_ARRAY, CLOSE_ARRAY):
            at += 1
            continue
        if byte == 0xEF and source.data[at + 1] == 0xBB and source.data[at + 2] == 0xBF:
            at += 3  # a byte order mark; there is slack behind the buffer
            continue
        if rows == len(room.cells) or faults == len(room.faults):
            return at, rows, faults
        stop = ~at
        if byte == OPEN_OBJECT:
            room.kinds[rows, :] = MISSING
            stop = _record(source, at, end, plan, room, rows)
        if stop >= 0 and _is_complete(plan, room, rows):
            room.begins[rows] = at
            rows += 1
            at = stop
            continue
        reason = INCOMPLETE if stop >= 0 else NOT_JSON if byte == OPEN_OBJECT else NOT_OBJECT
        if stop < 0 and room.stack[0, _ITEMS] == TOO_DEEP:
            reason = TOO_DEEP
        room.stack[0, _ITEMS] = 0
        room.faults[faults, 0] = at
        room.faults[faults, 1] = reason
        faults += 1
        at = stop if stop >= 0 else _next_record(source, at, end)
    return at, rows, faults


@inlined
def _is_complete(plan: Plan, room: Room, row: int) -> bool:
    for cell in plan.needed:
        if room.kinds[row, cell] != MISSING:
            return True
    return len(plan.needed) == 0


@inlined
def _next_record(source: Buffer, at: int, end: int) -> int:
    """The next line that may begin a record: not one that goes on with what is indented.

    It is looked for from where the bad record begins, since that may have swallowed good ones; as
    each level of nesting can swallow the rest but once, no byte is looked at more often than levels
    are allowed.
    """
    while at < end:
        while at < end and source.data[at] != 10:
            at += 1
        at += 1
        if at < end:
            byte = source.data[at]
            if byte > 32 and byte not in (CLOSE_OBJECT, CLOSE_ARRAY, QUOTE):
                return at
    return end


@kernel
def _record(
    source: Buffer, at: int, end: int, plan: Plan,
    room: Room, row: int,
) -> int:  # fmt: skip
    """Walk one object; returns where it ends, or the complement of the place of an error."""
    data, stack, names = source.data, room.stack, room.memory.names
    depth, node, closer, last = 0, ROOT, CLOSE_OBJECT, BEGIN
    stack[0, _NODE], stack[0, _CELL], stack[0, _COUNT] = ROOT, NO_CELL, NO_CELL
    stack[0, _CLOSER], stack[0, _ITEMS] = CLOSE_OBJECT, 0
    first = True
    at += 1
    while True:
        at = space(source, at, end)
        if at >= end:
            return ~end
        if data[at] == closer:
            at += 1
            if depth == 0:
                return at
            _close(room, row, depth, at)
            depth -= 1
            node, closer = stack[depth, _NODE], stack[depth, _CLOSER]
            first = False
            continue
        if not first:
            if data[at] != COMMA:
                return ~at
            at = space(source, at + 1, end)
        first = False
        child, cell, count = node, NO_CELL, NO_CELL
        if closer == CLOSE_OBJECT:
            name = names[last, NEXT]
            if is_next(source, at, end, names, name, node):
                at += names[name, NAME] & LENGTH_MASK
            elif at >= end or data[at] != QUOTE:
                return ~at
            else:
                at, name = learn(source, at, end, plan, room.memory, node, last)
                if at < 0:
                    return at
            child, cell, count = names[name, LEADS_TO], names[name, FILLS], names[name, COUNTS]
            last = name
            at = space(source, at, end)
        else:
            stack[depth, _ITEMS] += 1
        if at >= end:
            return ~end
        byte = data[at]
        if byte == QUOTE:
            begin = at + 1
            stop = string_end(source, begin, end)
            if stop < 0:
                return stop
            at = stop >> MARK_BITS
            if cell >= 0:
                room.cells[row, cell] = begin << OFFSET_BITS | (at - begin)
                room.kinds[row, cell] = ESCAPED if stop & ESCAPES else STRING
            at += 1
            continue
        if byte in (OPEN_OBJECT, OPEN_ARRAY):
            if depth == MAX_DEPTH:
                stack[0, _ITEMS] = TOO_DEEP
                return ~at
            depth += 1
            node, closer = child, CLOSE_OBJECT if byte == OPEN_OBJECT else CLOSE_ARRAY
            stack[depth, _NODE], stack[depth, _CELL], stack[depth, _COUNT] = child, cell, count
            stack[depth, _CLOSER], stack[depth, _BEGIN], stack[depth, _ITEMS] = closer, at, 0
            first = True
            at += 1
            continue
        begin = at
        if byte == ord("-") or ord("0") <= byte <= ord("9"):
            at = number_end(source, at, end)
            kind = NUMBER
        else:
            at = word_end(source, at, end)
            kind = TRUE if byte == ord("t") else FALSE if byte == ord("f") else NULL
        if at < 0:
            return at
        if cell >= 0 and (kind != NULL or room.kinds[row, cell] == MISSING):
            room.cells[row, cell] = begin << OFFSET_BITS | (at - begin)
            room.kinds[row, cell] = kind


@inlined
def _close(room: Room, row: int, depth: int, at: int) -> None:
    """Put an object or array that has ended into its cells."""
    stack = room.stack
    cell, count = stack[depth, _CELL], stack[depth, _COUNT]
    if cell >= 0:
        begin = stack[depth, _BEGIN]
        room.cells[row, cell] = begin << OFFSET_BITS | (at - begin)
        room.kinds[row, cell] = STRUCTURE
    if count >= 0 and stack[depth, _CLOSER] == CLOSE_ARRAY:
        room.cells[row, count] = stack[depth, _ITEMS]
        room.kinds[row, count] = NUMBER_OF


@kernel
def _unescape(source: Buffer, cells: Ints, kinds: Bytes) -> None:
    """Take the escapes out of all strings.

    Not before all is walked: what a bad record holds is walked once more.
    """
    for row in range(len(cells)):
        for cell in range(cells.shape[1]):
            if kinds[row, cell] == ESCAPED:
                begin, size = cells[row, cell] >> OFFSET_BITS, cells[row, cell] & LENGTH_MASK
                size = unescape(source, begin, begin + size)
                cells[row, cell] = begin << OFFSET_BITS | size
                kinds[row, cell] = STRING
