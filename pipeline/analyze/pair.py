"""Which span tells of which call: client and server tellings of one call find each other by ids.

Works on whole traces at once, as columns of numbers, compiled. For every span it answers: does it
tell of a call at all, from which side, who is at the other end, is it a request of its own or one
more attempt, and when did the request begin. The rules, in the order in which they are applied:

1. A span received twice (same trace, span id, kind, service and start) is one span. Ids alone do
   not identify a span: Zipkin shares one id between client and server, and between the attempts of
   a retry.
2. The parent of a span is the span with its parent id; where Zipkin shared the id, the one in the
   same service, and of a server span that shares its id with a client span, that client span.
3. A server span is inbound when it was called from another service, by another proxy, or from
   nowhere known. A proxy's server span whose parent is its own application is the outbound half of
   a hop (Envoy with `spawn_upstream_span`) and tells of the call as a client. A server span
   directly under another of its service is the same call told again: by the application behind its
   proxy, or by a second layer of instrumentation, which does not count.
4. A client span under a client span of the same service and the same teller (application or proxy)
   is an attempt of it. A client span of a proxy under an inbound span of that proxy is the hop to
   its own application, and tells nothing, unless another service answered: then the proxy is a
   gateway. One that says itself that it is inbound (Istio's cluster, Linkerd's direction) is that
   hop always.
5. The server of a client span is the service of the nearest span below it that is not its own.
6. Server spans of one service under one client span are attempts; the last is the request. A client
   span followed by a sibling with a higher resend count is an attempt only.

Sources: OpenTelemetry semantic conventions for HTTP and RPC spans; Envoy 1.40 (one span per proxy,
or with `spawn_upstream_span` one more per attempt); Zipkin's shared spans.
"""

from typing import Final

import numba as nb
import numpy as np
import polars as pl

from pipeline.analyze.arrays import values
from pipeline.analyze.kinds import (
    CLIENT,
    CLIENT_SIDE,
    CONSUMER,
    CONSUMES,
    INBOUND,
    OUTBOUND,
    PRODUCER,
    PRODUCES,
    ROOT,
    SERVER,
    SERVER_SIDE,
    UNSPECIFIED,
)
from pipeline.analyze.lineage import I32, I64, U8, U64, chains, parents

NOTHING: Final = 0


@nb.njit(cache=True, nogil=True)
def _sides(
    kind: U8, service: I32, proxy: U8, hint: U8, parent: I64, twice: U8
) -> tuple[U8, U8, U8]:
    """Rules 3 and 4 as far as the parent decides: side, outbound half, nested."""
    rows = len(kind)
    side = np.zeros(rows, np.uint8)
    outbound = np.zeros(rows, np.uint8)
    nested = np.zeros(rows, np.uint8)
    for row in range(rows):
        if twice[row]:
            continue
        above = parent[row]
        known = above >= 0
        same = known and service[above] == service[row]
        if kind[row] == PRODUCER:
            side[row] = PRODUCES
        elif kind[row] == CONSUMER:
            side[row] = CONSUMES
        elif kind[row] == CLIENT and proxy[row] and hint[row] == INBOUND:
            pass  # to its own application
        elif kind[row] == CLIENT:
            side[row] = CLIENT_SIDE
            if same and kind[above] == CLIENT and proxy[above] == proxy[row]:
                nested[row] = 1
        elif kind[row] == SERVER:
            side[row] = SERVER_SIDE
            if not same:
                if proxy[row] and hint[row] == OUTBOUND:
                    outbound[row] = 1
            elif proxy[row]:
                called = kind[above] == CLIENT and proxy[above]
                if hint[row] == OUTBOUND or (hint[row] != INBOUND and not called):
                    outbound[row] = 1
            elif kind[above] == CLIENT and not proxy[above]:
                pass  # a service that calls itself
            elif not proxy[above] and kind[above] != CLIENT:
                nested[row] = 1
            if outbound[row]:
                side[row] = CLIENT_SIDE
        elif (known and not same and kind[above] != PRODUCER) or (
            kind[row] == UNSPECIFIED and above == ROOT
        ):
            side[row] = SERVER_SIDE
    return side, outbound, nested


@nb.njit(cache=True, nogil=True)
def _is_hop(
    row: int, above: int, kind: U8, service: I32, proxy: U8, side: U8, outbound: U8
) -> bool:
    """Whether the call goes over from ``above`` to ``row``: to another service, or anew."""
    if service[above] != service[row]:
        return True
    if side[row] != SERVER_SIDE or kind[row] != SERVER:
        return False
    return kind[above] == CLIENT and proxy[above] == proxy[row] and not outbound[row]


@nb.njit(cache=True, nogil=True)
def _is_later(row: int | np.int64, other: int | np.int64, ids: U64, start: I64, rank: I64) -> bool:
    """Whether ``row`` counts as the later of two spans, in whatever order they came."""
    if start[row] != start[other]:
        return bool(start[row] > start[other])
    if ids[row] != ids[other]:
        return bool(ids[row] > ids[other])
    return bool(rank[row] > rank[other])


@nb.njit(cache=True, nogil=True)
def _link(
    ids: U64, kind: U8, service: I32, proxy: U8, start: I64, rank: I64, parent: I64, side: U8,
    outbound: U8, nested: U8, twice: U8,
) -> tuple[I64, I32, I32]:  # fmt: skip
    """Rule 5: of each row who answered it, how many did, and how many attempts it made."""
    rows = len(kind)
    answered = np.full(rows, -1, np.int64)
    answers = np.zeros(rows, np.int32)
    tries = np.zeros(rows, np.int32)
    for row in range(rows):
        above = parent[row]
        if twice[row] or above < 0:
            continue
        inside = side[row] == CLIENT_SIDE and service[above] == service[row]
        if inside and (nested[row] or (outbound[above] and proxy[row])):
            tries[above] += 1
        if not _is_hop(row, above, kind, service, proxy, side, outbound):
            continue
        up = above
        steps = 0
        while up >= 0 and steps < 64:
            best = answered[up]
            serves = side[row] == SERVER_SIDE
            if best < 0 or serves != (side[best] == SERVER_SIDE):
                better = best < 0 or serves
            else:
                better = _is_later(row, best, ids, start, rank)
            if better:
                answered[up] = row
            answers[up] += 1
            further = parent[up]
            steps += 1
            if further < 0 or service[further] != service[up]:
                break
            if not (kind[up] == CLIENT or outbound[up]):
                break
            if side[further] != CLIENT_SIDE:
                # a gateway's inbound span, or a proxy's to its own application: the call below it
                # is its own, not its caller's
                break
            up = further
    return answered, answers, tries


@nb.njit(cache=True, nogil=True)
def _logical(row: int, service: I32, proxy: U8, parent: I64, outbound: U8, nested: U8) -> int:
    """The client row of which ``row`` is an attempt; itself when it is none."""
    steps = 0
    while steps < 64:
        above = parent[row]
        if above < 0 or service[above] != service[row]:
            return row
        if not nested[row] and not (proxy[row] and outbound[above]):
            return row
        row = above
        steps += 1
    return row


@nb.njit(cache=True, nogil=True)
def _outermost(row: int, service: I32, parent: I64, side: U8) -> int:
    """The first teller of the call on the client's side: the application before its proxy."""
    steps = 0
    while steps < 64:
        above = parent[row]
        if above < 0 or service[above] != service[row]:
            return row
        if side[above] != CLIENT_SIDE:
            return row
        row = above
        steps += 1
    return row


@nb.njit(cache=True, nogil=True)
def _superseded(
    ids: U64, service: I32, start: I64, rank: I64, resend: I32, parent: I64, side: U8, twice: U8
) -> U8:
    """Rule 6, for tellers that number their attempts: rows that a later sibling repeats."""
    rows = len(parent)
    repeated = np.zeros(rows, np.uint8)
    if not np.any(resend > 0):
        return repeated
    child = np.full(rows, -1, np.int64)
    sibling = np.full(rows, -1, np.int64)
    for row in range(rows):
        if parent[row] >= 0 and side[row] == CLIENT_SIDE and not twice[row]:
            sibling[row] = child[parent[row]]
            child[parent[row]] = row
    for row in range(rows):
        if resend[row] == 0 or parent[row] < 0 or twice[row] or side[row] != CLIENT_SIDE:
            continue
        best = np.int64(-1)
        other = child[parent[row]]
        while other >= 0:
            if (
                other != row
                and service[other] == service[row]
                and resend[other] == resend[row] - 1
                and start[other] <= start[row]
                and not repeated[other]
                and (best < 0 or _is_later(other, best, ids, start, rank))
            ):
                best = other
            other = sibling[other]
        if best >= 0:
            repeated[best] = 1
    return repeated


@nb.njit(cache=True, nogil=True)
def _last_answers(
    ids: U64, kind: U8, service: I32, proxy: U8, start: I64, rank: I64, parent: I64, twice: U8,
    side: U8, outbound: U8, nested: U8,
) -> I64:  # fmt: skip
    """Rule 6, for tellers that do not: of each logical client row the last inbound row under it."""
    rows = len(parent)
    last = np.full(rows, -1, np.int64)
    for row in range(rows):
        above = parent[row]
        if twice[row] or side[row] != SERVER_SIDE or above < 0 or side[above] != CLIENT_SIDE:
            continue
        if not _is_hop(row, above, kind, service, proxy, side, outbound):
            continue
        logical = _logical(above, service, proxy, parent, outbound, nested)
        final = last[logical]
        if final < 0 or _is_later(row, final, ids, start, rank):
            last[logical] = row
    return last


@nb.njit(cache=True, nogil=True)
def _tell(
    ids: U64, kind: U8, service: I32, proxy: U8, gateway: U8, start: I64, rank: I64, resend: I32,
    parent: I64, twice: U8, side: U8, outbound: U8, nested: U8,
) -> tuple[U8, I64, I64, U8, I32]:  # fmt: skip
    """The answer for each row: side, other end, begin, whether it is a request, attempts."""
    rows = len(kind)
    answered, answers, tries = _link(
        ids, kind, service, proxy, start, rank, parent, side, outbound, nested, twice
    )
    repeated = _superseded(ids, service, start, rank, resend, parent, side, twice)
    last = _last_answers(
        ids, kind, service, proxy, start, rank, parent, twice, side, outbound, nested
    )
    told = side.copy()
    other = np.full(rows, ROOT, np.int64)
    begin = start.copy()
    request = np.ones(rows, np.uint8)
    attempts = np.ones(rows, np.int32)
    for row in range(rows):
        above = parent[row]
        if twice[row] or nested[row] or side[row] == NOTHING:
            told[row] = NOTHING
        elif side[row] == CLIENT_SIDE:
            below_proxy = kind[row] == CLIENT and proxy[row] and above >= 0 and proxy[above]
            if below_proxy and service[above] == service[row]:
                attempt = outbound[above]
                to_its_application = answers[row] == 0 and not gateway[row]
                if attempt or (kind[above] == SERVER and to_its_application):
                    told[row] = NOTHING
                    continue
            other[row] = answered[row]
            begin[row] = start[_outermost(row, service, parent, side)]
            request[row] = 1 - repeated[row]
            attempts[row] = max(1, answers[row], tries[row])
        elif side[row] == SERVER_SIDE:
            entry = row
            steps = 0
            while steps < 64:
                above = parent[entry]
                if above < 0 or _is_hop(entry, above, kind, service, proxy, side, outbound):
                    break
                entry = above
                steps += 1
            caller = parent[entry]
            other[row] = caller
            begin[row] = start[entry]
            if caller >= 0 and side[caller] == CLIENT_SIDE:
                begin[row] = start[_outermost(caller, service, parent, side)]
                logical = _logical(caller, service, proxy, parent, outbound, nested)
                if repeated[logical] or last[logical] != entry:
                    request[row] = 0
    return told, other, begin, request, attempts


def pair(spans: pl.DataFrame) -> pl.DataFrame:
    """Tell of each span what it says about calls.

    Args:
        spans: whole traces, with columns ``trace_id_high``, ``trace_id_low``, ``span_id``,
            ``parent_span_id`` (0 for none), ``kind``, ``service`` (i32), ``is_proxy`` (u8),
            ``gateway`` (u8), ``direction`` (u8: 0 unknown, 1 outbound, 2 inbound), ``start``
            (i64, Unix ns), ``resend`` (i32), ``rank`` (i64: which of two equal spans stays).

    Returns:
        One row per span that tells of a call: ``row`` (index into ``spans``), ``side``, ``other``
        (index of the row at the other end; -1 nobody, -2 somebody who was not received),
        ``begin`` (i64, Unix ns, when the request began), ``request`` (u8), ``attempts`` (i32).
    """
    column = {name: values(spans[name]) for name in spans.columns}
    high_id, low_id = column["trace_id_high"], column["trace_id_low"]
    ids, kind, service = column["span_id"], column["kind"], column["service"]
    proxy, start = column["is_proxy"], column["start"]
    heads, following, twice, mask = chains(
        high_id, low_id, ids, kind, service, start, column["rank"]
    )
    parent = parents(
        high_id, low_id, ids, column["parent_span_id"], kind, service, start,
        heads, following, twice, mask,
    )  # fmt: skip
    side, outbound, nested = _sides(kind, service, proxy, column["direction"], parent, twice)
    told, other, begin, request, attempts = _tell(
        ids, kind, service, proxy, column["gateway"], start, column["rank"], column["resend"],
        parent, twice, side, outbound, nested,
    )  # fmt: skip
    rows = np.flatnonzero(told != NOTHING)
    return pl.DataFrame(
        {
            "row": rows.astype(np.uint32),
            "side": told[rows],
            "other": other[rows],
            "begin": begin[rows],
            "request": request[rows],
            "attempts": attempts[rows],
        }
    )
