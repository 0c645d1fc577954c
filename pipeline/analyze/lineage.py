"""Who is whose: spans received twice, and the parent of every span.

Compiled, over columns of numbers; rows of a trace may stand anywhere. Two spans with one id are
told apart by kind, service and start, because Zipkin shares one id between a client and its
server, and between the attempts of a retry.
"""

from typing import Final

import numba as nb
import numpy as np
import numpy.typing as npt

from pipeline.analyze.kinds import CLIENT, MISSING, ROOT, SERVER

_MIX_1: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_2: Final = np.uint64(0xBF58476D1CE4E5B9)

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
I32 = npt.NDArray[np.int32]
U8 = npt.NDArray[np.uint8]


@nb.njit(cache=True, nogil=True, inline="always")
def _slot(high: np.uint64, low: np.uint64, extra: np.uint64, mask: np.int64) -> np.int64:
    mixed = (low ^ (high * _MIX_1) ^ (extra * _MIX_2)) * _MIX_1
    mixed = (mixed ^ (mixed >> np.uint64(29))) * _MIX_2
    slot: np.int64 = np.int64((mixed ^ (mixed >> np.uint64(32))) & np.uint64(mask))
    return slot


@nb.njit(cache=True, nogil=True)
def _table_mask(rows: int) -> np.int64:
    size = 16
    while size < rows * 2:
        size *= 2
    return np.int64(size - 1)


@nb.njit(cache=True, nogil=True)
def _find(
    high: U64, low: U64, ids: U64, heads: I64, mask: np.int64, row: int, wanted: np.uint64
) -> np.int64:
    """The head of the chain of rows with id ``wanted`` in the trace of ``row``, or -1."""
    slot = _slot(high[row], low[row], wanted, mask)
    while heads[slot] >= 0:
        head: np.int64 = heads[slot]
        if ids[head] == wanted and low[head] == low[row] and high[head] == high[row]:
            return head
        slot = (slot + 1) & mask
    return np.int64(-1)


@nb.njit(cache=True, nogil=True)
def chains(
    high: U64, low: U64, ids: U64, kind: U8, service: I32, start: I64, rank: I64
) -> tuple[I64, I64, U8, np.int64]:
    """Chain rows of equal (trace, span id) behind their first; mark rows received twice."""
    rows = len(low)
    mask = _table_mask(rows)
    heads = np.full(mask + 1, -1, np.int64)
    following = np.full(rows, -1, np.int64)
    tail = np.empty(rows, np.int64)
    twice = np.zeros(rows, np.uint8)
    for row in range(rows):
        slot = _slot(high[row], low[row], ids[row], mask)
        while heads[slot] >= 0:
            head = heads[slot]
            if ids[head] == ids[row] and low[head] == low[row] and high[head] == high[row]:
                break
            slot = (slot + 1) & mask
        if heads[slot] < 0:
            heads[slot] = row
            tail[row] = row
            continue
        other = heads[slot]
        while other >= 0:
            if (
                twice[other] == 0
                and kind[other] == kind[row]
                and service[other] == service[row]
                and start[other] == start[row]
            ):
                # which of the two stays must not depend on which came first
                if rank[row] > rank[other]:
                    twice[other] = 1
                else:
                    twice[row] = 1
                break
            other = following[other]
        head = heads[slot]
        following[tail[head]] = row
        tail[head] = row
    return heads, following, twice, mask


@nb.njit(cache=True, nogil=True)
def parents(
    high: U64, low: U64, ids: U64, parent_ids: U64, kind: U8, service: I32, start: I64,
    heads: I64, following: I64, twice: U8, mask: np.int64,
) -> I64:  # fmt: skip
    """For each row the row of its parent, ROOT or MISSING."""
    rows = len(low)
    parent = np.full(rows, ROOT, np.int64)
    for row in range(rows):
        if kind[row] == SERVER:
            # Zipkin: a server span that shares its id with the client span that called it
            mate = np.int64(-1)
            other = _find(high, low, ids, heads, mask, row, ids[row])
            while other >= 0:
                if (
                    kind[other] == CLIENT
                    and twice[other] == 0
                    and (mate < 0 or start[other] > start[mate])
                ):
                    mate = other
                other = following[other]
            if mate >= 0:
                parent[row] = mate
                continue
        if parent_ids[row] == 0:
            continue
        best = np.int64(MISSING)
        best_score = -1
        other = _find(high, low, ids, heads, mask, row, parent_ids[row])
        while other >= 0:
            if twice[other] == 0 and other != row:
                score = 0
                if service[other] == service[row]:
                    score = 4
                if kind[other] == (CLIENT if kind[row] == SERVER else SERVER):
                    score += 2
                if score > best_score or (score == best_score and start[other] < start[best]):
                    best = other
                    best_score = score
            other = following[other]
        parent[row] = best
    return parent
