"""The compiled loop that walks protobuf wire bytes by the integers of a plan.

It fills the cells of rows in room that is made for it, and stops where a table is full, to go on
with the same message once there is more. What rows and cells are: ``pipeline.decode.wire.walk``.
"""

from typing import Final

import numpy as np

from pipeline.decode.kernels.kernel import Buffer, Bytes, Ints, inlined, kernel
from pipeline.decode.wire.declaration import (
    CASE_AT,
    CELL_AT,
    CELL_BITS,
    EACH,
    ENTER,
    FIELDS,
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
)

MAX_DEPTH: Final = 100
"""How deep messages and groups may nest; the official parser's limit."""

FREE_BYTES: Final = 1 << 14
"""For how many bytes of rows a message needs no bytes of its own."""

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

BASE, STRIDE, CAPACITY, COUNT, _MARK, PRICE, SHAPE = range(7)
"""What is told of each table, and last how much that is; see ``shape`` of ``walk_from``."""

_END, _NODE, _TABLE, _CELLS, _NUMBER, _GROUP, SAVED = range(7)
"""What is kept of a message while one inside it is walked, and last how much that is."""


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
def walk_from(
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
            shape[table, _MARK] = shape[table, COUNT]
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
                        shape[table, COUNT] = number + 1
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
            stride = shape[inner, STRIDE]
            count = shape[inner, COUNT]
            budget -= shape[inner, PRICE]
            if budget < 0:
                fault = TOO_MANY
                break
            if count == shape[inner, CAPACITY]:
                full = inner
                break
            shape[inner, COUNT] = count + 1
            fresh = shape[inner, BASE] + count * stride
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
                shape[table, COUNT] = shape[table, _MARK]
        if full >= 0:
            return message, full, found
        if fault != 0:
            faults[found, 0] = message
            faults[found, 1] = fault
            faults[found, 2] = at - start
            found += 1
    return len(bounds), -1, found
