"""``python -m pipeline``: compile what would be compiled on first use.

Kernels are kept beside the source, or in the user's cache directory where that cannot be written
to; ``NUMBA_CACHE_DIR`` says otherwise.
"""

import sys
import time
from typing import Final

import numpy as np
import polars as pl

from pipeline.analyze import exponential, pair
from pipeline.analyze.arrays import read_only
from pipeline.analyze.histogram import quantiles
from pipeline.decode.__main__ import main as compile_decoders
from pipeline.jobs.homes import NOTHING, Homes, Pairs, trace_keys

_SPAN: Final = {
    "trace_id_high": pl.UInt64,
    "trace_id_low": pl.UInt64,
    "span_id": pl.UInt64,
    "parent_span_id": pl.UInt64,
    "kind": pl.UInt8,
    "service": pl.Int32,
    "is_proxy": pl.UInt8,
    "gateway": pl.UInt8,
    "direction": pl.UInt8,
    "start": pl.Int64,
    "resend": pl.Int32,
    "rank": pl.Int64,
}
"""Columns of ``pair.pair``; one span of zeros takes it through all kernels."""

_POINT: Final = {
    "scale": 0, "zero_count": 0, "zero_threshold": 0.0, "positive_offset": 0,
    "positive_counts": [1],
}  # fmt: skip


def compile_analysis() -> None:
    """Take one span through pairing, homes and quantiles, and one point through its buckets."""
    pair.pair(pl.DataFrame({name: [0] for name in _SPAN}, schema=_SPAN))
    one = read_only(np.ones(1, np.uint64))
    homes = Homes(generation=1)
    for number in (1, 2, 3, 4):
        homes.place(
            read_only(trace_keys(one, read_only(one * np.uint64(number)))),
            number,
            lambda _wanted, _low, _high: NOTHING,
            Pairs(np.zeros(1, np.int64), np.zeros(1, np.int64)),
        )
    histogram = pl.DataFrame(
        {"key": [0], "buckets": [[1]], "counts": [[1]]},
        schema={"key": pl.Int64, "buckets": pl.List(pl.Int16), "counts": pl.List(pl.Int64)},
    )
    quantiles(histogram, ["key"], [0.5])
    exponential.compared(pl.DataFrame([_POINT], schema=exponential.LISTS), np.ones(1, np.bool_))


def main() -> None:
    """Compile decoders and analysis."""
    compile_decoders()
    begin = time.perf_counter()
    compile_analysis()
    sys.stdout.write(f"the analysis is compiled ({time.perf_counter() - begin:.1f} s)\n")


if __name__ == "__main__":
    main()
