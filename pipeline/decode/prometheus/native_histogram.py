"""Native histograms of Prometheus as exponential histograms, and those with bounds of their own.

A native histogram has buckets where measurements are: spans say which, deltas how many more there
are in each than in the one before. Rows have all buckets from the first to the last, empty ones
too. Bucket ``n`` of Prometheus ends where bucket ``n`` of OpenTelemetry begins: offsets are one
less.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from pipeline.decode.kernels.columns import numbers
from pipeline.decode.kernels.kernel import Ints, kernel
from pipeline.decode.kernels.lists import lists, varint_lists
from pipeline.decode.prometheus.classic_histogram import is_count
from pipeline.decode.prometheus.remote_messages import FRACTIONS, SIDES
from pipeline.decode.prometheus.samples import Truths
from pipeline.decode.wire.walk import Rows, Walked

CUSTOM: Final = -53
"""The schema of histograms that tell their bounds."""
LEAST_SCHEMA, MOST_SCHEMA = -4, 8

WIDEST: Final = 1 << 14
"""Buckets of one side from the first to the last, at most."""
FARTHEST: Final = 1 << 30
"""The index of a first bucket, at most."""
FREE_BUCKETS: Final = 1 << 14
BUCKETS_PER_BYTE: Final = 4
"""How many buckets all histograms of a message may have: so many, and as its bytes buy."""

GAUGE_HINT: Final = 3
UNTOLD, UNKNOWN, MISMATCH, FRACTION, WIDE = range(5)
FAULTS: Final = (
    "",
    "a native histogram of a schema that is not known",
    "a native histogram whose spans, counts and bounds do not match",
    "a native histogram that counts in fractions, which no column holds",
    "a native histogram with too many buckets",
)
"""What may be wrong with a histogram; the first stands for nothing."""


@dataclass(frozen=True, slots=True)
class _Side:
    """The buckets of one side, from the first to the last.

    Attributes:
        firsts: of each histogram the index of its first bucket.
        offsets: where its buckets begin among all, and where the last ends.
        counts: of all buckets.
    """

    firsts: Ints
    offsets: Ints
    counts: Ints

    def list_array(self, told: Truths) -> pa.Array:
        """The counts of each histogram; null where there is none."""
        return pa.ListArray.from_arrays(
            pa.array(self.offsets, pa.int32()),
            pa.array(self.counts.astype(np.uint64)),
            mask=pa.array(~told),
        )


@dataclass(frozen=True, slots=True)
class Natives:
    """All native histograms of a walk.

    Attributes:
        faults: of each the number of what is wrong with it.
        stale: which only say that their series has ended.
        positive: their buckets above zero, or those with bounds of their own.
        negative: their buckets below zero.
    """

    rows: Rows
    faults: Ints
    stale: Truths
    positive: _Side
    negative: _Side
    bounds: pa.Array

    def columns(self) -> dict[str, pa.Array]:
        """Columns of ``metric_points`` that are about the histograms alone."""
        rows, schema = self.rows, self.rows.column("schema")
        custom = schema == CUSTOM
        told = ~self.stale
        exponential = told & ~custom
        words = pa.array(["exponential_histogram", "histogram"])
        gauge = rows.column("reset_hint") == GAUGE_HINT
        return {
            "type": words.take(pa.array(custom.astype(np.int64))),
            "temporality": pa.array(np.where(gauge, 0, 2).astype(np.uint8)),
            "count": numbers(_whole(rows, "count", "counts_in"), pa.uint64(), told),
            "sum": numbers(rows.column("sum"), pa.float64(), told),
            "scale": numbers(schema, pa.int32(), exponential),
            "zero_count": numbers(
                _whole(rows, "zero_count", "zero_counts_in"), pa.uint64(), exponential
            ),
            "zero_threshold": numbers(rows.column("zero_threshold"), pa.float64(), exponential),
            "positive_offset": numbers(self.positive.firsts - 1, pa.int32(), exponential),
            "positive_counts": self.positive.list_array(exponential),
            "negative_offset": numbers(self.negative.firsts - 1, pa.int32(), exponential),
            "negative_counts": self.negative.list_array(exponential),
            "explicit_bounds": pa.ListArray.from_arrays(
                self.bounds.offsets, self.bounds.values, mask=pa.array(~(told & custom))
            ),
            "bucket_counts": self.positive.list_array(told & custom),
        }


def natives_of(walked: Walked, messages: Ints, stale_bits: int) -> Natives:
    """Read the native histograms of a walk.

    Args:
        walked: a walk over messages of remote write.
        messages: of each histogram its message, in ascending order.
        stale_bits: the bits of the sum of those that only say that their series has ended.
    """
    rows = walked.rows("histograms")
    schema = rows.column("schema")
    known = ((schema >= LEAST_SCHEMA) & (schema <= MOST_SCHEMA)) | (schema == CUSTOM)
    faults = np.where(known, UNTOLD, UNKNOWN)
    custom = schema == CUSTOM
    bounds = lists(walked.buffer, walked.rows("custom_values"), len(rows), pa.float64())
    widths = np.where(custom, np.diff(bounds.offsets.to_numpy()) + 1, -1)
    whole = _are_whole(rows, "count", "counts_in") & _are_whole(
        rows, "zero_count", "zero_counts_in"
    )
    _mark(faults, ~whole, FRACTION)
    layouts = [_layout_of(walked.rows(f"{side}_spans"), len(rows)) for side in SIDES]
    for layout in layouts:
        _mark(faults, layout[:, _FAULT] != 0, layout[:, _FAULT])
        _mark(faults, np.abs(layout[:, _FIRST]) > FARTHEST, MISMATCH)
    _mark(faults, custom & (layouts[0][:, _FIRST] < 0), MISMATCH)
    _mark(faults, custom & (layouts[0][:, _FIRST] + layouts[0][:, _SIZE] > widths), MISMATCH)
    layouts[0][custom, _LEAD] = np.maximum(layouts[0][custom, _FIRST], 0)
    layouts[0][custom, _SIZE] = np.minimum(widths[custom], WIDEST + 1)
    size = layouts[0][:, _SIZE] + layouts[1][:, _SIZE]
    _mark(faults, _over_budget(walked, messages, size) | (size > 2 * WIDEST), WIDE)
    sides = [
        _side(walked, side, layout, faults) for side, layout in zip(SIDES, layouts, strict=True)
    ]
    stale = rows.column("sum") == stale_bits
    faults[stale] = UNTOLD
    return Natives(rows, faults, stale, sides[0], sides[1], bounds)


def _mark(faults: Ints, wrong: Truths, reason: int | Ints) -> None:
    """Give a reason to what is wrong and has none."""
    here = wrong & (faults == UNTOLD)
    faults[here] = reason if isinstance(reason, int) else reason[here]


def _are_whole(rows: Rows, cell: str, case: str) -> Truths:
    values = np.ascontiguousarray(rows.column(cell))
    whole: Truths = (rows.column(case) != FRACTIONS) | is_count(values.view(np.float64))
    return whole


def _whole(rows: Rows, cell: str, case: str) -> Ints:
    """A count, whichever way it was told; fractions were refused."""
    values = np.ascontiguousarray(rows.column(cell))
    told = values.view(np.float64)
    fractions = (rows.column(case) == FRACTIONS) & is_count(told)
    return np.where(fractions, np.where(fractions, told, 0.0).astype(np.int64), values)


def _over_budget(walked: Walked, messages: Ints, sizes: Ints) -> Truths:
    """Which histograms have more buckets, with those before them, than their message may."""
    total = np.cumsum(sizes)
    before = np.searchsorted(messages, messages, side="left")
    told = np.concatenate(([0], total))[before]
    length = walked.bounds[:, 1] - walked.bounds[:, 0]
    over: Truths = total - told > FREE_BUCKETS + BUCKETS_PER_BYTE * length[messages]
    return over


_FIRST, _SIZE, _ELEMENTS, _LEAD, _SEEN, _FAULT = range(6)


def _layout_of(spans: Rows, count: int) -> Ints:
    """Of each histogram where its buckets of one side lie; see the names of the columns."""
    layout = np.zeros((count, 6), np.int64)
    _lay_out(spans.cells, spans.cell("offset"), spans.cell("length"), layout)
    return layout


@kernel
def _lay_out(spans: Ints, offset: int, length: int, layout: Ints) -> None:
    for span in range(len(spans)):
        row = layout[spans[span, 0]]
        gap = spans[span, offset]
        if not row[_SEEN]:
            row[_SEEN] = 1
            row[_FIRST] = gap
            gap = 0
        if gap < 0:
            row[_FAULT] = MISMATCH
        elif row[_SIZE] + gap + spans[span, length] > WIDEST:
            row[_FAULT] = WIDE
        if not row[_FAULT]:
            row[_SIZE] += gap + spans[span, length]
            row[_ELEMENTS] += spans[span, length]


def _side(walked: Walked, side: str, layout: Ints, faults: Ints) -> _Side:
    """Fill the buckets of one side; marks histograms whose counts do not match their spans."""
    rows, count = walked.rows("histograms"), len(layout)
    deltas = varint_lists(walked.buffer, walked.rows(f"{side}_deltas"), count, pa.uint64())
    told = lists(walked.buffer, walked.rows(f"{side}_counts"), count, pa.float64())
    fractions = rows.column("counts_in") == FRACTIONS
    values = told.values.to_numpy(zero_copy_only=False)
    whole = np.where(is_count(values), values, -1.0).astype(np.int64)
    begins = np.where(fractions, told.offsets.to_numpy()[:-1], deltas.offsets.to_numpy()[:-1])
    ends = np.where(fractions, told.offsets.to_numpy()[1:], deltas.offsets.to_numpy()[1:])
    _mark(faults, ends - begins != layout[:, _ELEMENTS], MISMATCH)
    sizes = np.where(faults == UNTOLD, layout[:, _SIZE], 0)
    offsets = np.concatenate(([0], np.cumsum(sizes)))
    counts = np.zeros(int(offsets[-1]), np.int64)
    zigzag = deltas.values.to_numpy(zero_copy_only=False).view(np.int64)
    spans = walked.rows(f"{side}_spans")
    cursors = np.stack((offsets[:-1] + layout[:, _LEAD], begins, np.zeros(count, np.int64)), axis=1)
    named = np.array((spans.cell("offset"), spans.cell("length")))
    told_as = np.stack((fractions, faults != UNTOLD), axis=1)
    _fill(spans.cells, named, cursors.astype(np.int64), told_as, whole, zigzag, counts)
    negative = np.zeros(count, np.bool_)
    negative[np.searchsorted(offsets, np.flatnonzero(counts < 0), side="right") - 1] = True
    _mark(faults, negative, np.where(fractions, FRACTION, MISMATCH))
    return _Side(layout[:, _FIRST], offsets.astype(np.int64), np.maximum(counts, 0))


@kernel
def _fill(
    spans: Ints,
    named: Ints,
    cursors: Ints,
    told_as: Truths,
    whole: Ints,
    zigzag: Ints,
    counts: Ints,
) -> None:
    """Write counts where the spans are.

    ``cursors`` has of each histogram the next bucket, the next number, and the count before; a
    bucket of -1 is that of a histogram that has none yet.
    """
    seen = -1
    for span in range(len(spans)):
        owner = spans[span, 0]
        if told_as[owner, 1]:
            continue
        row = cursors[owner]
        if owner == seen:
            row[0] += spans[span, named[0]]
        seen = owner
        for _ in range(spans[span, named[1]]):
            if told_as[owner, 0]:
                row[2] = whole[row[1]]
            else:
                delta = zigzag[row[1]]
                row[2] += ((delta >> 1) & ((1 << 63) - 1)) ^ -(delta & 1)
            counts[row[0]] = row[2]
            row[0] += 1
            row[1] += 1
