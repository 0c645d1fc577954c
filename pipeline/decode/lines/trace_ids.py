"""Trace ids as gateways log them: whole headers or bare ids, in the forms of several systems."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.decode.kernels.columns import NOTHING
from pipeline.decode.kernels.kernel import Buffer, Ints, Words, inlined, kernel
from pipeline.decode.kernels.text import LENGTH_MASK, OFFSET_BITS
from pipeline.decode.lines.text_values import of_texts

_XRAY: Final = r"(?i)(?:^|root=)1-([0-9a-f]{8}-[0-9a-f]{24})(?:$|;)"
"""AWS X-Ray: version, epoch seconds, 96 bits; joined they are a W3C id."""

_TRACEPARENT_SIZE: Final = 55
_LONG, _SHORT = 32, 16
"""Digits of a bare id, with which B3 in one header (id-span-sampled) and Google Cloud
(id/span;o=1) begin, too."""

_DIGIT: Final = np.full(256, 16, np.uint8)
_DIGIT[list(b"0123456789abcdef")] = range(16)
_ANY_CASE: Final = _DIGIT.copy()
_ANY_CASE[list(b"ABCDEF")] = range(10, 16)


class _Ids(NamedTuple):
    """Ids, 16 digits in each word, and which are told."""

    words: Words
    told: NDArray[np.bool_]


def trace_ids(columns: Sequence[pa.Array]) -> dict[str, pa.Array]:
    """The columns ``trace_id_high`` and ``trace_id_low``.

    Args:
        columns: texts that may hold a trace id, the best first. A text in no known form, and the
            id of zeros, are passed over for the next column.
    """
    count = len(columns[0])
    ids = _Ids(np.zeros((count, 2), np.uint64), np.zeros(count, np.bool_))
    for column in columns:
        if column.null_count < count and not ids.told.all():
            _read(column, ids)
    names = "trace_id_high", "trace_id_low"
    words = np.ascontiguousarray(ids.words.T)
    return {
        name: pa.array(half, pa.uint64(), mask=~ids.told)
        for name, half in zip(names, words, strict=True)
    }


def _read(column: pa.Array, ids: _Ids) -> None:
    """Read the ids of a column where none is told yet."""
    odd = np.zeros(len(column), np.bool_)
    _read_ids(*of_texts(column), ids.words, ids.told, odd)
    rows = np.flatnonzero(odd)
    if not len(rows):
        return
    rest = pl.Series(values=pl.from_arrow(column.take(pa.array(rows))), dtype=pl.String)
    digits = rest.str.extract(_XRAY).str.replace("-", "", literal=True)
    found = _Ids(ids.words[rows], ids.told[rows])
    _read_ids(*of_texts(digits.to_arrow().cast(pa.string())), found.words, found.told, odd)
    ids.words[rows], ids.told[rows] = found


@kernel
def _read_ids(
    source: Buffer, slices: Ints, words: Words, told: NDArray[np.bool_], odd: NDArray[np.bool_]
) -> None:
    """Read traceparents and bare ids; texts in another form are ``odd``."""
    for row in range(len(slices)):
        if told[row] or slices[row] == NOTHING:
            continue
        at, size = slices[row] >> OFFSET_BITS, slices[row] & LENGTH_MASK
        if _is_traceparent(source, at, size):
            at, digits = at + 3, _LONG
        else:
            digits = _bare_digits(source, at, size)
        odd[row] = digits == 0
        high, low = np.uint64(0), np.uint64(0)
        for index in range(digits):
            high = high << np.uint64(4) | low >> np.uint64(60)
            low = low << np.uint64(4) | np.uint64(_ANY_CASE[source.data[at + index]])
        told[row] = high | low != np.uint64(0)
        words[row, 0], words[row, 1] = high, low


@inlined
def _is_traceparent(source: Buffer, at: int, size: int) -> bool:
    """Whether a text begins as ``traceparent`` is written, in lower case."""
    if size < _TRACEPARENT_SIZE:
        return False
    for index in range(_TRACEPARENT_SIZE):
        byte = source.data[at + index]
        if index in (2, 35, 52):
            if byte != ord("-"):
                return False
        elif _DIGIT[byte] > 15:
            return False
    return True


@inlined
def _bare_digits(source: Buffer, at: int, size: int) -> int:
    """How many digits the id has that a text begins with; 0 for none."""
    digits = 0
    while digits < size and digits <= _LONG and _ANY_CASE[source.data[at + digits]] < 16:
        digits += 1
    if digits not in (_LONG, _SHORT):
        return 0
    ends = digits == size or source.data[at + digits] in (ord("-"), ord("/"))
    return digits if ends else 0
