"""Which metric each sample is part of, and which samples of a metric belong together."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.decode.kernels.columns import texts
from pipeline.decode.kernels.hashing import distinct, hashes_of
from pipeline.decode.kernels.kernel import Buffer, Ints, Words
from pipeline.decode.kernels.text_numbers import Doubles, numbers_of
from pipeline.decode.prometheus.families import (
    BUCKET,
    QUANTILE,
    SUMMARY,
    VALUE,
    Family,
    Name,
    families_of,
)
from pipeline.decode.prometheus.samples import Samples, Truths

LE: Final = "le"
QUANTILE_LABEL: Final = "quantile"

_FACTOR: Final = np.uint64(0x9E3779B97F4A7C15)
_OTHER_FACTOR: Final = np.uint64(0xD6E8FEB86659FD93)
_FOLD: Final = np.uint64(29)


class Bounds(NamedTuple):
    """Of each sample the number in one of its labels.

    Attributes:
        values: the numbers; NaN where the sample has no such label, or no number in it.
        rows: the row of that label; -1 where it has none.
    """

    values: Doubles
    rows: Ints


@dataclass(frozen=True, slots=True)
class Members:
    """Samples with the metrics that they are part of.

    Attributes:
        names: the texts of all names.
        name: of each sample the number of its name.
        families: the family of each name of each owner.
        family: of each sample the number of its family.
        metric: of each sample a number that the samples of one metric of one owner share.
        part: of each sample what it is to its metric.
        bounds: the numbers in ``le`` of buckets and in ``quantile`` of quantiles.
        keys: of each row of labels the number of its key.
    """

    names: pa.Array
    name: Ints
    families: Sequence[Family]
    family: Ints
    metric: Ints
    part: Ints
    bounds: Bounds
    keys: Ints


def members_of(samples: Samples) -> Members:
    """Find the metric of each sample."""
    places, name = distinct(samples.buffer, samples.names)
    names = texts(samples.buffer, samples.names[places], empty_is_null=False)
    key_places, keys = distinct(samples.buffer, samples.labels.column("key"))
    spelled = texts(
        samples.buffer, samples.labels.column("key")[key_places], empty_is_null=False
    ).to_pylist()
    le, quantile = (_bounds(samples, keys, spelled, key) for key in (LE, QUANTILE_LABEL))
    pairs, family = np.unique(samples.owners * max(len(places), 1) + name, return_inverse=True)
    families, metrics = _families(
        samples,
        [divmod(pair, max(len(places), 1)) for pair in pairs.tolist()],
        names.to_pylist(),
        [np.bincount(family, ~np.isnan(one.values), len(pairs)) > 0 for one in (le, quantile)],
    )
    part = np.array([one.part for one in families], np.int64)[family]
    summary = np.array([one.type == SUMMARY for one in families], np.bool_)[family]
    bounds = Bounds(
        np.where(summary, quantile.values, le.values), np.where(summary, quantile.rows, le.rows)
    )
    part[((part == BUCKET) | (part == QUANTILE)) & np.isnan(bounds.values)] = VALUE
    metric = np.array(metrics, np.int64)[family]
    return Members(names, name, families, family, metric, part, bounds, keys)


def _bounds(samples: Samples, keys: Ints, spelled: Sequence[str], key: str) -> Bounds:
    values, rows = np.full(len(samples), np.nan), np.full(len(samples), -1, np.int64)
    if key in spelled:
        here = np.flatnonzero(keys == spelled.index(key))
        numbers = numbers_of(samples.buffer, samples.labels.column("value")[here])
        owners = samples.labels.parents[here]
        values[owners], rows[owners] = numbers.values, here
    return Bounds(values, rows)


def _families(
    samples: Samples,
    pairs: Sequence[tuple[int, int]],
    names: Sequence[str],
    bounded: Sequence[Truths],
) -> tuple[list[Family], list[int]]:
    """The family of each name of each owner, and the number of its metric."""
    le, quantile = (one.tolist() for one in bounded)
    told = [
        (owner, Name(names[name], le[index], quantile[index]))
        for index, (owner, name) in enumerate(pairs)
    ]
    families: list[Family] = []
    numbers: dict[tuple[int, str, str], int] = {}
    metrics: list[int] = []
    for owner, group in groupby(told, key=lambda one: one[0]):
        found = families_of([name for _, name in group], samples.declared[owner])
        for family in found:
            key = (owner, family.name, family.type)
            metrics.append(numbers.setdefault(key, len(numbers)))
        families += found
    return families, metrics


def series_of(samples: Samples, members: Members, which: Ints) -> Ints:
    """A hash that samples share which have the same metric, the same labels and the same time.

    The labels ``le`` of buckets and ``quantile`` of quantiles do not count. Nobody outside knows
    the seed of the hashes of texts, so nobody can make two series meet.

    Args:
        samples: all samples.
        members: the metrics they are part of.
        which: the samples to take, in ascending order.
    """
    chosen = np.zeros(len(samples), np.bool_)
    chosen[which] = True
    labels = samples.labels
    rows = np.flatnonzero(chosen[labels.parents])
    bounded = (members.part == BUCKET) | (members.part == QUANTILE)
    owners = labels.parents[rows]
    rows = rows[~bounded[owners] | (members.bounds.rows[owners] != rows)]
    owners = labels.parents[rows]
    told = labels.column("value")[rows]
    series = hash_of_labels(samples.buffer, members.keys[rows], told, owners, which)
    series = _mixed(series + members.metric[which].astype(np.uint64) * _FACTOR)
    times = samples.times[which].view(np.uint64)
    return _mixed(series + times * _OTHER_FACTOR).view(np.int64)


def hash_of_labels(source: Buffer, keys: Ints, values: Ints, owners: Ints, of: Ints) -> Words:
    """A hash of all labels of each owner, whatever their order.

    Args:
        source: what slices point into.
        keys: of each label the number of its key.
        values: of each label the slice of its value.
        owners: of each label whose it is, in ascending order.
        of: the owners that are asked for.
    """
    mixed = _mixed(hashes_of(source, values).view(np.uint64) + keys.astype(np.uint64) * _FACTOR)
    # a sum does not depend on the order of labels; it wraps, which differences undo
    sums = np.concatenate((np.zeros(1, np.uint64), np.cumsum(mixed, dtype=np.uint64)))
    begins, ends = (np.searchsorted(owners, of, side=side) for side in ("left", "right"))
    hashes: Words = sums[ends] - sums[begins]
    return hashes


def _mixed(words: Words) -> Words:
    words = (words ^ words >> _FOLD) * _OTHER_FACTOR
    return words ^ words >> _FOLD
