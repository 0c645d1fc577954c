"""Hashes and equality of byte strings that lie in a buffer."""

import secrets
from typing import Final

import numpy as np

from pipeline.decode.kernels.kernel import Buffer, Ints, inlined, kernel
from pipeline.decode.kernels.text import LENGTH_MASK, OFFSET_BITS

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
        hashes[index] = hash_of(source, slices[index], seed)


def distinct(source: Buffer, slices: Ints) -> tuple[Ints, Ints]:
    """Which slices hold different bytes.

    Returns:
        the positions of the first slice of each kind, and for each slice the number of its kind.
    """
    slices = np.ascontiguousarray(slices)
    table = np.full(1 << max(4, (2 * len(slices)).bit_length()), -1, np.int64)
    places = np.empty(len(slices), np.int64)
    kinds = np.empty(len(slices), np.int64)
    found = _distinct(source, slices, hashes_of(source, slices), table, places, kinds)
    return places[:found], kinds


@kernel
def _distinct(
    source: Buffer, slices: Ints, hashes: Ints, table: Ints, places: Ints, kinds: Ints
) -> int:
    """Number the slices by their bytes; returns how many kinds there are."""
    found = 0
    mask = len(table) - 1
    for index in range(len(slices)):
        spot = hashes[index] & mask
        while table[spot] >= 0:
            place = places[table[spot]]
            if hashes[place] == hashes[index] and same(
                source, slices[place], source, slices[index]
            ):
                break
            spot = (spot + 1) & mask
        if table[spot] < 0:
            table[spot] = found
            places[found] = index
            found += 1
        kinds[index] = table[spot]
    return found


@inlined
def hash_of(source: Buffer, slice_: int, seed: int) -> int:
    """The hash of one slice."""
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
    return equal(source, slice_ >> OFFSET_BITS, other_source, other >> OFFSET_BITS, length)


@inlined
def equal(source: Buffer, begin: int, other_source: Buffer, other: int, length: int) -> bool:
    """Whether so many bytes are the same in two places."""
    index = 0
    while index <= length - 8:
        if source.words[begin + index] != other_source.words[other + index]:
            return False
        index += 8
    differ = source.words[begin + index] ^ other_source.words[other + index]
    return bool(index == length or differ << np.uint64(64 - 8 * (length - index)) == np.uint64(0))
