"""From cells to Arrow columns: texts, numbers, ids and lists.

Every function takes whole columns of ``wire.Rows`` and answers one Arrow array of the same length.
"""

from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.decode.kernels.kernel import Buffer, Bytes, Ints, empty_buffer, inlined, kernel
from pipeline.decode.kernels.text import (
    LENGTH_MASK,
    LONGEST_MENDED,
    OFFSET_BITS,
    copy_text,
)

NOTHING: Final = -1
"""The slice of a text that is null."""

GOOD, ZERO, WRONG_LENGTH = 0, 1, 2
"""What an id is: usable; absent or all zeros; not of the right length."""

Mask = NDArray[np.bool_]
Offsets = NDArray[np.int32]


def texts(source: Buffer, slices: Ints, *, empty_is_null: bool = True) -> pa.Array:
    """Strings from slices; invalid UTF-8 becomes U+FFFD; ``NOTHING`` is null."""
    slices = np.ascontiguousarray(slices)
    if len(slices) and slices.max() == NOTHING:
        return pa.nulls(len(slices), pa.string())
    offsets = np.empty(len(slices) + 1, np.int32)
    validity = np.zeros((len(slices) + 7) // 8, np.uint8)
    out = empty_buffer(LONGEST_MENDED * total_length(slices))
    nulls = _gather(source, slices, int(empty_is_null), out, offsets, validity)
    return string_array(out, offsets, validity, nulls)


def string_array(out: Buffer, offsets: Offsets, validity: Bytes, nulls: int) -> pa.Array:
    """An Arrow string array over finished buffers."""
    return pa.Array.from_buffers(
        pa.string(),
        len(offsets) - 1,
        [
            pa.py_buffer(validity) if nulls else None,
            pa.py_buffer(offsets),
            pa.py_buffer(out.data[: int(offsets[-1])]),
        ],
        nulls,
    )


@inlined
def mark_valid(validity: Bytes, index: int) -> None:
    """Set one bit of an Arrow validity bitmap."""
    validity[index >> 3] |= np.uint8(1 << (index & 7))


@kernel
def total_length(slices: Ints) -> int:
    """How many bytes all texts have together."""
    total = 0
    for index in range(len(slices)):
        if slices[index] >= 0:
            total += slices[index] & LENGTH_MASK
    return total


@kernel
def _gather(
    source: Buffer,
    slices: Ints,
    shortest: int,
    out: Buffer,
    offsets: Offsets,
    validity: Bytes,
) -> int:
    """Write texts, offsets and validity; returns how many are null, being too short or nothing."""
    at = 0
    nulls = 0
    offsets[0] = 0
    for index in range(len(slices)):
        slice_ = slices[index]
        if slice_ < 0 or slice_ & LENGTH_MASK < shortest:
            nulls += 1
        else:
            mark_valid(validity, index)
            at = copy_text(source, slice_, out, at)
        offsets[index + 1] = at
    return nulls


def numbers(values: Ints, kind: pa.DataType, valid: Mask | None = None) -> pa.Array:
    """Numbers of an Arrow type from cells; null where ``valid`` is false.

    Doubles are taken bit by bit; integers must fit, which is the caller's to see to.
    """
    dtype = kind.to_pandas_dtype()
    cells = np.ascontiguousarray(values)
    plain = cells.view(np.float64) if kind == pa.float64() else cells.astype(dtype)
    return pa.array(plain, kind, mask=None if valid is None else ~valid)


def times(values: Ints, valid: Mask | None = None) -> pa.Array:
    """Unix nanoseconds as timestamps; cells with the highest bit set must be masked out."""
    cells = np.ascontiguousarray(values)
    return pa.array(cells, pa.int64(), mask=None if valid is None else ~valid).cast(
        pa.timestamp("ns")
    )


class Ids(NamedTuple):
    """Ids as big-endian words, one row of one or two for each id, and what each id is.

    Attributes:
        words: the ids.
        states: GOOD, ZERO or WRONG_LENGTH.
    """

    words: NDArray[np.uint64]
    states: NDArray[np.int8]


def ids(source: Buffer, slices: Ints, size: int) -> Ids:
    """Read ids of ``size`` bytes, 8 or 16."""
    found = Ids(np.zeros((len(slices), size // 8), np.uint64), np.empty(len(slices), np.int8))
    _ids(source, np.ascontiguousarray(slices), found.words, found.states)
    return found


@kernel
def _ids(source: Buffer, slices: Ints, words: NDArray[np.uint64], states: NDArray[np.int8]) -> None:
    size = words.shape[1]
    for index in range(len(slices)):
        begin = slices[index] >> OFFSET_BITS
        length = slices[index] & LENGTH_MASK
        states[index] = ZERO if length == 0 else WRONG_LENGTH
        if length != size * 8:
            continue
        told = np.uint64(0)
        for word in range(size):
            value = np.uint64(0)
            for byte in range(8):
                value = value << np.uint64(8) | np.uint64(source.data[begin + 8 * word + byte])
            words[index, word] = value
            told |= value
        states[index] = GOOD if told else ZERO
