"""Blocks: what the compiled tests say of bytes is what Python says of each."""

import numpy as np
from hypothesis import given, strategies as st

from pipeline.decode.kernels.blocks import BLOCK, block_test, leading, lowest, ranges_of
from pipeline.decode.kernels.kernel import Buffer, Ints, buffer_of, kernel

MEMBERS = (b'"\\', bytes(range(32)) + b'"\\' + bytes(range(128, 256)), b"\xff\x00a", b"-_.AZaz09")
TESTS = tuple(block_test(members) for members in MEMBERS)
FEW, ODD, ENDS, NAMES = TESTS


@kernel
def of_block(source: Buffer, at: int, found: Ints) -> None:
    found[0] = FEW(source.data, at)
    found[1] = ODD(source.data, at)
    found[2] = ENDS(source.data, at)
    found[3] = NAMES(source.data, at)


@kernel
def of_word(word: int, found: Ints) -> None:
    found[0] = lowest(np.uint64(word))
    found[1] = leading(np.uint64(word))


@given(st.binary(min_size=BLOCK, max_size=2 * BLOCK), st.integers(0, BLOCK))
def test_a_bit_for_each_byte_that_is_among_them(data, at):
    at = min(at, len(data) - BLOCK)
    found = np.zeros(len(TESTS), np.int64)
    of_block(buffer_of([data]), at, found)
    told = [sum((byte in members) << bit for bit, byte in enumerate(data[at : at + BLOCK]))
            for members in MEMBERS]  # fmt: skip
    assert found.tolist() == told


@given(st.sets(st.integers(0, 255), max_size=255))
def test_ranges_hold_all_bytes_and_no_other(members):
    found = [
        (first + step) % 256 for first, further in ranges_of(members) for step in range(further + 1)
    ]
    assert sorted(found) == sorted(members)


@given(st.integers(0, 2**63 - 1))
def test_bits_are_counted_from_both_ends(word):
    found = np.zeros(2, np.int64)
    of_word(word, found)
    low = (word & -word).bit_length() - 1 if word else 64
    assert found.tolist() == [low, 64 - word.bit_length()]
