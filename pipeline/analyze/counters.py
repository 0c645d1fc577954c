"""What counters rose by, and when: readings to increases.

A counter's reading says how often something happened since the counter began, not when. An increase
is the difference of two readings of a series that follow each other in time, and belongs to the
minute in the middle between them. The rules:

1. A reading is everything that one sender told at one time. Series and their points are put in the
   order of time, whatever order they came in; of two points of one time the larger counts.
2. A counter that fell, or whose start is later than its last reading, began anew: it rose by all it
   shows. This is Prometheus' rule for resets.
3. A series that was not in the sender's last reading, and was read before not at all or not within
   ``MAX_GAP_NS``, began at zero after that reading: proxies make a series when they first need it,
   and Linkerd forgets idle ones. The same holds after a stale marker in a reading that has other
   series. Where the whole sender was not reached, markers say nothing of its counters.
4. The first point of a sender's first reading counts nothing, unless its start tells that the
   counter began within ``MAX_GAP_NS``. What happened in a longer gap happened at an unknown time.
5. Points of delta temporality, and statistics of an interval, are increases themselves.

Two points ``MAX_GAP_NS`` apart can belong together, so that a point matters to the minutes that
``touched`` names, and a minute needs the points that ``needed`` names.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.analyze import exponential
from pipeline.analyze.arrays import values

MINUTE_NS: Final = 60_000_000_000
MILLION: Final = 1_000_000

MAX_GAP_NS: Final = 5 * MINUTE_NS
"""Readings further apart do not belong together: Prometheus' lookback."""

LARGEST: Final = 1e9
"""No series rises by more between two readings; what claims to is cut to this."""

UP: Final = "up"
"""What says that a target was read, when it is 1, though it may have had nothing to count."""

DELTA: Final = 1
NO_VALUE: Final = 1
"""Bit of a point's flags: a stale marker."""

I64 = npt.NDArray[np.int64]

_LISTS: Final = ("time", "start_time", "flags", "value", "count", "sum", "min", "max",
                 "bucket_counts", *exponential.LISTS)  # fmt: skip


class Increases(NamedTuple):
    """What series rose by.

    Attributes:
        totals: one row per increase: ``series`` (u32), ``minute`` (Unix nanoseconds of its start),
            ``count`` (millionths), ``sum`` (in the unit of the metric, of a counter what it rose
            by; null where there is none), ``min`` and ``max`` (of the interval; null where not
            told).
        buckets: one row per bucket that rose: ``series``, ``minute``, ``lower`` and ``upper``
            (bounds in the unit of the metric, null for none), ``count`` (millionths).
        exponential: one row per bucket of an exponential histogram that rose: ``series``,
            ``minute``, ``scale``, ``index`` (i64), ``count`` (millionths). Its bucket of zeros
            stands in ``buckets``.
    """

    totals: pl.DataFrame
    buckets: pl.DataFrame
    exponential: pl.DataFrame


def touched(minutes: pl.Series) -> pl.Series:
    """The minutes whose increases may depend on points of ``minutes``, ascending."""
    first, last = -(MAX_GAP_NS // 2) // MINUTE_NS, MAX_GAP_NS // MINUTE_NS
    near = [minutes + step * MINUTE_NS for step in range(first, last + 1)]
    return pl.concat(near).unique().sort()


def needed(first: int, last: int) -> tuple[int, int]:
    """From when until when points matter to the minutes ``first`` to ``last``, Unix nanoseconds."""
    return first - MAX_GAP_NS, last + MINUTE_NS + MAX_GAP_NS // 2 + 1


def increases(series: pl.DataFrame) -> Increases:
    """What each series rose by, in every interval of its points.

    Args:
        series: answer to ``metric_series``, each row with its number ``series`` (u32).
    """
    points = _points(series)
    told = _with_readings(points).sort("series", "time")
    told = told.with_columns(
        pl.col(name).shift(1).over("series").alias(f"{name}_before")
        for name in ("time", "total", "stale", "buckets")
    ).with_columns(_follows().alias("follows"))
    histograms = exponential.compared(told, told["follows"].to_numpy())
    fallen = pl.Series("fallen", _fallen(told) | histograms.fallen)
    told = (
        told.with_columns((pl.col("follows") & (fallen | _began_since())).alias("anew"))
        .with_columns((pl.col("follows") & ~pl.col("anew")).alias("goes_on"))
        .with_columns(_since().alias("since"))
        .with_columns(
            (~pl.col("stale") & pl.col("since").is_not_null()).alias("counts"),
            _minute().alias("minute"),
        )
    )
    narrow, zeros = _exponential(told, histograms)
    return Increases(_totals(told), pl.concat([_buckets(told, series), zeros]), narrow)


def _points(series: pl.DataFrame) -> pl.DataFrame:
    """One row per point, each time of a series once."""
    points = series.select("series", "resource_id", "name", "temporality", "type", *_LISTS).explode(
        _LISTS, empty_as_null=False
    )
    total = pl.coalesce("value", "count")
    return (
        points.with_columns(
            ((pl.col("flags").fill_null(0) & NO_VALUE) > 0).alias("stale"),
            pl.when(total.is_finite() & (total >= 0)).then(total).alias("total"),
            pl.col("bucket_counts").list.len().fill_null(0).alias("buckets"),
            pl.when(pl.col("sum").is_finite()).then("sum").alias("sum"),
            ((pl.col("temporality") == DELTA) | (pl.col("type") == "summary"))
            .fill_null(value=False)
            .alias("delta"),
        )
        .filter(pl.col("stale") | pl.col("total").is_not_null())
        .sort(
            "series", "time", "stale", "total", "sum", "start_time",
            descending=[False, False, False, True, True, False], nulls_last=True,
        )
        .unique(["series", "time"], keep="first", maintain_order=True)
    )  # fmt: skip


def _with_readings(points: pl.DataFrame) -> pl.DataFrame:
    """Points of traffic, and when their sender was read before; markers only of its readings."""
    read = ~pl.col("stale") & ((pl.col("name") != UP) | (pl.col("total") == 1))
    # a target is one sender, whatever scopes its series have: `up` has none of them
    readings = points.filter(read).select("resource_id", read="time").unique().sort("read")
    told = points.filter(pl.col("name") != UP)
    times = told.select("resource_id", "time").unique().sort("time")
    before = times.join_asof(
        readings, left_on="time", right_on="read", by="resource_id", strategy="backward",
        allow_exact_matches=False, check_sortedness=False,
    ).rename({"read": "read_before"})  # fmt: skip
    marks = told.filter("stale").join(
        readings, left_on=["resource_id", "time"], right_on=["resource_id", "read"], how="semi"
    )
    kept = pl.concat([told.filter(~pl.col("stale")), marks])
    return kept.join(before, on=["resource_id", "time"], how="left")


def _near(earlier: pl.Expr) -> pl.Expr:
    return (pl.col("time") - earlier <= MAX_GAP_NS).fill_null(value=False)


def _follows() -> pl.Expr:
    """Whether the point before belongs to this one."""
    connected = _near(pl.col("time_before")) & ~pl.col("stale_before").fill_null(value=True)
    return connected & ~pl.col("stale") & ~pl.col("delta")


def _began_since() -> pl.Expr:
    return (pl.col("start_time") > pl.col("time_before")).fill_null(value=False)


def _since() -> pl.Expr:
    """When what is counted began to be counted; null where that is not known."""
    start, time = pl.col("start_time"), pl.col("time")
    known_start = pl.when(_near(start)).then(start)
    read_before = pl.when(_near(pl.col("read_before"))).then("read_before")
    return (
        pl.when("delta")
        .then(pl.max_horizontal(start.fill_null(time), time - MAX_GAP_NS))
        .when("goes_on")
        .then("time_before")
        .when("anew")
        .then(pl.max_horizontal("time_before", known_start))
        .otherwise(
            pl.when(read_before.is_not_null() | known_start.is_not_null()).then(
                pl.max_horizontal(read_before, known_start)
            )
        )
        .clip(upper_bound=time)
    )


def _minute() -> pl.Expr:
    middle = pl.col("since") + (pl.col("time") - pl.col("since")) // 2
    return middle // MINUTE_NS * MINUTE_NS


def _fallen(told: pl.DataFrame) -> npt.NDArray[np.bool_]:
    """Whether a point shows less than the one before it, in all or in any bucket."""
    follows = told["follows"].to_numpy()
    less_in_all = pl.col("total") < pl.col("total_before")
    other_buckets = pl.col("buckets") != pl.col("buckets_before")
    known = told.select((less_in_all | other_buckets).fill_null(value=False))
    fallen = known.to_series().to_numpy()
    shown, row, before = _bucket_pairs(told, follows & ~fallen)
    less = np.zeros(told.height, np.bool_)
    less[row[shown < before]] = True
    either: npt.NDArray[np.bool_] = (fallen | less) & follows
    return either


def _bucket_pairs(told: pl.DataFrame, goes_on: npt.NDArray[np.bool_]) -> tuple[I64, I64, I64]:
    """Every bucket of every point: its count, the point's row, and its count at the point before.

    The latter is 0 for points that do not go on from the one before.
    """
    lists = told["bucket_counts"]
    lengths = lists.list.len().fill_null(0).to_numpy().astype(np.int64)
    flat = values(lists.explode(empty_as_null=False, keep_nulls=False)).astype(np.int64)
    first = np.cumsum(lengths) - lengths
    row = np.repeat(np.arange(len(lengths), dtype=np.int64), lengths)
    place = np.arange(len(flat), dtype=np.int64) - first[row]
    earlier = np.clip(first[row - 1] + place, 0, max(len(flat) - 1, 0)) if len(flat) else place
    before = np.where(goes_on[row], flat[earlier], 0) if len(flat) else flat
    return flat, row, before


def _totals(told: pl.DataFrame) -> pl.DataFrame:
    before = {
        name: pl.when("goes_on").then(pl.col(name).shift(1)).otherwise(0.0).fill_null(0.0)
        for name in ("total", "sum")
    }
    return (
        told.with_columns(
            ((pl.col("total") - before["total"]).clip(0, LARGEST) * MILLION)
            .round()
            .cast(pl.Int64)
            .alias("rose"),
            pl.when(pl.col("value").is_null())
            .then(pl.col("sum") - before["sum"])
            .otherwise(pl.col("total") - before["total"])
            .alias("sum_rose"),
        )
        .filter("counts")
        .filter((pl.col("rose") > 0) | (pl.col("sum_rose") > 0).fill_null(value=False))
        .select("series", "minute", "min", "max", count="rose", sum="sum_rose")
    )


def _buckets(told: pl.DataFrame, series: pl.DataFrame) -> pl.DataFrame:
    shown, row, before = _bucket_pairs(told, told["goes_on"].to_numpy())
    rose = _millionths(shown - before)
    counts = told["counts"].to_numpy()
    kept = (rose > 0) & counts[row] if len(row) else np.zeros(0, np.bool_)
    place = np.arange(len(row)) - np.searchsorted(row, row, side="left")
    risen: pl.DataFrame = told.select("series", "minute")[row[kept]].with_columns(
        pl.Series("place", place[kept], pl.Int64), pl.Series("count", rose[kept], pl.Int64)
    )
    bounds = series.select("series", bounds="explicit_bounds")
    upper = pl.col("bounds").list.get(pl.col("place"), null_on_oob=True)
    lower = pl.col("bounds").list.get(pl.col("place") - 1, null_on_oob=True)
    return risen.join(bounds, on="series", how="left").select(
        "series",
        "minute",
        pl.when(pl.col("place") > 0).then(lower).alias("lower"),
        upper.alias("upper"),
        "count",
    )


def _exponential(
    told: pl.DataFrame, histograms: exponential.Buckets
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What buckets of exponential histograms rose by, and those of them that hold zeros."""
    goes_on, counts = told["goes_on"].to_numpy(), told["counts"].to_numpy()
    rose, row = _millionths(histograms.rose(goes_on)), histograms.row
    kept = (rose > 0) & counts[row]
    when = told.select("series", "minute")
    narrow: pl.DataFrame = when[row[kept]].with_columns(
        pl.Series("scale", histograms.scale[row[kept]], pl.Int64),
        pl.Series("index", histograms.place[kept], pl.Int64),
        pl.Series("count", rose[kept], pl.Int64),
    )
    rose = _millionths(histograms.zeros_rose(goes_on))
    kept = (rose > 0) & counts
    zeros: pl.DataFrame = when.filter(pl.Series(kept)).select(
        "series",
        "minute",
        pl.lit(None, pl.Float64).alias("lower"),
        pl.Series("upper", histograms.threshold[kept], pl.Float64),
        pl.Series("count", rose[kept], pl.Int64),
    )
    return narrow, zeros


def _millionths(rose: I64) -> I64:
    return np.clip(rose, 0, int(LARGEST)) * MILLION
