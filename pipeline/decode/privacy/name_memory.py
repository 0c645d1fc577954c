"""Names that text masking has met and judged: the names of JSON members come again and again.

What a name does depends on nothing but its bytes; so it is looked at once, and then known again.
"""

from typing import Final

import numpy as np

from pipeline.decode.kernels.blocks import BLOCK, block_test, leading
from pipeline.decode.kernels.hashing import hash_of, same
from pipeline.decode.kernels.kernel import Buffer, Ints, inlined
from pipeline.decode.kernels.text import OFFSET_BITS

LONGEST_NAME: Final = 128
"""So many bytes before a separator are looked at."""

NAME_BYTES: Final = b"-_.ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
"""What a name consists of."""

_ROWS: Final = 1024
_UNKNOWN: Final = -1
_SLICE, _VERDICT = 0, 1
_others = block_test(set(range(256)) - set(NAME_BYTES))


def no_names() -> Ints:
    """The memory of a text that begins: of each name its slice, and what was found."""
    return np.full((_ROWS, 2), _UNKNOWN, np.int64)


@inlined
def name_begin(source: Buffer, end: int) -> int:
    """Where the name begins that ends there; ``end`` where there is none."""
    begin = end
    while begin >= BLOCK and end - begin < LONGEST_NAME:
        others = _others(source.data, begin - BLOCK)
        if others:
            return int(begin + 32 - leading(others))
        begin -= BLOCK
    if begin >= BLOCK:
        return begin
    while begin > 0 and end - begin < LONGEST_NAME and _is_of_name(source, begin - 1):
        begin -= 1
    return begin


@inlined
def _is_of_name(source: Buffer, at: int) -> bool:
    return bool(_others(source.data, at) & np.uint64(1) == np.uint64(0))


@inlined
def row_of(source: Buffer, begin: int, end: int) -> int:
    """The row in which a name is remembered, or may be."""
    return hash_of(source, begin << OFFSET_BITS | (end - begin), 0) & (_ROWS - 1)


@inlined
def verdict_on(source: Buffer, begin: int, end: int, seen: Ints, row: int) -> int:
    """What was found of a name; -1 when it was not seen."""
    known = seen[row, _SLICE]
    if known >= 0 and same(source, known, source, begin << OFFSET_BITS | (end - begin)):
        return int(seen[row, _VERDICT])
    return _UNKNOWN


@inlined
def remember(begin: int, end: int, verdict: int, seen: Ints, row: int) -> None:
    """Remember what was found of a name."""
    seen[row, _SLICE], seen[row, _VERDICT] = begin << OFFSET_BITS | (end - begin), verdict
