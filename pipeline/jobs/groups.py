"""Groups of keys that belong together, each with its home: a union-find forest.

A row that carries two keys, a trace id and a request id, makes one group of both. The home of a
group is the lowest slice that holds a row of it, so that two groups that become one have one home,
and one of them moves.
"""

from typing import Final

import numba as nb
import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]

NO_GROUP: Final = -1


class Groups:
    """Homes by number of the group; numbers stay, groups become one."""

    def __init__(self) -> None:
        self._parents = np.empty(1 << 12, np.int64)
        self._homes = np.empty(1 << 12, np.int64)
        self._used = 0

    def found(self, homes: I64) -> I64:
        """Found one new group per home; answers their numbers."""
        first, self._used = self._used, self._used + len(homes)
        while self._used > len(self._parents):
            self._parents = np.concatenate((self._parents, np.empty_like(self._parents)))
            self._homes = np.concatenate((self._homes, np.empty_like(self._homes)))
        numbers = np.arange(first, self._used)
        self._parents[first : self._used] = numbers
        self._homes[first : self._used] = homes
        return numbers

    def homes(self, groups: I64) -> I64:
        """The home of each group; -1 for none."""
        homes = np.empty(len(groups), np.int64)
        _homes_of(groups, self._parents, self._homes, homes)
        return homes

    def unite(self, ones: I64, others: I64) -> I64:
        """Make groups one, pair by pair.

        Returns:
            Two columns, a row for every home that a group left: the home before, and now.
        """
        left = np.empty((len(ones), 2), np.int64)
        count = _unite(ones, others, self._parents, self._homes, left)
        left = left[:count]
        left[:, 1] = self.homes(left[:, 1].copy())
        return np.unique(left[left[:, 0] != left[:, 1]], axis=0)

    def only(self, groups: I64) -> I64:
        """Forget all groups but these, which are answered under new numbers."""
        homes, roots = self.homes(groups), np.empty(len(groups), np.int64)
        _roots_of(groups, self._parents, roots)
        _, first, renumbered = np.unique(roots, return_index=True, return_inverse=True)
        self._used = 0
        return self.found(homes[first])[renumbered]


@nb.njit(cache=True, nogil=True)
def _root(group: int | np.int64, parents: I64) -> np.int64:
    """The group that stands for all that became one with it; shortens the way there."""
    while parents[group] != group:
        parents[group] = parents[parents[group]]
        group = parents[group]
    return np.int64(group)


@nb.njit(cache=True, nogil=True)
def _roots_of(groups: I64, parents: I64, roots: I64) -> None:
    for row in range(len(groups)):
        roots[row] = _root(groups[row], parents)


@nb.njit(cache=True, nogil=True)
def _homes_of(groups: I64, parents: I64, homes: I64, answer: I64) -> None:
    for row in range(len(groups)):
        answer[row] = homes[_root(groups[row], parents)] if groups[row] >= 0 else -1


@nb.njit(cache=True, nogil=True)
def _unite(ones: I64, others: I64, parents: I64, homes: I64, left: I64) -> int:
    """Unite pairs; ``left`` is filled with homes that were left and the group that left them."""
    count = 0
    for row in range(len(ones)):
        stays, goes = _root(ones[row], parents), _root(others[row], parents)
        if stays == goes:
            continue
        if homes[goes] < homes[stays]:
            stays, goes = goes, stays
        if homes[goes] != homes[stays]:
            left[count, 0], left[count, 1] = homes[goes], goes
            count += 1
        parents[goes] = stays
    return count
