"""Samples of Prometheus as rows of ``metric_points``.

One row for each sample that stands for itself, and one for each histogram and summary, whose parts
are samples of their own: buckets, quantiles, sum, count, and when it was created. Parts that do not
make a whole stay rows of their own, as they came, so that nothing is lost.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from pipeline.decode.kernels.columns import times
from pipeline.decode.kernels.json_text import objects
from pipeline.decode.kernels.kernel import Ints
from pipeline.decode.kernels.text_numbers import Doubles
from pipeline.decode.prometheus.exemplar_texts import exemplar_texts
from pipeline.decode.prometheus.families import (
    BUCKET,
    COUNT,
    CREATED,
    GAUGE,
    HISTOGRAM,
    SUM,
    SUMMARY,
    TOTAL_SUM,
    VALUE,
)
from pipeline.decode.prometheus.groups import Groups, groups_of
from pipeline.decode.prometheus.members import Members, members_of
from pipeline.decode.prometheus.samples import Samples, Truths
from pipeline.decode.prometheus.units import ucum
from pipeline.decode.wire.declaration import PARENT
from pipeline.decode.wire.walk import Rows
from pipeline.model.tables import METRIC_POINTS

CUMULATIVE: Final = 2
NO_RECORDED_VALUE: Final = 1
"""The bit of ``flags`` by which OpenTelemetry says that a series has ended."""

_TYPES: Final = (GAUGE, SUM, HISTOGRAM, SUMMARY)
_GAUGE, _SUM, _HISTOGRAM, _SUMMARY = range(len(_TYPES))


@dataclass(frozen=True, slots=True)
class Points:
    """Rows of ``metric_points`` that lack their resource, and of each the owner that has it."""

    table: pa.Table
    owners: Ints


def points_of(samples: Samples, *, scattered: bool = False) -> Points:
    """Make rows.

    Args:
        samples: what to make them of.
        scattered: whether parts of one histogram may come in several messages; then one counts as
            whole that has its bucket ``+Inf``, its sum and its count, and a summary that has its
            sum and its count.
    """
    members = members_of(samples)
    groups = groups_of(samples, members, scattered=scattered)
    rows = _rows_of(samples, members, groups)
    columns = {
        **_of_samples(samples, groups, rows),
        **_of_metrics(members, rows),
        **_of_groups(groups, rows, samples.stale[rows.samples]),
        "attributes": _attributes(samples, members, rows),
        "exemplars": exemplar_texts(samples.buffer, samples.exemplars, rows.of, len(rows)),
    }
    return Points(points_table(columns, len(rows)), samples.owners[rows.samples])


def points_table(columns: dict[str, pa.Array], count: int) -> pa.Table:
    """Rows of these columns; all others are null."""
    arrays = [
        columns[name] if name in columns else pa.nulls(count, kind)
        for name, kind in zip(METRIC_POINTS.names, METRIC_POINTS.arrow.types, strict=True)
    ]
    return pa.table(arrays, METRIC_POINTS.arrow)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Which rows there are.

    Attributes:
        samples: of each row its first sample, in ascending order.
        groups: of each row the group that it is; -1 where it is one sample alone.
        of: of each sample the row that it is in; -1 where it only tells when another was created.
        kinds: of each row its type.
    """

    samples: Ints
    groups: Ints
    of: Ints
    kinds: Ints

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def whole(self) -> Truths:
        """Which rows are groups."""
        whole: Truths = self.groups >= 0
        return whole

    def of_groups(self, count: int) -> Ints:
        """Of each group its row; -1 where it has none."""
        rows = np.full(count, -1, np.int64)
        rows[self.groups[self.whole]] = np.flatnonzero(self.whole)
        return rows


def _rows_of(samples: Samples, members: Members, groups: Groups) -> _Rows:
    """A row for each whole group, and one for each sample that is in none."""
    grouped = groups.of >= 0
    group = np.where(grouped, groups.of, 0)
    whole = np.zeros(len(samples), np.bool_)
    whole[grouped] = groups.whole[groups.of[grouped]]
    own = ~whole & ~_tells_a_start(members, groups)
    own[groups.first[groups.whole]] = True
    rows = np.flatnonzero(own)
    of = np.full(len(samples), -1, np.int64)
    of[rows] = np.arange(len(rows))
    of[whole] = of[groups.first[group[whole]]]
    of_row = np.where(whole[rows], group[rows], -1)
    return _Rows(rows, of_row, of, _kinds(members, rows, whole[rows]))


def _tells_a_start(members: Members, groups: Groups) -> Truths:
    """Which samples only tell when another one was created."""
    values = np.zeros(len(groups), np.bool_)
    here = (groups.of >= 0) & (members.part == VALUE)
    values[groups.of[here]] = True
    tells: Truths = (groups.of >= 0) & (members.part == CREATED)
    tells[tells] = values[groups.of[tells]]
    return tells


def _kinds(members: Members, rows: Ints, whole: Truths) -> Ints:
    known = np.array([_TYPES.index(family.type) for family in members.families], np.int64)
    kinds, part = known[members.family[rows]], members.part[rows]
    alone = np.isin(part, (BUCKET, COUNT, TOTAL_SUM)) | ((part == VALUE) & (kinds == _SUM))
    return np.where(whole, kinds, np.where(alone, _SUM, _GAUGE))


def _of_samples(samples: Samples, groups: Groups, rows: _Rows) -> dict[str, pa.Array]:
    first = rows.samples
    group = groups.of[first]
    starts = samples.starts[first]
    if len(groups):
        starts = np.where((group >= 0) & (starts == 0), groups.starts[group], starts)
    stale = samples.stale[first]
    return {
        "time": times(samples.times[first]),
        "start_time": times(starts, starts > 0),
        "value": pa.array(samples.values[first], pa.float64(), mask=rows.whole | stale),
        "flags": pa.array(np.where(stale, NO_RECORDED_VALUE, 0), pa.uint32()),
    }


def _of_metrics(members: Members, rows: _Rows) -> dict[str, pa.Array]:
    family, part = members.family[rows.samples], members.part[rows.samples]
    shown = [one.shown for one in members.families]
    names = pa.concat_arrays([members.names, pa.array(shown, pa.string())])
    name = np.where(rows.whole, len(members.names) + family, members.name[rows.samples])
    units = pa.array([ucum(one.unit) for one in members.families], pa.string())
    cumulative = np.array([one.cumulative for one in members.families], np.bool_)[family]
    temporality = np.where(cumulative, CUMULATIVE, 0)
    tells = (rows.kinds == _SUM) | (rows.kinds == _HISTOGRAM)
    monotonic = (part != TOTAL_SUM) & cumulative
    return {
        "name": names.take(pa.array(name)),
        "unit": units.take(pa.array(family)),
        "type": pa.array(_TYPES, pa.string()).take(pa.array(rows.kinds)),
        "temporality": pa.array(temporality.astype(np.uint8), mask=~tells),
        "is_monotonic": pa.array(monotonic, mask=rows.kinds != _SUM),
    }


def _of_groups(groups: Groups, rows: _Rows, stale: Truths) -> dict[str, pa.Array]:
    counts, sums = (np.full(len(rows), np.nan) for _ in range(2))
    counts[rows.whole] = groups.counts[rows.groups[rows.whole]]
    sums[rows.whole] = groups.sums[rows.groups[rows.whole]]
    of_groups = rows.of_groups(len(groups))
    histograms = _only(of_groups, ~stale & (rows.kinds == _HISTOGRAM))
    summaries = _only(of_groups, ~stale & (rows.kinds == _SUMMARY))
    bounded = groups.buckets.some(~np.isposinf(groups.buckets.bounds))
    quantiles = groups.quantiles
    return {
        "count": _counts(counts),
        "sum": pa.array(sums, pa.float64(), mask=np.isnan(sums)),
        "explicit_bounds": bounded.lists(bounded.bounds, histograms, len(rows)),
        "bucket_counts": groups.buckets.lists(groups.buckets.values, histograms, len(rows)).cast(
            pa.list_(pa.uint64())
        ),
        "quantiles": quantiles.lists(quantiles.bounds, summaries, len(rows)),
        "quantile_values": quantiles.lists(quantiles.values, summaries, len(rows)),
    }


def _only(of_groups: Ints, here: Truths) -> Ints:
    """Of each group its row, where that is one of these."""
    kept = np.zeros(len(of_groups), np.bool_)
    kept[of_groups >= 0] = here[of_groups[of_groups >= 0]]
    return np.where(kept, of_groups, -1)


def _counts(counts: Doubles) -> pa.Array:
    nothing = np.isnan(counts)
    return pa.array(np.where(nothing, 0.0, counts).astype(np.uint64), mask=nothing)


def _attributes(samples: Samples, members: Members, rows: _Rows) -> pa.Array:
    """The labels of each row's first sample; of a whole without ``le`` and ``quantile``."""
    labels = samples.labels
    row = np.full(len(samples), -1, np.int64)
    row[rows.samples] = np.arange(len(rows))
    owner = row[labels.parents]
    kept = owner >= 0
    bound = members.bounds.rows[rows.samples[rows.whole]]
    kept[bound[bound >= 0]] = False
    cells = np.ascontiguousarray(labels.cells[kept])
    cells[:, PARENT] = owner[kept]
    return objects(samples.buffer, Rows(cells, labels.names), len(rows))
