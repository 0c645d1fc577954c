"""Calls to requests by time alone: who asked for what, where nothing carries an id.

A service served requests and made calls, and both are told with times of one clock. A call was made
for a request inside of which it lies, and for which of several is a matter of likelihood: how long
after a request begins a service makes a call, and how long before the end it is answered, has a
distribution of its own for each service and callee. It is estimated from the assignment, and the
assignment from it, a few times over (expectation and maximisation with a hard step); the assignment
is the one of least cost under which no request has more calls than it can (Kuhn and Munkres, as
``scipy.optimize.linear_sum_assignment``). What is in flight at the same time is decided together;
instants at which nothing is cut the problem into small ones.

This is inference. Each link has a confidence, the posterior probability that the request is the
right one among those that could be, under the estimated distributions; never count such links with
those that ids prove. After TraceWeaver (SIGCOMM 2024), which links requests by the same means and
knows of the order of calls besides.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

ROUNDS: Final = 4
"""How often distributions and assignment are estimated from each other."""

TOGETHER: Final = 600
"""Requests and calls that are decided together at most; the cost grows with the cube."""

BINS_PER_OCTAVE: Final = 4
BINS: Final = 44 * BINS_PER_OCTAVE
"""Gaps from a nanosecond to some hours."""

SMOOTHING: Final = np.array([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
PRIOR: Final = 0.05
"""Calls in every bin before any was seen: nothing is impossible."""

IMPOSSIBLE: Final = 1e9

ENOUGH_TO_BEGIN: Final = 50
"""Calls that leave no choice from which a first guess may be made."""

LINKS: Final = pl.Schema({"call": pl.Int64(), "request": pl.Int64(), "confidence": pl.Float64()})
"""Columns of links: numbers of rows of calls and of requests, and 0..1."""


def link(requests: pl.DataFrame, calls: pl.DataFrame) -> pl.DataFrame:
    """Assign calls to the requests they were made for.

    Args:
        requests: what services served, columns ``service``, ``start`` and ``end`` (i64, Unix
            nanoseconds of that service's clock).
        calls: what services called, columns ``service`` (who calls), ``callee``, ``start`` and
            ``end``, by the same clock.

    Returns:
        Columns ``LINKS``, one row per call that lies inside of a request of its service and was
        assigned, in the order of calls. Equal times aside, the order of rows changes nothing.
    """
    ordered = ["start", "end"]
    served = requests.with_row_index("request").sort(*ordered).partition_by("service", as_dict=True)
    made = calls.with_row_index("call").sort(*ordered)
    found = [
        _linked(served[(service,)], group)
        for (service, _), group in made.group_by("service", "callee", maintain_order=True)
        if (service,) in served
    ]
    if not found:
        return pl.DataFrame(schema=LINKS)
    return pl.concat(found).sort("call")


def _linked(requests: pl.DataFrame, calls: pl.DataFrame) -> pl.DataFrame:
    """Links of the calls of one service to one callee."""
    inside = _Times(*(requests[name].to_numpy() for name in ("start", "end")))
    outside = _Times(*(calls[name].to_numpy() for name in ("start", "end")))
    pieces = [_Piece(inside, outside, *piece) for piece in _pieces(inside, outside)]
    each = max(1, -(-len(calls) // max(1, len(requests))))
    before, after = _first_guess(pieces), _first_guess(pieces, ends=True)
    for _ in range(ROUNDS):
        chosen = [piece.assigned(before, after, each) for piece in pieces]
        before = _density(piece.gaps(links) for piece, links in zip(pieces, chosen, strict=True))
        after = _density(
            piece.gaps(links, ends=True) for piece, links in zip(pieces, chosen, strict=True)
        )
    rows = [piece.answer(before, after, each) for piece in pieces]
    if not rows:
        return pl.DataFrame(schema=LINKS)
    call, request, confidence = (np.concatenate(column) for column in zip(*rows, strict=True))
    return pl.DataFrame(
        {
            "call": calls["call"].to_numpy()[call],
            "request": requests["request"].to_numpy()[request],
            "confidence": confidence,
        },
        schema_overrides=LINKS,
    ).cast(LINKS)


class _Times:
    """Starts and ends, by start."""

    def __init__(self, start: I64, end: I64) -> None:
        self.start = start
        self.end = end


class _Piece:
    """Requests and calls that are decided together.

    Args:
        requests: all requests of the service.
        calls: all its calls to the callee.
        of: the first request of the piece, and the one after its last.
        made: the first call, and the one after the last.
    """

    def __init__(
        self, requests: _Times, calls: _Times, of: tuple[int, int], made: tuple[int, int]
    ) -> None:
        self._of, self._made = of[0], made[0]
        self._before = calls.start[slice(*made), None] - requests.start[None, slice(*of)]
        self._after = requests.end[None, slice(*of)] - calls.end[slice(*made), None]
        self._possible = (self._before >= 0) & (self._after >= 0)

    def assigned(self, before: F64, after: F64, each: int) -> I64:
        """Pairs of call and request of least cost, numbers within the piece."""
        from scipy.optimize import linear_sum_assignment  # noqa: PLC0415 - most never ask for links

        cost = self._cost(before, after)
        several = np.repeat(cost, each, axis=1) if each > 1 else cost
        call, place = linear_sum_assignment(several)
        pairs = np.stack((call, place // each), axis=1)
        answer: I64 = pairs[self._possible[pairs[:, 0], pairs[:, 1]]]
        return answer

    def gaps(self, links: I64, *, ends: bool = False) -> I64:
        """How long before the calls their requests began, or after them ended."""
        gaps = self._after if ends else self._before
        answer: I64 = gaps[links[:, 0], links[:, 1]]
        return answer

    def sure(self, *, ends: bool = False) -> I64:
        """The gaps of calls that only one request can have made."""
        alone = np.flatnonzero(self._possible.sum(axis=1) == 1)
        links = np.stack((alone, self._possible[alone].argmax(axis=1)), axis=1)
        return self.gaps(links, ends=ends)

    def nearest(self, *, ends: bool = False) -> I64:
        """The gaps of calls to the last request that was begun before each."""
        some = np.flatnonzero(self._possible.any(axis=1))
        gaps = np.where(self._possible, self._before, np.iinfo(np.int64).max)
        return self.gaps(np.stack((some, gaps[some].argmin(axis=1)), axis=1), ends=ends)

    def answer(self, before: F64, after: F64, each: int) -> tuple[I64, I64, F64]:
        """Calls, their requests, and how sure that is."""
        links = self.assigned(before, after, each)
        cost = self._cost(before, after)[links[:, 0]]
        likely = np.exp(cost.min(axis=1, keepdims=True) - cost)
        likely[~self._possible[links[:, 0]]] = 0.0
        confidence = likely[np.arange(len(links)), links[:, 1]] / likely.sum(axis=1)
        return links[:, 0] + self._made, links[:, 1] + self._of, confidence

    def _cost(self, before: F64, after: F64) -> F64:
        cost = before[_bins(self._before)] + after[_bins(self._after)]
        return np.where(self._possible, cost, IMPOSSIBLE)


def _pieces(requests: _Times, calls: _Times) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Ranges of requests, and of the calls begun meanwhile, cut where nothing is in flight."""
    if not len(requests.start) or not len(calls.start):
        return
    latest = np.maximum.accumulate(requests.end)
    idle = np.flatnonzero(requests.start[1:] > latest[:-1]) + 1
    cuts = [0, *idle.tolist(), len(requests.start)]
    first = 0
    for cut, following in zip(cuts[1:], [*cuts[2:], len(requests.start)], strict=True):
        if cut - first == 0 or (following - first <= TOGETHER // 8 and cut != cuts[-1]):
            continue
        for low in range(first, cut, TOGETHER):
            high = min(low + TOGETHER, cut)
            until = requests.start[high] if high < len(requests.start) else None
            made = (
                int(np.searchsorted(calls.start, requests.start[low])),
                len(calls.start) if until is None else int(np.searchsorted(calls.start, until)),
            )
            if made[0] < made[1]:
                yield (low, high), made
        first = cut


def _first_guess(pieces: list[_Piece], *, ends: bool = False) -> F64:
    """From calls that leave no choice, or where these are few the last request begun before."""
    sure = [piece.sure(ends=ends) for piece in pieces]
    if sum(map(len, sure)) >= ENOUGH_TO_BEGIN:
        return _density(iter(sure))
    return _density(piece.nearest(ends=ends) for piece in pieces)


def _bins(gaps: I64) -> I64:
    """The bin of each gap, by its logarithm."""
    places = np.log2(np.maximum(gaps, 0) + 1.0) * BINS_PER_OCTAVE
    answer: I64 = np.minimum(places, BINS - 1).astype(np.int64)
    return answer


def _density(gaps: Iterator[I64]) -> F64:
    """Minus the logarithm of the density of gaps, by bin, per nanosecond."""
    counts = np.full(BINS, PRIOR)
    for some in gaps:
        counts += np.bincount(_bins(some), minlength=BINS)
    smooth = np.convolve(counts, SMOOTHING, mode="same")
    edges = 2 ** (np.arange(BINS + 1) / BINS_PER_OCTAVE) - 1
    answer: F64 = np.log(np.diff(edges)) - np.log(smooth / smooth.sum())
    return answer
