"""Samples as Prometheus has them, whatever way they came: names, labels, values, times."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.decode.kernels.kernel import Buffer, Ints
from pipeline.decode.kernels.text_numbers import Doubles
from pipeline.decode.prometheus.families import Declared
from pipeline.decode.wire.walk import Rows

Truths = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Exemplars:
    """Exemplars of samples.

    Attributes:
        labels: cells ``key``, ``value``, ``type``; parents are exemplars.
        samples: of each exemplar its sample, in ascending order.
        values: what was measured.
        times: Unix nanoseconds; 0 where not told.
    """

    labels: Rows
    samples: Ints
    values: Doubles
    times: Ints


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples of several scrapes or targets.

    Attributes:
        buffer: what slices point into.
        owners: of each sample whose it is; samples of two owners never make one row.
        names: slices of the names.
        values: what was sampled.
        times: Unix nanoseconds.
        starts: when what is counted began, Unix nanoseconds; 0 where not told.
        stale: which samples only say that their series has ended.
        labels: cells ``key``, ``value``, ``type``; parents are samples. None has an empty value.
        exemplars: measurements that samples give as examples.
        declared: of each owner what is told of its metrics.
    """

    buffer: Buffer
    owners: Ints
    names: Ints
    values: Doubles
    times: Ints
    starts: Ints
    stale: Truths
    labels: Rows
    exemplars: Exemplars
    declared: tuple[Declared, ...]

    def __len__(self) -> int:
        """How many samples."""
        return len(self.names)


def nanoseconds(values: Doubles, tick: int) -> Ints:
    """Times in units of ``tick`` nanoseconds as nanoseconds, exact to the microsecond.

    A double has no more digits than that. Values must fit, which is the caller's to see to.
    """
    whole = np.floor(values)
    rest = np.rint((values - whole) * (tick // 1000)).astype(np.int64) * 1000
    return whole.astype(np.int64) * tick + rest
