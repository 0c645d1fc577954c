"""Blocks of 32 bytes looked at in one go: which of them are of a kind, one bit for each.

A processor compares all bytes of a vector at once, which nothing in NumPy or plain Python can say
inside of kernels; so these functions are written for the compiler itself. It makes of them what the
machine has: one comparison with AVX2, several with less.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final, cast

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from pipeline.decode.kernels.kernel import Bytes

BLOCK: Final = 32
"""Bytes in a block; not more than the slack behind buffers."""

_BIT, _BYTE, _WORD = ir.IntType(1), ir.IntType(8), ir.IntType(64)
_VECTOR: Final = ir.VectorType(_BYTE, BLOCK)

BlockTest = Callable[[Bytes, int], np.uint64]
BitOf = Callable[[np.uint64], int]


def block_test(members: Iterable[int]) -> BlockTest:
    """A function for kernels: which bytes of the block that begins at a place are among these.

    It answers a word whose bit ``i`` is set when byte ``i`` of the block is.
    """
    ranges = ranges_of(members)

    @intrinsic
    def test(_typing: object, data: Any, at: Any) -> Any:  # noqa: ANN401 - types of Numba
        def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:  # noqa: ANN401
            array = context.make_array(signature.args[0])(context, builder, values[0])
            place = builder.gep(array.data, [values[1]])
            block = builder.load(builder.bitcast(place, _VECTOR.as_pointer()), align=1)
            found = _filled(0, _BIT)
            for first, further in ranges:
                moved = builder.sub(block, _filled(first))
                inside = builder.icmp_unsigned("<=", moved, _filled(further))
                found = builder.or_(found, inside)
            return builder.zext(builder.bitcast(found, ir.IntType(BLOCK)), _WORD)

        return types.uint64(data, at), code

    return cast("BlockTest", test)


def ranges_of(members: Iterable[int]) -> list[tuple[int, int]]:
    """Bytes as ranges: the first of each, and how many follow it; after 255 comes 0."""
    told = set(members)
    firsts = [byte for byte in sorted(told) if (byte - 1) % 256 not in told]
    ranges = []
    for first in firsts:
        further = 0
        while (first + further + 1) % 256 in told:
            further += 1
        ranges.append((first, further))
    return ranges


def _filled(value: int, kind: ir.IntType = _BYTE) -> ir.Constant:
    return ir.Constant(ir.VectorType(kind, BLOCK), [ir.Constant(kind, value)] * BLOCK)


@intrinsic
def _lowest(_typing: object, _word: object) -> Any:  # noqa: ANN401 - types of Numba
    def code(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:  # noqa: ANN401
        return builder.cttz(values[0], ir.Constant(_BIT, 0))

    return types.int64(types.uint64), code


@intrinsic
def _leading(_typing: object, _word: object) -> Any:  # noqa: ANN401 - types of Numba
    def code(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:  # noqa: ANN401
        return builder.ctlz(values[0], ir.Constant(_BIT, 0))

    return types.int64(types.uint64), code


lowest = cast("BitOf", _lowest)
"""For kernels: the number of the lowest bit that is set; 64 when none is."""
leading = cast("BitOf", _leading)
"""For kernels: how many bits above the highest that is set are not."""
