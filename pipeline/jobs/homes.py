"""Homes: for every trace and request in the store, the lowest slice that holds a row of it.

A row that carries a trace id and a request id makes both one group with one home, so that what a
gateway logs and what the mesh behind it tells are read together (``groups``). The answer must be
exact for whatever comes late, and cheap at full ingest, where most traces are new. Recent keys
stand in two hash tables, a younger and an older one. When the younger is full, the older is put
away as a Bloom filter with its range of slices: a miss is certain, a hit is confirmed by the store.
Everything here can be rebuilt from the store.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

import numba as nb
import numpy as np
import numpy.typing as npt

from pipeline.analyze.arrays import read_only
from pipeline.jobs.groups import NO_GROUP, Groups

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

GENERATION: Final = 2_000_000
"""Keys in one hash table before it is put away; 64 MiB for the largest."""

BITS_PER_TRACE: Final = 12
"""Size of the filters: 0.5 % of lookups of new traces ask the store in vain."""

HASHES: Final = 6


class Pairs(NamedTuple):
    """Keys that one row carries both, as indexes into keys: the first, and the second."""

    ones: I64
    others: I64


NO_PAIRS: Final = Pairs(np.empty(0, np.int64), np.empty(0, np.int64))


class Remembered(NamedTuple):
    """What the store knows of keys: whole groups of them.

    Attributes:
        keys: keys of the groups, distinct.
        homes: of each the home of its group.
        pairs: what makes groups of them.
    """

    keys: U64
    homes: I64
    pairs: Pairs


NOTHING: Final = Remembered(np.empty(0, np.uint64), np.empty(0, np.int64), NO_PAIRS)

Confirm = Callable[[I64, int, int], Remembered]
"""Asked with indexes into the keys and a range of slices, answers the groups of those of them that
have rows there."""


class Placed(NamedTuple):
    """Where keys are at home.

    Attributes:
        homes: the home of each key.
        left: two columns, a row for every home that a group of older rows left because rows of one
            slice made it one with an older group: the home before, and now.
    """

    homes: I64
    left: I64


@dataclass(slots=True)
class _Table:
    """An open-addressing hash table from key to group; a group of -1 marks a free place."""

    keys: U64
    groups: I64
    used: int = 0

    @classmethod
    def of(cls, size: int) -> "_Table":
        return cls(np.zeros(size, np.uint64), np.full(size, NO_GROUP, np.int64))


@dataclass(slots=True)
class _Filter:
    """A Bloom filter over keys that each have a row in a range of slices."""

    bits: U64
    low: int
    high: int


class Homes:
    """The index. Not safe for concurrent use; one analysis job owns it."""

    def __init__(self, *, generation: int = GENERATION) -> None:
        self._generation = generation
        self._young = _Table.of(1 << 12)
        self._old = _Table.of(1 << 4)
        self._groups = Groups()
        self._filters: list[_Filter] = []
        self._oldest = 0
        self._newest = 0

    def forget(self, oldest: int) -> None:
        """Slices below ``oldest`` have left the store; what was at home there is known no more."""
        self._oldest = oldest
        self._filters = [past for past in self._filters if past.high >= oldest]

    def place(
        self, keys: U64, slice_number: int, confirm: Confirm, pairs: Pairs = NO_PAIRS
    ) -> Placed:
        """The home of each key; keys never seen before are at home in ``slice_number``.

        Args:
            keys: distinct 64-bit keys of the traces and requests that the slice holds rows of;
                read-only.
            slice_number: the slice; must not be lower than any placed before.
            confirm: asks the store about keys that only a filter remembers.
            pairs: which keys one row carries both.
        """
        self._newest = slice_number
        groups = self._find(keys)
        for past in reversed(self._filters):
            candidates = np.flatnonzero((groups < 0) & _might_hold(keys, past.bits))
            if len(candidates):
                self._recall(confirm(candidates, max(past.low, self._oldest), past.high))
                groups = self._find(keys)
        new = np.flatnonzero(groups < 0)
        groups[new] = self._groups.found(np.full(len(new), slice_number))
        if self._young.used + len(keys) > self._generation:
            groups = self._put_away(groups)
        self._remember(keys, groups)
        left = self._groups.unite(groups[pairs.ones], groups[pairs.others])
        return Placed(self._groups.homes(groups), left[left[:, 0] != slice_number])

    def find(self, keys: U64) -> I64:
        """The home of each key, or -1 where only a filter, or nothing, remembers it."""
        return self._groups.homes(self._find(keys))

    def _find(self, keys: U64) -> I64:
        """The group of each key; -1 for none, and for those at home in a slice that left."""
        groups = np.full(len(keys), NO_GROUP, np.int64)
        for table in (self._young, self._old):
            _fill_missing(keys, groups, table.keys, table.groups)
        groups[self._groups.homes(groups) < self._oldest] = NO_GROUP
        return groups

    def _recall(self, told: Remembered) -> None:
        """Take groups that the store remembers into the tables again, few as they are."""
        keys = read_only(told.keys)
        groups = self._find(keys)
        new = np.flatnonzero(groups < 0)
        groups[new] = self._groups.found(told.homes[new])
        self._remember(keys, groups)
        self._groups.unite(groups[told.pairs.ones], groups[told.pairs.others])

    def _remember(self, keys: U64, groups: I64) -> None:
        while (self._young.used + len(keys)) * 2 > len(self._young.keys):
            larger = _Table.of(len(self._young.keys) * 2)
            held = self._young.groups >= 0
            larger.used = _insert(
                read_only(self._young.keys[held]),
                self._young.groups[held],
                larger.keys,
                larger.groups,
            )
            self._young = larger
        self._young.used += _insert(keys, groups, self._young.keys, self._young.groups)

    def _put_away(self, groups: I64) -> I64:
        """Begin a new generation; the groups, which are about to be remembered, renumbered."""
        held = self._old.groups >= 0
        if held.any():
            keys = read_only(self._old.keys[held])
            homes = self._groups.homes(self._old.groups[held])
            bits = np.zeros(max(1, len(keys) * BITS_PER_TRACE // 64), np.uint64)
            _add_all(keys, bits)
            self._filters.append(_Filter(bits, int(homes.min()), self._newest))
        self._old = self._young
        self._young = _Table.of(1 << 12)
        used = np.flatnonzero(self._old.groups >= 0)
        kept = self._groups.only(np.concatenate((self._old.groups[used], groups)))
        self._old.groups[used] = kept[: len(used)]
        return kept[len(used) :]


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
def _fill_missing(keys: U64, groups: I64, table_keys: U64, table_groups: I64) -> None:
    """Look up what is not known yet."""
    size = len(table_keys)
    for row in range(len(keys)):
        if groups[row] >= 0:
            continue
        slot = _slot(keys[row], size)
        while table_groups[slot] >= 0:
            if table_keys[slot] == keys[row]:
                groups[row] = table_groups[slot]
                break
            slot = (slot + 1) & (size - 1)


@nb.njit(cache=True, nogil=True)
def _insert(keys: U64, groups: I64, table_keys: U64, table_groups: I64) -> int:
    """Insert, or give a key that is there its new group; returns how many were new."""
    size = len(table_keys)
    added = 0
    for row in range(len(keys)):
        slot = _slot(keys[row], size)
        while table_groups[slot] >= 0 and table_keys[slot] != keys[row]:
            slot = (slot + 1) & (size - 1)
        if table_groups[slot] < 0:
            table_keys[slot] = keys[row]
            added += 1
        table_groups[slot] = groups[row]
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
