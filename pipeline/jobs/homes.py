"""Homes: for every trace in the store, the lowest slice that holds a row of it.

The answer must be exact for whatever comes late, and cheap at full ingest, where most traces are
new. Recent traces stand in two hash tables, a younger and an older one. When the younger is full,
the older is put away as a Bloom filter with its range of slices: a miss is certain, a hit is
confirmed by the store. Everything here can be rebuilt from the store.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numba as nb
import numpy as np
import numpy.typing as npt

from pipeline.analyze.arrays import read_only

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

GENERATION: Final = 2_000_000
"""Traces in one hash table before it is put away; 64 MiB for the largest."""

BITS_PER_TRACE: Final = 12
"""Size of the filters: 0.5 % of lookups of new traces ask the store in vain."""

HASHES: Final = 6

Confirm = Callable[[I64, int, int], tuple[I64, I64]]
"""Asked with indexes into the keys and a range of slices, answers which of them have a home there:
the indexes, and the homes."""


@dataclass(slots=True)
class _Table:
    """An open-addressing hash table from key to home; a home of -1 marks a free place."""

    keys: U64
    homes: I64
    used: int = 0

    @classmethod
    def of(cls, size: int) -> "_Table":
        return cls(np.zeros(size, np.uint64), np.full(size, -1, np.int64))


@dataclass(slots=True)
class _Filter:
    """A Bloom filter over the keys whose homes lie in a range of slices."""

    bits: U64
    low: int
    high: int


class Homes:
    """The index. Not safe for concurrent use; one analysis job owns it."""

    def __init__(self, *, generation: int = GENERATION) -> None:
        self._generation = generation
        self._young = _Table.of(1 << 12)
        self._old = _Table.of(1 << 4)
        self._filters: list[_Filter] = []
        self._oldest = 0

    def forget(self, oldest: int) -> None:
        """Slices below ``oldest`` have left the store; what was at home there is known no more."""
        self._oldest = oldest
        self._filters = [past for past in self._filters if past.high >= oldest]

    def place(self, keys: U64, slice_number: int, confirm: Confirm) -> I64:
        """The home of each key; keys never seen before are at home in ``slice_number``.

        Args:
            keys: distinct 64-bit keys of the traces that the slice holds rows of; read-only.
            slice_number: the slice; must not be lower than any placed before.
            confirm: asks the store about keys that only a filter remembers.
        """
        homes = self.find(keys)
        for past in reversed(self._filters):
            candidates = np.flatnonzero((homes < 0) & _might_hold(keys, past.bits))
            if len(candidates):
                found, where = confirm(candidates, max(past.low, self._oldest), past.high)
                homes[found] = where
        new = homes < 0
        homes[new] = slice_number
        self._remember(keys, homes)
        return homes

    def find(self, keys: U64) -> I64:
        """The home of each key, or -1 where only a filter, or nothing, remembers it."""
        homes = np.full(len(keys), -1, np.int64)
        for table in (self._young, self._old):
            _fill_missing(keys, homes, table.keys, table.homes, self._oldest)
        return homes

    def _remember(self, keys: U64, homes: I64) -> None:
        if self._young.used + len(keys) > self._generation:
            self._put_away()
        while (self._young.used + len(keys)) * 2 > len(self._young.keys):
            larger = _Table.of(len(self._young.keys) * 2)
            larger.used = _insert(
                read_only(self._young.keys[self._young.homes >= 0]),
                self._young.homes[self._young.homes >= 0],
                larger.keys,
                larger.homes,
            )
            self._young = larger
        self._young.used += _insert(keys, homes, self._young.keys, self._young.homes)

    def _put_away(self) -> None:
        held = self._old.homes >= 0
        if held.any():
            keys, homes = read_only(self._old.keys[held]), self._old.homes[held]
            bits = np.zeros(max(1, len(keys) * BITS_PER_TRACE // 64), np.uint64)
            _add_all(keys, bits)
            self._filters.append(_Filter(bits, int(homes.min()), int(homes.max())))
        self._old = self._young
        self._young = _Table.of(1 << 12)


@nb.njit(cache=True, nogil=True, inline="always")
def _mix(key: np.uint64) -> np.uint64:
    mixed = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    return (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)


@nb.njit(cache=True, nogil=True, inline="always")
def _slot(key: np.uint64, size: int) -> np.int64:
    return np.int64((_mix(key) >> np.uint64(8)) & np.uint64(size - 1))


@nb.njit(cache=True, nogil=True)
def trace_keys(high: U64, low: U64) -> U64:
    """One 64-bit key per trace id; two traces with one key only share a home, which is harmless."""
    keys = np.empty(len(low), np.uint64)
    for row in range(len(low)):
        keys[row] = low[row] ^ _mix(high[row])
    return keys


@nb.njit(cache=True, nogil=True)
def _fill_missing(keys: U64, homes: I64, table_keys: U64, table_homes: I64, oldest: int) -> None:
    """Look up what is not known yet; homes below ``oldest`` do not count."""
    size = len(table_keys)
    for row in range(len(keys)):
        if homes[row] >= 0:
            continue
        slot = _slot(keys[row], size)
        while table_homes[slot] >= 0:
            if table_keys[slot] == keys[row]:
                if table_homes[slot] >= oldest:
                    homes[row] = table_homes[slot]
                break
            slot = (slot + 1) & (size - 1)


@nb.njit(cache=True, nogil=True)
def _insert(keys: U64, homes: I64, table_keys: U64, table_homes: I64) -> int:
    """Insert, or give a key that is there its new home; returns how many were new."""
    size = len(table_keys)
    added = 0
    for row in range(len(keys)):
        slot = _slot(keys[row], size)
        while table_homes[slot] >= 0 and table_keys[slot] != keys[row]:
            slot = (slot + 1) & (size - 1)
        if table_homes[slot] < 0:
            table_keys[slot] = keys[row]
            added += 1
        table_homes[slot] = homes[row]
    return added


@nb.njit(cache=True, nogil=True)
def _add_all(keys: U64, bits: U64) -> None:
    size = np.uint64(len(bits) * 64)
    for row in range(len(keys)):
        step = _mix(keys[row]) | np.uint64(1)
        place = _mix(step)
        for _ in range(HASHES):
            bit = place % size
            bits[bit >> np.uint64(6)] |= np.uint64(1) << (bit & np.uint64(63))
            place += step


@nb.njit(cache=True, nogil=True)
def _might_hold(keys: U64, bits: U64) -> npt.NDArray[np.bool_]:
    size = np.uint64(len(bits) * 64)
    held = np.ones(len(keys), np.bool_)
    for row in range(len(keys)):
        step = _mix(keys[row]) | np.uint64(1)
        place = _mix(step)
        for _ in range(HASHES):
            bit = place % size
            if not (bits[bit >> np.uint64(6)] >> (bit & np.uint64(63))) & np.uint64(1):
                held[row] = False
                break
            place += step
    return held
