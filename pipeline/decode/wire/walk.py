"""The walk over protobuf wire bytes: one compiled loop for every format, driven by tables.

How to use it::

    FORMAT = Format("name", "RootMessage", MESSAGES)      # see pipeline.decode.wire.declaration
    walked = FORMAT.walk(messages)                        # many messages at once
    spans = walked.rows("spans")                          # Rows: one int64 per cell
    spans.column("kind"), spans.present("sum"), spans.parents
    walked.refused                                        # malformed messages, nothing of them kept

* A **row** is a message (or elements of a repeated scalar) that was declared to be one; a
  **cell** is one int64 of it. Scalars are widened to 64 bits; doubles keep their bits
  (``column(...).view(np.float64)``); strings and bytes are *slices*, ``offset << 32 | length`` into
  ``walked.buffer``. A cell that was not told is 0, and ``present`` tells the difference.
* The **parent** of a row is the row number in the table of the enclosing row; of an outermost row
  the index of the message; of a row nested in a row of its own table ``~number`` (negative).
* Rows are in wire order, outermost first, and a row is told in one piece: so the rows of a table
  that belong to one parent are neighbours, parents never decrease, and all that is nested in a row
  follows it directly. Singular submessages have no row of their own (``Enter``): their cells are
  those of the row around them, and are merged as protobuf merges. A singular submessage that is
  declared to be a ``Row`` for its raw bytes may have several rows; their bytes, one after the
  other, mean the same.
* Fields may come in any order. Unknown fields, groups, and known fields of another wire type are
  skipped. What the official parser refuses is refused, with the offset of the field at fault; the
  exception is text that is not UTF-8, which is accepted here and mended later.

Memory is bounded: every row has a price in bytes (``Row.least``, or half a byte a cell), and a
message cannot buy more rows than it has bytes, and ``FREE_BYTES`` that every message is given.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.decode.kernels.kernel import Buffer, Bytes, Ints, buffer_of, inlined, kernel
from pipeline.decode.wire.declaration import (
    CASE_AT,
    CELL_AT,
    CELL_BITS,
    EACH,
    ENTER,
    FIELDS,
    HEADER,
    NODE_AT,
    NODE_BITS,
    OPERATION,
    OPERATION_BITS,
    PARENT,
    PRESENT,
    ROW,
    TABLE_AT,
    TOLD_AT,
    WIRE_BITS,
    Messages,
    compile_plan,
)
from pipeline.errors import DecodeError
from pipeline.model.decoded import Refusal

MAX_DEPTH: Final = 100
"""How deep messages and groups may nest; the official parser's limit."""

FREE_BYTES: Final = 1 << 14
"""For how many bytes of rows a message needs no bytes of its own."""

MAX_BYTES: Final = 1 << 28
"""How many bytes of messages one walk takes: what is written of them, even if escaped for JSON six
bytes for one, has 32-bit offsets."""

_TELLING: Final = 1 << 12
"""From this many bytes on a walk tells how many rows to expect of the next."""

TRUNCATED, OVERLONG, BAD_TAG, TOO_LONG, BAD_WIRE_TYPE, BAD_GROUP, TOO_DEEP, BAD_PACKED, TOO_MANY = (
    range(1, 10)
)
REASONS: Final = {
    TRUNCATED: "ends in the middle of a field",
    OVERLONG: "a number is too long",
    BAD_TAG: "a field number is out of range",
    TOO_LONG: "a field is longer than the message around it",
    BAD_WIRE_TYPE: "a wire type that does not exist",
    BAD_GROUP: "a group's end does not match its beginning",
    TOO_DEEP: f"nested deeper than {MAX_DEPTH}",
    BAD_PACKED: "a packed field does not hold whole numbers",
    TOO_MANY: "more records than its bytes can hold",
}

_BYTES: Final = OPERATION["bytes"]
_BOOL: Final = OPERATION["bool"]
_INT32: Final = OPERATION["int32"]
_UINT32: Final = OPERATION["uint32"]
_SINT32: Final = OPERATION["sint32"]
_SINT64: Final = OPERATION["sint64"]
_SFIXED32: Final = OPERATION["sfixed32"]
_OPERATION_MASK: Final = (1 << OPERATION_BITS) - 1
_WIRE_MASK: Final = (1 << WIRE_BITS) - 1
_CELL_MASK: Final = (1 << CELL_BITS) - 1
_NODE_MASK: Final = (1 << NODE_BITS) - 1
_LAST_63: Final = (1 << 63) - 1
_BASE, _STRIDE, _CAPACITY, _COUNT, _MARK, _PRICE, _SHAPE = range(7)
_END, _NODE, _TABLE, _CELLS, _NUMBER, _GROUP, _SAVED = range(7)


@inlined
def _varint(data: Bytes, position: int, end: int, most: int) -> tuple[int, int]:
    """The number at ``position`` and where it ends; the end is 0 or less when it is not good."""
    value = 0
    shift = 0
    stop = min(end, position + most)
    while position < stop:
        byte = int(np.int64(data[position]))
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7
    return value, -TRUNCATED if stop == end else -OVERLONG


@inlined
def _scalar(operation: int, value: int) -> int:
    """The cell of a varint or a 32-bit number."""
    if operation == _BOOL:
        return int(value != 0)
    if operation in (_INT32, _SFIXED32):
        return int(np.int64(np.int32(value)))
    if operation == _UINT32:
        return value & 0xFFFFFFFF
    if operation == _SINT32:
        value &= 0xFFFFFFFF
        return int(np.int64(np.int32((value >> 1) ^ -(value & 1))))
    if operation == _SINT64:
        return ((value >> 1) & _LAST_63) ^ -(value & 1)
    return value


@inlined
def _packed_is_whole(data: Bytes, position: int, end: int, wire_type: int) -> bool:
    """Whether the bytes of a packed field are whole numbers of that wire type."""
    if wire_type == 1:
        return (end - position) & 7 == 0
    if wire_type == 5:
        return (end - position) & 3 == 0
    while position < end:
        _, position = _varint(data, position, end, 10)
        if position <= 0:
            return False
    return True


@kernel
def _walk(
    buffer: Buffer,
    bounds: Ints,
    plan: Ints,
    shape: Ints,
    cells: Ints,
    faults: Ints,
    stack: Ints,
    first: int,
) -> tuple[int, int, int]:
    """Walk messages from ``first`` on.

    Args:
        buffer: all messages.
        bounds: start and end of each message.
        plan: instructions by node and field.
        shape: of each table where it begins in ``cells``, cells per row, rows of room, rows so far,
            rows before this message, bytes that a row costs.
        cells: room for all tables; the first cells are a row that nobody reads.
        faults: of malformed messages: index, reason, offset.
        stack: room for what encloses the message that is walked.
        first: the message to begin with.

    Returns:
        The next message; the table that must grow before it can be taken, or -1 when all are done;
        and how many faults were written.
    """
    data, words, _ = buffer
    found = 0
    for message in range(first, len(bounds)):
        start = bounds[message, 0]
        end = bounds[message, 1]
        budget = FREE_BYTES + end - start
        for table in range(len(shape)):
            shape[table, _MARK] = shape[table, _COUNT]
        position = start
        node = 1
        table = -1
        row = 0
        number = message
        depth = 0
        stack[0, _GROUP] = 0
        at = start
        fault = 0
        full = -1
        while True:
            if position == end:
                if depth == 0:
                    break
                if stack[depth, _GROUP] != 0:
                    fault = TRUNCATED
                    break
                depth -= 1
                end = stack[depth, _END]
                node = stack[depth, _NODE]
                table = stack[depth, _TABLE]
                row = stack[depth, _CELLS]
                number = stack[depth, _NUMBER]
                continue
            at = position
            tag = int(np.int64(data[position]))
            position += 1
            if tag >= 128:
                tag, position = _varint(data, at, end, 5)
                if position <= 0:
                    fault = -position
                    break
            field = tag >> 3
            wire_type = tag & 7
            if field == 0 or tag > 0xFFFFFFFF:
                fault = BAD_TAG
                break
            instruction = plan[node, field] if field < FIELDS else 0
            operation = instruction & _OPERATION_MASK
            if operation != 0:
                wanted = (instruction >> OPERATION_BITS) & _WIRE_MASK
                if wanted != wire_type and not (operation == EACH and wire_type == 2):
                    operation = 0
            value = 0
            begin = position
            if wire_type == 2:
                if position < end and data[position] < 128:
                    value = int(np.int64(data[position]))
                    position += 1
                else:
                    value, position = _varint(data, position, end, 5)
                    if position <= 0:
                        fault = -position
                        break
                begin = position
                if value > end - position:
                    fault = TOO_LONG
                    break
                position += value
                value |= begin << 32
            elif wire_type == 0:
                if position < end and data[position] < 128:
                    value = int(np.int64(data[position]))
                    position += 1
                else:
                    value, position = _varint(data, position, end, 10)
                    if position <= 0:
                        fault = -position
                        break
            elif wire_type == 1:
                if end - position < 8:
                    fault = TRUNCATED
                    break
                value = int(np.int64(words[position]))
                position += 8
            elif wire_type == 5:
                if end - position < 4:
                    fault = TRUNCATED
                    break
                value = int(np.int64(words[position])) & 0xFFFFFFFF
                position += 4
            elif wire_type == 3:
                if depth == MAX_DEPTH:
                    fault = TOO_DEEP
                    break
                stack[depth, _END] = end
                stack[depth, _NODE] = node
                stack[depth, _TABLE] = table
                stack[depth, _CELLS] = row
                stack[depth, _NUMBER] = number
                depth += 1
                stack[depth, _GROUP] = field
                node = 0
                continue
            elif wire_type == 4:
                if stack[depth, _GROUP] != field:
                    fault = BAD_GROUP
                    break
                depth -= 1
                end = stack[depth, _END]
                node = stack[depth, _NODE]
                table = stack[depth, _TABLE]
                row = stack[depth, _CELLS]
                number = stack[depth, _NUMBER]
                continue
            else:
                fault = BAD_WIRE_TYPE
                break
            if operation == 0:
                continue

            cell = (instruction >> CELL_AT) & _CELL_MASK
            case = (instruction >> CASE_AT) & _CELL_MASK
            if case != 0:
                told = (instruction >> TOLD_AT) & _CELL_MASK
                if cells[row + case] != told:
                    if cells[row + case] != 0:
                        # the other alternative is forgotten, with what was nested in it
                        shape[table, _COUNT] = number + 1
                    cells[row + case] = told
            if operation > EACH:
                cells[row + PRESENT] |= 1 << cell
                cells[row + cell] = _scalar(operation, value) if operation != _BYTES else value
                continue

            if operation == EACH:
                if wire_type == 2 and (instruction >> OPERATION_BITS) & _WIRE_MASK != 2:
                    wanted = (instruction >> OPERATION_BITS) & _WIRE_MASK
                    if not _packed_is_whole(data, begin, position, wanted):
                        fault = BAD_PACKED
                        break
                if cell == 0:
                    continue
                value = begin << 32 | (position - begin)
            else:
                if depth == MAX_DEPTH:
                    fault = TOO_DEEP
                    break
                stack[depth, _END] = end
                stack[depth, _NODE] = node
                stack[depth, _TABLE] = table
                stack[depth, _CELLS] = row
                stack[depth, _NUMBER] = number
                depth += 1
                end = position
                position = begin
                node = (instruction >> NODE_AT) & _NODE_MASK
                stack[depth, _GROUP] = 0
                if operation == ENTER:
                    if cell != 0:
                        cells[row + PRESENT] |= 1 << cell
                    continue

            inner = (instruction >> TABLE_AT) & _CELL_MASK
            stride = shape[inner, _STRIDE]
            count = shape[inner, _COUNT]
            budget -= shape[inner, _PRICE]
            if budget < 0:
                fault = TOO_MANY
                break
            if count == shape[inner, _CAPACITY]:
                full = inner
                break
            shape[inner, _COUNT] = count + 1
            fresh = shape[inner, _BASE] + count * stride
            for index in range(stride):
                cells[fresh + index] = 0
            cells[fresh + PARENT] = ~number if inner == table else number
            if cell != 0:
                cells[fresh + cell] = value
                cells[fresh + PRESENT] = 1 << cell
            if operation == ROW:
                row = fresh
                number = count
                table = inner
        if fault != 0 or full >= 0:
            for table in range(len(shape)):
                shape[table, _COUNT] = shape[table, _MARK]
        if full >= 0:
            return message, full, found
        if fault != 0:
            faults[found, 0] = message
            faults[found, 1] = fault
            faults[found, 2] = at - start
            found += 1
    return len(bounds), -1, found


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one table.

    Attributes:
        cells: one row of cells for each row; C-contiguous.
        names: where in a row each named cell is.
    """

    cells: Ints
    names: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def parents(self) -> Ints:
        """Of each row the number of the row it belongs to; see the module's text."""
        return self.cells[:, PARENT]

    def cell(self, name: str) -> int:
        """Where in a row the cell of that name is."""
        return self.names[name]

    def column(self, name: str) -> Ints:
        """One cell of all rows; a view."""
        return self.cells[:, self.names[name]]

    def present(self, name: str) -> NDArray[np.bool_]:
        """Which rows were told that cell."""
        return (self.cells[:, PRESENT] >> self.names[name] & 1).astype(np.bool_)


@dataclass(frozen=True, slots=True)
class Walked:
    """What a walk found.

    Attributes:
        buffer: all messages one after the other; slices point into it.
        bounds: start and end of each message in the buffer.
        refused: the malformed messages, with the offset in the message.
    """

    buffer: Buffer
    bounds: Ints
    refused: tuple[Refusal, ...]
    tables: Mapping[str, Rows]

    def rows(self, table: str) -> Rows:
        """The rows of a declared table."""
        return self.tables[table]


class Format:
    """A wire format, compiled from its declaration.

    Args:
        name: for messages to people.
        root: the message type that messages are of.
        messages: the declaration.
    """

    def __init__(self, name: str, root: str, messages: Messages) -> None:
        self.name = name
        self._plan = compile_plan(root, messages)
        self._strides = [HEADER + len(cells) for cells in self._plan.cells]
        self._prices = [
            max(least, stride // 2)
            for least, stride in zip(self._plan.least, self._strides, strict=True)
        ]
        self._density = [0.01] * len(self._strides)

    def walk(self, messages: Sequence[bytes]) -> Walked:
        """Walk all messages.

        Raises:
            DecodeError: they are longer than ``MAX_BYTES`` together.
        """
        ends = np.cumsum([len(message) for message in messages], dtype=np.int64)
        if len(ends) and ends[-1] > MAX_BYTES:
            raise DecodeError(f"more than {MAX_BYTES >> 20} MiB at once", format=self.name)
        buffer = buffer_of(messages)
        bounds = np.zeros((len(messages), 2), np.int64)
        bounds[1:, 0] = ends[:-1]
        bounds[:, 1] = ends
        shape, cells = self._room(buffer.size)
        faults = np.empty((len(messages), 3), np.int64)
        refused: list[Refusal] = []
        stack = np.empty((MAX_DEPTH + 1, _SAVED), np.int64)
        message = 0
        while True:
            message, full, found = _walk(
                buffer, bounds, self._plan.instructions, shape, cells, faults, stack, message
            )
            refused += (
                Refusal(int(index), REASONS[int(reason)], int(offset), whole=True)
                for index, reason, offset in faults[:found]
            )
            if full < 0:
                break
            shape, cells = _grown(shape, cells, full)
        self._learn(shape, buffer.size)
        return Walked(buffer, bounds, tuple(refused), self._tables(shape, cells))

    def _room(self, size: int) -> tuple[Ints, Ints]:
        """Tables of the size that messages of this format have needed before."""
        shape = np.zeros((len(self._strides), _SHAPE), np.int64)
        shape[:, _STRIDE] = self._strides
        shape[:, _PRICE] = self._prices
        shape[:, _CAPACITY] = [16 + int(density * size) for density in self._density]
        return shape, _laid_out(shape)

    def _learn(self, shape: Ints, size: int) -> None:
        """Expect next time about as many rows as there were, and a quarter more."""
        if size >= _TELLING:
            self._density = [
                max(1.25 * rows / size, 0.9 * density)
                for rows, density in zip(shape[:, _COUNT].tolist(), self._density, strict=True)
            ]

    def _tables(self, shape: Ints, cells: Ints) -> dict[str, Rows]:
        tables = {}
        for name, names, part in zip(
            self._plan.tables, self._plan.cells, shape.tolist(), strict=True
        ):
            base, stride, count = part[_BASE], part[_STRIDE], part[_COUNT]
            tables[name] = Rows(cells[base : base + count * stride].reshape(count, stride), names)
        return tables


def _laid_out(shape: Ints) -> Ints:
    """Room for all tables, behind a first row that nobody reads; writes where each begins."""
    widest = 1 << CELL_BITS
    sizes = shape[:, _STRIDE] * shape[:, _CAPACITY]
    shape[:, _BASE] = widest + np.cumsum(sizes) - sizes
    cells = np.empty(widest + int(sizes.sum()), np.int64)
    cells[:widest] = 0
    return cells


def _grown(shape: Ints, cells: Ints, full: int) -> tuple[Ints, Ints]:
    """The same tables with twice the room in one of them."""
    grown = shape.copy()
    grown[full, _CAPACITY] *= 2
    larger = _laid_out(grown)
    for old, new in zip(shape.tolist(), grown.tolist(), strict=True):
        used = old[_STRIDE] * old[_COUNT]
        larger[new[_BASE] : new[_BASE] + used] = cells[old[_BASE] : old[_BASE] + used]
    return grown, larger
