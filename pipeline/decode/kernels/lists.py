"""Repeated numbers (``Each``) as Arrow lists."""

import numpy as np
import pyarrow as pa

from pipeline.decode.kernels.columns import Offsets
from pipeline.decode.kernels.kernel import Buffer, Ints, inlined, kernel
from pipeline.decode.kernels.text import LENGTH_MASK, OFFSET_BITS
from pipeline.decode.wire.walk import Rows


def lists(source: Buffer, rows: Rows, owners: int, kind: pa.DataType) -> pa.Array:
    """One list for each owner, empty where it has no elements.

    Args:
        source: what the rows' ``items`` point into.
        rows: the table of a declared ``Each`` of ``int64`` or ``fixed64`` numbers.
        owners: how many rows the table has that the lists belong to.
        kind: ``pa.uint64()`` or ``pa.float64()`` (the 64 bits are those of doubles). Unsigned
            numbers written as varints are told from fixed ones by ``varints``.
    """
    return _lists(source, rows, owners, kind, fixed=True)


def varint_lists(source: Buffer, rows: Rows, owners: int, kind: pa.DataType) -> pa.Array:
    """The same for numbers that are written as varints."""
    return _lists(source, rows, owners, kind, fixed=False)


def _lists(source: Buffer, rows: Rows, owners: int, kind: pa.DataType, *, fixed: bool) -> pa.Array:
    slices = np.ascontiguousarray(rows.column("items"))
    parents = np.ascontiguousarray(rows.parents)
    elements = np.empty(int((slices & LENGTH_MASK).sum()) // (8 if fixed else 1), np.int64)
    counts = np.zeros(owners, np.int64)
    read = _read_fixed if fixed else _read_varints
    total = read(source, slices, parents, elements, counts)
    offsets: Offsets = np.zeros(owners + 1, np.int32)
    np.cumsum(counts, out=offsets[1:])
    values = pa.array(elements[:total].view(kind.to_pandas_dtype()), kind)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)


@kernel
def _read_fixed(source: Buffer, slices: Ints, parents: Ints, elements: Ints, counts: Ints) -> int:
    """Read 64-bit numbers; returns how many there were."""
    total = 0
    for row in range(len(slices)):
        begin = slices[row] >> OFFSET_BITS
        for position in range(begin, begin + (slices[row] & LENGTH_MASK), 8):
            elements[total] = int(np.int64(source.words[position]))
            total += 1
            counts[parents[row]] += 1
    return total


@kernel
def _read_varints(source: Buffer, slices: Ints, parents: Ints, elements: Ints, counts: Ints) -> int:
    """Read varints, which the walk has found to be whole; returns how many there were."""
    total = 0
    for row in range(len(slices)):
        position = slices[row] >> OFFSET_BITS
        end = position + (slices[row] & LENGTH_MASK)
        while position < end:
            value, position = _varint(source, position)
            elements[total] = value
            total += 1
            counts[parents[row]] += 1
    return total


@inlined
def _varint(source: Buffer, position: int) -> tuple[int, int]:
    value = 0
    shift = 0
    while True:
        byte = int(np.int64(source.data[position]))
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7
