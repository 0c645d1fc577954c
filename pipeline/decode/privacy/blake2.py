"""BLAKE2b with a key, compiled: for many short texts that lie in a buffer.

``hashlib`` has it, but a call for each of a million addresses costs more than the rest of the door.
Source: RFC 7693.
"""

from typing import Final, NamedTuple

import numpy as np

from pipeline.decode.kernels.kernel import Buffer, Ints, Words, buffer_of, inlined, kernel

KEY_BYTES: Final = 64
"""The longest key."""

DIGEST_BYTES: Final = 16
_PURPOSE: Final = b"meshweir"
"""``person`` of the hash: nothing else that has the key comes to the same digests."""

_BLOCK: Final = 128
_IV: Final = np.array(
    [
        0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1,
        0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179,
    ],
    np.uint64,
)  # fmt: skip
_SIGMA: Final = np.array(
    [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
        [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
        [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
        [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
        [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
        [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
        [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
        [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
        [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
    ],
    np.int64,
)
_ALL: Final = np.uint64(0xFFFFFFFFFFFFFFFF)


class Keyed(NamedTuple):
    """A key, ready for hashing. Not for two threads at once: see ``keyed``.

    Attributes:
        begun: the state after the block that holds the key.
        state: room for the state; after ``digest`` its first two words are the digest.
        work: room for the working vector.
        block: room for one block of the message.
        order: in which order the words of a block are taken in each round. (As a constant of the
            kernel it would be unrolled, which takes a minute to compile and gains nothing.)
    """

    begun: Words
    state: Words
    work: Words
    block: Words
    order: Ints


def keyed(key: bytes) -> Keyed:
    """Prepare a key of 1 to 64 bytes; every thread needs its own."""
    begun, state, work, block = (np.zeros(size, np.uint64) for size in (8, 8, 16, 16))
    hashing = Keyed(begun, state, work, block, _SIGMA)
    hashing.state[:] = _IV
    hashing.state[0] ^= np.uint64(0x01010000 ^ (len(key) << 8) ^ DIGEST_BYTES)
    hashing.state[6] ^= np.frombuffer(_PURPOSE, np.uint64)[0]
    hashing.block[:] = np.frombuffer(key.ljust(_BLOCK, b"\0"), np.uint64)
    _compress(hashing, _BLOCK, 0)
    hashing.begun[:] = hashing.state
    return hashing


def again(hashing: Keyed) -> Keyed:
    """The same key for another thread."""
    state, work, block = (np.zeros(size, np.uint64) for size in (8, 16, 16))
    return Keyed(hashing.begun, state, work, block, hashing.order)


def digest_of(text: bytes, hashing: Keyed) -> bytes:
    """The digest of one text of at least one byte; the same as ``hashlib.blake2b`` gives."""
    digest(buffer_of([text]), 0, len(text), hashing)
    return hashing.state.tobytes()[:DIGEST_BYTES]


@kernel
def digest(source: Buffer, begin: int, end: int, hashing: Keyed) -> None:
    """Hash a part of a buffer, of at least one byte, into ``hashing.state``."""
    for word in range(8):
        hashing.state[word] = hashing.begun[word]
    at, counted = begin, 128
    while True:
        for word in range(16):
            here = at + 8 * word
            if here + 8 <= end:
                hashing.block[word] = source.words[here]
            elif here < end:
                hashing.block[word] = source.words[here] & (
                    _ALL >> np.uint64(64 - 8 * (end - here))
                )
            else:
                hashing.block[word] = np.uint64(0)
        at += 128
        counted += min(128, end - at + 128)
        if at >= end:
            _compress(hashing, counted, 1)
            return
        _compress(hashing, counted, 0)


@kernel
def _compress(hashing: Keyed, counted: int, last: int) -> None:
    work, state = hashing.work, hashing.state
    for word in range(8):
        work[word] = state[word]
        work[word + 8] = _IV[word]
    work[12] ^= np.uint64(counted)
    if last:
        work[14] ^= _ALL
    for turn in range(12):
        for column in range(4):
            _mix(hashing, turn, column, 0)
        for column in range(4):
            _mix(hashing, turn, column, 1)
    for word in range(8):
        state[word] ^= work[word] ^ work[word + 8]


@kernel
def _mix(hashing: Keyed, turn: int, column: int, diagonal: int) -> None:
    """The function G on a column, or on a diagonal, of the working vector."""
    work, block = hashing.work, hashing.block
    one, two = column, (column + diagonal) % 4 + 4
    three, four = (column + 2 * diagonal) % 4 + 8, (column + 3 * diagonal) % 4 + 12
    place = 2 * column + 8 * diagonal
    work[one] += work[two] + block[hashing.order[turn, place]]
    work[four] = _turned(work[four] ^ work[one], np.uint64(32))
    work[three] += work[four]
    work[two] = _turned(work[two] ^ work[three], np.uint64(24))
    work[one] += work[two] + block[hashing.order[turn, place + 1]]
    work[four] = _turned(work[four] ^ work[one], np.uint64(16))
    work[three] += work[four]
    work[two] = _turned(work[two] ^ work[three], np.uint64(63))


@inlined
def _turned(word: np.uint64, places: np.uint64) -> np.uint64:
    return (word >> places) | (word << (np.uint64(64) - places))
