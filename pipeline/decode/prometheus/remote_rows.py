"""Samples, native histograms and exemplars of remote write as rows of ``metric_points``.

A histogram of the old kind comes as its parts, one series each, and nobody promises that all parts
of one are in one message. One is put together where its bucket ``+Inf``, its sum and its count are;
other parts stay rows of their own.

An exemplar comes as a series of its own, too. It goes to the last sample of the same series in its
message, or to the row that this is part of. Where there is none it becomes a row without a value.
"""

from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.decode.kernels.columns import texts, times
from pipeline.decode.kernels.json_text import objects
from pipeline.decode.kernels.kernel import Ints
from pipeline.decode.prometheus.exemplar_texts import exemplar_texts
from pipeline.decode.prometheus.families import GAUGE
from pipeline.decode.prometheus.members import hash_of_labels
from pipeline.decode.prometheus.metric_points import (
    NO_RECORDED_VALUE,
    Points,
    points_of,
    points_table,
)
from pipeline.decode.prometheus.remote_series import (
    EXEMPLARS,
    HISTOGRAMS,
    MILLISECOND,
    SAMPLES,
    STALE_BITS,
    Remote,
    Series,
    repeated,
    series_of,
)
from pipeline.decode.prometheus.samples import Exemplars, Samples
from pipeline.decode.wire.walk import Rows
from pipeline.model.decoded import Decoded
from pipeline.model.tables import METRIC_POINTS, RESOURCES

_FACTOR: Final = 0x9E3779B97F4A7C15 - (1 << 64)


class _Kept(NamedTuple):
    """Records of one table that are good, and of each its series."""

    rows: Rows
    numbers: Ints
    series: Ints

    def column(self, name: str) -> Ints:
        """One cell of each."""
        return np.ascontiguousarray(self.rows.column(name)[self.numbers])


def decoded_of(remote: Remote) -> Decoded:
    """All rows, their resources, and what was refused."""
    series = series_of(remote)
    samples, histograms, exemplars = (
        _kept(series, table) for table in (SAMPLES, HISTOGRAMS, EXEMPLARS)
    )
    places = _places(series, samples.series, histograms.series, exemplars.series)
    of_samples = places < len(samples.numbers)
    alone = places < 0
    points = (
        _of_samples(series, samples, _exemplars(series, exemplars, places, ~alone & of_samples)),
        _of_histograms(
            series,
            histograms,
            _exemplars(series, exemplars, places - len(samples.numbers), ~of_samples),
        ),
        _of_exemplars(series, exemplars, np.flatnonzero(alone)),
    )
    table = pa.concat_tables([one.table for one in points])
    owners = np.concatenate([one.owners for one in points])
    ids = pa.array([row["resource_id"] for row in series.resources], pa.string())
    told = {
        series.resources[owner]["resource_id"]: series.resources[owner]
        for owner in np.unique(owners).tolist()
    }
    place = METRIC_POINTS.names.index("resource_id")
    return Decoded(
        {
            METRIC_POINTS.name: table.set_column(
                place, "resource_id", ids.take(pa.array(owners, pa.int64()))
            ),
            RESOURCES.name: pa.Table.from_pylist(list(told.values()), RESOURCES.arrow),
        },
        series.refused(),
    )


def _kept(series: Series, table: str) -> _Kept:
    rows = series.remote.walked.rows(table)
    numbers = np.flatnonzero(series.faults[table] == 0)
    return _Kept(rows, numbers, rows.parents[numbers])


def _places(series: Series, samples: Ints, histograms: Ints, exemplars: Ints) -> Ints:
    """Of each exemplar the last record of the same series: a sample, else a histogram, else -1.

    Histograms are numbered behind the samples.
    """
    if not len(exemplars):
        return np.empty(0, np.int64)
    remote = series.remote
    labels = hash_of_labels(
        remote.walked.buffer,
        series.keys,
        remote.labels.column("value"),
        np.ascontiguousarray(remote.labels.parents),
        np.arange(len(series.names)),
    ).view(np.int64)
    same = labels + series.messages * _FACTOR
    known = np.concatenate((histograms, samples))
    number = np.concatenate(
        (len(samples) + np.arange(len(histograms)), np.arange(len(samples)))
    ).astype(np.int64)
    if not len(known):
        return np.full(len(exemplars), -1, np.int64)
    order = np.argsort(same[known], kind="stable")
    sorted_ = same[known][order]
    last = np.searchsorted(sorted_, same[exemplars], side="right") - 1
    found = (last >= 0) & (sorted_[last] == same[exemplars])
    return np.where(found, number[order[last]], -1)


def _exemplars(series: Series, kept: _Kept, places: Ints, here: np.ndarray) -> Exemplars:
    """Some exemplars, in the order of the records they are of."""
    some = np.flatnonzero(here)
    some = some[np.argsort(places[some], kind="stable")]
    exemplars = kept.numbers[some]
    return Exemplars(
        repeated(series.remote.exemplar_labels, exemplars),
        places[some],
        np.ascontiguousarray(kept.rows.column("value")[exemplars]).view(np.float64),
        kept.rows.column("timestamp")[exemplars] * MILLISECOND,
    )


def _of_samples(series: Series, kept: _Kept, exemplars: Exemplars) -> Points:
    bits = kept.column("value")
    stale = bits == STALE_BITS
    samples = Samples(
        series.remote.walked.buffer,
        series.owners[kept.series],
        series.names[kept.series],
        np.where(stale, np.nan, bits.view(np.float64)),
        kept.column("timestamp") * MILLISECOND,
        _starts(series, kept),
        stale,
        repeated(series.labels, kept.series),
        exemplars,
        series.remote.declare(series),
    )
    return points_of(samples, scattered=True)


def _starts(series: Series, kept: _Kept) -> Ints:
    """When what is counted began, Unix nanoseconds; 0 where neither record nor series tells."""
    rows = series.remote.walked.rows("series")
    told = kept.column("start")
    if "start" in rows.names:
        told = np.where(told == 0, rows.column("start")[kept.series], told)
    return np.where((told > 0) & (told <= kept.column("timestamp")), told, 0) * MILLISECOND


def _of_series(series: Series, kept: _Kept, exemplars: Exemplars) -> dict[str, pa.Array]:
    """Columns that a record has from its series."""
    walked, count = series.remote.walked, len(kept.numbers)
    rows = np.arange(count)
    names = texts(walked.buffer, series.names[kept.series], empty_is_null=False)
    return {
        "time": times(kept.column("timestamp") * MILLISECOND),
        "name": names,
        "attributes": objects(walked.buffer, repeated(series.labels, kept.series), count),
        "exemplars": exemplar_texts(walked.buffer, exemplars, rows, count),
    }


def _of_histograms(series: Series, kept: _Kept, exemplars: Exemplars) -> Points:
    chosen = pa.array(kept.numbers, pa.int64())
    columns = {name: column.take(chosen) for name, column in series.natives.columns().items()}
    starts = _starts(series, kept)
    stale = series.natives.stale[kept.numbers]
    columns |= _of_series(series, kept, exemplars) | {
        "start_time": times(starts, starts > 0),
        "flags": pa.array(np.where(stale, NO_RECORDED_VALUE, 0), pa.uint32()),
    }
    return Points(points_table(columns, len(kept.numbers)), series.owners[kept.series])


def _of_exemplars(series: Series, kept: _Kept, alone: Ints) -> Points:
    """A row without a value for each exemplar of a series that has nothing else in its message."""
    some = _Kept(kept.rows, kept.numbers[alone], kept.series[alone])
    count = len(alone)
    here = np.ones(count, np.bool_)
    columns = _of_series(series, some, _exemplars(series, some, np.arange(count), here)) | {
        "type": pa.array([GAUGE] * count, pa.string()),
        "flags": pa.array([0] * count, pa.uint32()),
    }
    return Points(points_table(columns, count), series.owners[some.series])
