"""Attributes, and small records, as JSON text columns.

``objects`` writes one JSON object for each owner of attribute rows, ``arrays`` one JSON array of
objects for each owner of records (events, links, exemplars). What values become:

* strings: strings; integers: numbers, exact; booleans; empty values: null; bytes: base64;
* doubles: the shortest number that reads back the same, and ``"NaN"``, ``"Infinity"``,
  ``"-Infinity"`` where there is no such number;
* arrays and key-value lists: nested. Of a key that is told twice in one object, the last stays.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
import orjson
import pyarrow as pa

from pipeline.decode.kernels.columns import mark_valid, string_array
from pipeline.decode.kernels.hashing import hashes_of, same
from pipeline.decode.kernels.kernel import (
    Buffer,
    Bytes,
    Ints,
    buffer_of,
    empty_buffer,
    inlined,
    kernel,
)
from pipeline.decode.kernels.text import (
    CLOSE_ARRAY,
    CLOSE_OBJECT,
    COLON,
    COMMA,
    LENGTH_MASK,
    LONGEST_ESCAPED,
    OFFSET_BITS,
    OPEN_ARRAY,
    OPEN_OBJECT,
    base64,
    copy,
    decimal,
    json_string,
)
from pipeline.decode.wire.declaration import PARENT
from pipeline.decode.wire.loop import MAX_DEPTH
from pipeline.decode.wire.otlp_common import ARRAY, BOOL, BYTES, DOUBLE, INT, KEY_VALUES, STRING
from pipeline.decode.wire.walk import Rows

JSON: Final = 1 << 10
"""Type of a value whose slice is JSON text already; none that comes over the wire has it."""

_ROW_ROOM: Final = 64 + MAX_DEPTH
"""Room for what a value needs beside its texts: quotes, digits, brackets."""

_TRUE: Final = np.frombuffer(b"true", np.uint8)
_FALSE: Final = np.frombuffer(b"false", np.uint8)
_NULL: Final = np.frombuffer(b"null", np.uint8)

_NOT_FINITE: Final = b'"NaN""Infinity""-Infinity"'
_NAN, _INFINITY, _MINUS = (0 << 32 | 5, 5 << 32 | 10, 15 << 32 | 11)


class Values(NamedTuple):
    """Attribute rows as kernels take them: the cells, and where in a row the named ones are."""

    cells: Ints
    key: int
    value: int
    type: int


class Doubles(NamedTuple):
    """The texts of those attribute values that are doubles: row numbers, and a slice for each."""

    rows: Ints
    slices: Ints
    text: Buffer


def values_of(rows: Rows) -> Values:
    """The rows of a table of attributes, for kernels."""
    return Values(rows.cells, rows.cell("key"), rows.cell("value"), rows.cell("type"))


def doubles_of(values: Values) -> Doubles:
    """The texts of all doubles among the values."""
    rows = np.flatnonzero(values.cells[:, values.type] == DOUBLE)
    bits = np.ascontiguousarray(values.cells[rows, values.value])
    text, slices = double_texts(bits)
    return Doubles(rows, slices, text)


def double_texts(bits: Ints) -> tuple[Buffer, Ints]:
    """The JSON text of doubles that are given as their 64 bits."""
    numbers = bits.view(np.float64)
    told = orjson.dumps(numbers, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
    text = buffer_of((_NOT_FINITE, told))
    commas = np.flatnonzero(text.data[len(_NOT_FINITE) : text.size] == COMMA) + len(_NOT_FINITE)
    begins = np.append(len(_NOT_FINITE), commas + 1)[: len(bits)]
    ends = np.append(commas, text.size)[: len(bits)]
    slices = begins << OFFSET_BITS | (ends - begins)
    slices[np.isnan(numbers)] = _NAN
    slices[np.isposinf(numbers)] = _INFINITY
    slices[np.isneginf(numbers)] = _MINUS
    return text, slices


def owners_bounds(cells: Ints, owners: int) -> Ints:
    """For each owner the first of its rows; one more at the end. Nested rows count too."""
    bounds = np.empty(owners + 1, np.int64)
    _bounds(cells, bounds)
    return bounds


@kernel
def _bounds(cells: Ints, bounds: Ints) -> None:
    owner = -1
    for row in range(len(cells)):
        while owner < cells[row, PARENT]:
            owner += 1
            bounds[owner] = row
    for rest in range(owner + 1, len(bounds)):
        bounds[rest] = len(cells)


def objects(
    source: Buffer,
    rows: Rows,
    owners: int,
    *,
    skip: Bytes | None = None,
    empty_is_null: bool = True,
) -> pa.Array:
    """One JSON object for each of the owners.

    Args:
        source: what the slices of the rows point into.
        rows: a table of attributes.
        owners: how many rows the table has that the attributes belong to.
        skip: 1 for attribute rows to leave out; by default ``repeated``.
        empty_is_null: whether an owner without attributes gets null, else ``{}``.
    """
    values = values_of(rows)
    bounds = owners_bounds(values.cells, owners)
    if skip is None:
        skip = repeated(source, values, bounds, hashes_of(source, rows.column("key")))
    doubles = doubles_of(values)
    stack = np.empty(MAX_DEPTH + 1, np.int64)

    def write(page: Page) -> int:
        return _objects(source, values, doubles, bounds, skip, stack, page)

    return written(write, source.size, owners, None if empty_is_null else "{}")


def repeated(source: Buffer, values: Values, bounds: Ints, hashes: Ints) -> Bytes:
    """Mark with 1 the rows whose key comes again later in the same object, and what they hold.

    Args:
        source: what the slices of the rows point into.
        values: attribute rows.
        bounds: the rows of each owner.
        hashes: the hashes of the keys.
    """
    skip = np.zeros(len(values.cells), np.uint8)
    _skip_repeated(source, values, hashes, bounds, skip, _table(bounds))
    return skip


class Page(NamedTuple):
    """What a kernel that writes one text for each owner writes on.

    Attributes:
        first: the owner to begin with.
        out: room for the texts; where that of ``first`` begins, ``offsets`` tells.
        offsets: where each text begins, and the last ends.
    """

    first: int
    out: Buffer
    offsets: Ints


def written(
    write: Callable[[Page], int], size: int, owners: int, empty: str | None = None
) -> pa.Array:
    """Call a kernel again with more room until it has written for all owners.

    The kernel answers the owner it had no room for. No text at all is null, or ``empty``.
    """
    page = Page(0, empty_buffer(size + (1 << 12)), np.zeros(owners + 1, np.int64))
    done = write(page)
    while done < owners:
        larger = empty_buffer(2 * page.out.size)
        larger.data[: page.out.size] = page.out.data[: page.out.size]
        page = Page(done, larger, page.offsets)
        done = write(page)
    return _with_nulls(page, empty)


def _with_nulls(page: Page, empty: str | None) -> pa.Array:
    validity = np.zeros((len(page.offsets) + 6) // 8, np.uint8)
    nulls = _mark(page.offsets, validity)
    texts = string_array(page.out, page.offsets.astype(np.int32), validity, nulls)
    return texts if empty is None or not nulls else texts.fill_null(empty)


@kernel
def _mark(offsets: Ints, validity: Bytes) -> int:
    nulls = 0
    for index in range(len(offsets) - 1):
        if offsets[index] == offsets[index + 1]:
            nulls += 1
        else:
            mark_valid(validity, index)
    return nulls


def _table(bounds: Ints) -> Ints:
    """Room to remember the keys of the owner that has most: hash, row and owner of each."""
    most = int(np.diff(bounds).max(initial=0))
    return np.zeros((1 << max(4, (2 * most).bit_length()), 3), np.int64)


@kernel
def _skip_repeated(
    source: Buffer, values: Values, hashes: Ints, bounds: Ints, skip: Bytes, table: Ints
) -> None:
    """Skip keys that come again later in the same object, and all that is nested in what is."""
    cells = values.cells
    for owner in range(len(bounds) - 1):
        for row in range(bounds[owner + 1] - 1, bounds[owner] - 1, -1):
            parent = cells[row, PARENT]
            in_array = parent < 0 and cells[~parent, values.type] != KEY_VALUES
            if not in_array and not skip[row]:
                skip[row] = _is_repeated(source, values, hashes, table, row, owner)
    for row in range(len(cells)):
        parent = cells[row, PARENT]
        if parent < 0 and skip[~parent]:
            skip[row] = 1


@inlined
def _is_repeated(
    source: Buffer, values: Values, hashes: Ints, table: Ints, row: int, owner: int
) -> bool:
    """Whether the key was seen in the same object; remembers it when it was not."""
    cells = values.cells
    mask = len(table) - 1
    place = hashes[row] & mask
    while table[place, 2] == owner + 1:
        other = table[place, 1]
        if (
            table[place, 0] == hashes[row]
            and cells[other, PARENT] == cells[row, PARENT]
            and same(source, cells[other, values.key], source, cells[row, values.key])
        ):
            return True
        place = (place + 1) & mask
    table[place, 0] = hashes[row]
    table[place, 1] = row
    table[place, 2] = owner + 1
    return False


@kernel
def _objects(
    source: Buffer,
    values: Values,
    doubles: Doubles,
    bounds: Ints,
    skip: Bytes,
    stack: Ints,
    page: Page,
) -> int:
    """Write objects; returns the owner there was no room for."""
    first, out, offsets = page
    cells = values.cells
    double = 0
    for owner in range(first, len(bounds) - 1):
        begin = offsets[owner]
        at = begin
        if at + _ROW_ROOM > out.size:
            return owner
        out.data[at] = OPEN_OBJECT
        at += 1
        depth = 0
        for row in range(bounds[owner], bounds[owner + 1]):
            if skip[row]:
                continue
            if at + _room(values, row) > out.size:
                return owner
            at, depth = _close(values, stack, depth, cells[row, PARENT], out, at)
            at = _lead(source, values, row, depth == 0 or _is_object(values, stack, depth), out, at)
            kind = cells[row, values.type]
            if kind in (ARRAY, KEY_VALUES):
                out.data[at] = OPEN_ARRAY if kind == ARRAY else OPEN_OBJECT
                at += 1
                stack[depth] = row
                depth += 1
            elif kind == DOUBLE:
                while doubles.rows[double] < row:
                    double += 1
                at = copy(doubles.text, doubles.slices[double], out, at)
            else:
                at = _plain_value(source, kind, cells[row, values.value], out, at)
        at, depth = _close(values, stack, depth, 0, out, at)
        out.data[at] = CLOSE_OBJECT
        offsets[owner + 1] = begin if at == begin + 1 else at + 1
    return len(bounds) - 1


@inlined
def _is_object(values: Values, stack: Ints, depth: int) -> bool:
    return bool(values.cells[stack[depth - 1], values.type] == KEY_VALUES)


@inlined
def _lead(source: Buffer, values: Values, row: int, keyed: bool, out: Buffer, at: int) -> int:  # noqa: FBT001 - kernels have no keyword arguments
    """Write what stands before a value: a comma, and its key."""
    if out.data[at - 1] != OPEN_OBJECT and out.data[at - 1] != OPEN_ARRAY:
        out.data[at] = COMMA
        at += 1
    if keyed:
        at = json_string(source, values.cells[row, values.key], out, at)
        out.data[at] = COLON
        at += 1
    return at


@inlined
def _room(values: Values, row: int) -> int:
    """How many bytes a row may need, with what must be closed before and behind it."""
    kind = values.cells[row, values.type]
    length = values.cells[row, values.key] & LENGTH_MASK
    if kind in (STRING, BYTES, JSON):
        length += values.cells[row, values.value] & LENGTH_MASK
    return int(LONGEST_ESCAPED * length + _ROW_ROOM)


@inlined
def _close(
    values: Values, stack: Ints, depth: int, parent: int, out: Buffer, at: int
) -> tuple[int, int]:
    """Close the arrays and objects that end before a row with this parent."""
    while depth > 0 and stack[depth - 1] != ~parent:
        depth -= 1
        is_array = values.cells[stack[depth], values.type] == ARRAY
        out.data[at] = CLOSE_ARRAY if is_array else CLOSE_OBJECT
        at += 1
    return at, depth


@inlined
def _plain_value(source: Buffer, kind: int, value: int, out: Buffer, at: int) -> int:
    """Write a value that is neither a double nor nested."""
    if kind == STRING:
        return json_string(source, value, out, at)
    if kind == INT:
        return decimal(value, out, at)
    if kind == BYTES:
        return base64(source, value, out, at)
    if kind == JSON:
        return copy(source, value, out, at)
    if kind == BOOL:
        return _word(_TRUE, out, at) if value else _word(_FALSE, out, at)
    return _word(_NULL, out, at)


@inlined
def _word(word: Bytes, out: Buffer, at: int) -> int:
    for index in range(len(word)):
        out.data[at + index] = word[index]
    return int(at + len(word))
