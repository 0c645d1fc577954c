"""Hashes and equality of byte strings that lie in a buffer."""

import secrets
from typing import Final

import numpy as np

from pipeline.decode.kernel import Buffer, Ints, inlined, kernel
from pipeline.decode.text import LENGTH_MASK, OFFSET_BITS

_SEED: Final = secrets.randbits(62)
"""Nobody outside can choose keys that collide."""

_FACTOR: Final = np.uint64(0x9E3779B97F4A7C15)
_FOLD: Final = np.uint64(29)
_ALL: Final = np.uint64(0xFFFFFFFFFFFFFFFF)


def hashes_of(source: Buffer, slices: Ints) -> Ints:
    """The 64-bit hash of every slice; differs from process to process."""
    hashes = np.empty(len(slices), np.int64)
    _hashes(source, np.ascontiguousarray(slices), _SEED, hashes)
    return hashes


@kernel
def _hashes(source: Buffer, slices: Ints, seed: int, hashes: Ints) -> None:
    for index in range(len(slices)):
        hashes[index] = _hash(source, slices[index], seed)


@inlined
def _hash(source: Buffer, slice_: int, seed: int) -> int:
    begin = slice_ >> OFFSET_BITS
    length = slice_ & LENGTH_MASK
    state = np.uint64(seed) ^ (np.uint64(length) * _FACTOR)
    for index in range(0, length, 8):
        word = source.words[begin + index]
        if length - index < 8:
            word &= _ALL >> np.uint64(64 - 8 * (length - index))
        state = (state ^ word) * _FACTOR
        state ^= state >> _FOLD
    return int(np.int64(state))


@inlined
def same(source: Buffer, slice_: int, other_source: Buffer, other: int) -> bool:
    """Whether two slices hold the same bytes."""
    length = slice_ & LENGTH_MASK
    if length != other & LENGTH_MASK:
        return False
    begin = slice_ >> OFFSET_BITS
    other_begin = other >> OFFSET_BITS
    for index in range(0, length, 8):
        differ = source.words[begin + index] ^ other_source.words[other_begin + index]
        if length - index < 8:
            differ &= _ALL >> np.uint64(64 - 8 * (length - index))
        if differ:
            return False
    return True
