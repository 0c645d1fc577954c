"""Points of metrics written down by hand, and the series the store would make of them."""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
import polars as pl

from pipeline.analyze import exponential
from pipeline.analyze.metric_minutes import PATHS
from pipeline.model.tables import METRIC_POINTS

SECOND = 1_000_000_000
MINUTE = 60 * SECOND

Row = dict[str, Any]


def point(name: str, at: float, value: float | None, labels: Mapping[str, Any], **rest: Any) -> Row:
    """One point of a counter at a second; ``value`` None is a stale marker."""
    return {
        "name": name,
        "time": int(at * SECOND),
        "type": "sum",
        "temporality": 2,
        "is_monotonic": True,
        "resource_id": "target",
        "value": value,
        "flags": 0 if value is not None else 1,
        "attributes": orjson.dumps(labels).decode(),
        **rest,
    }


def histogram(
    name: str, at: float, bounds: list[float], counts: list[int], labels: Mapping[str, Any],
    **rest: Any,
) -> Row:  # fmt: skip
    """One point of a histogram at a second; a count per bucket, the last without a bound."""
    told = {"type": "histogram", "explicit_bounds": bounds, "bucket_counts": counts,
            "count": sum(counts), "sum": 0.0}  # fmt: skip
    return point(name, at, None, labels, flags=0, **(told | rest))


def native(
    name: str, at: float, scale: int, offset: int, counts: list[int], labels: Mapping[str, Any],
    **rest: Any,
) -> Row:  # fmt: skip
    """One point of an exponential histogram at a second; ``counts`` of its buckets from ``offset``.

    ``zeros`` is what its bucket of zeros holds, ``threshold`` where that ends.
    """
    zeros, threshold = rest.pop("zeros", 0), rest.pop("threshold", 0.0)
    told = {"type": "exponential_histogram", "scale": scale, "positive_offset": offset,
            "positive_counts": counts, "zero_count": zeros, "zero_threshold": threshold,
            "count": zeros + sum(counts), "sum": 0.0}  # fmt: skip
    return point(name, at, None, labels, flags=0, **(told | rest))


def table(rows: Iterable[Row]) -> pl.DataFrame:
    """Rows of ``metric_points``."""
    schema = pl.DataFrame(pl.from_arrow(METRIC_POINTS.arrow.empty_table())).schema
    times = {"time": pl.Int64(), "start_time": pl.Int64()}
    frame = pl.DataFrame(list(rows), schema=dict(schema) | times)
    return frame.with_columns(pl.col("time", "start_time").cast(pl.Datetime("ns")))


def series(rows: Iterable[Row]) -> pl.DataFrame:
    """What the question ``metric_series`` answers of such rows."""
    keys = ["resource_id", "scope_id", "name", "unit", "type", "temporality", "attributes",
            "explicit_bounds"]  # fmt: skip
    lists = ["time", "start_time", "flags", "value", "count", "sum", "min", "max", "bucket_counts",
             *exponential.LISTS]  # fmt: skip
    frame = table(rows).with_columns(
        pl.col("time", "start_time").dt.epoch("ns"),
        pl.coalesce(pl.col("value_int").cast(pl.Float64), "value").alias("value"),
        pl.col("count").cast(pl.Float64),
        pl.col("zero_count").cast(pl.Int64),
        pl.col("bucket_counts", "positive_counts").cast(pl.List(pl.Int64)),
    )
    grouped = frame.group_by(keys, maintain_order=True).agg(lists)
    labels = [[_label(text, path) for path in PATHS] for text in grouped["attributes"]]
    return grouped.drop("attributes").with_columns(pl.Series("labels", labels, pl.List(pl.String)))


def _label(text: str, path: str) -> str | None:
    found: Any = orjson.loads(text)
    for name in path.removeprefix('$."').removesuffix('"').split('"."'):
        found = found.get(name) if isinstance(found, dict) else None
    return found if found is None or isinstance(found, str) else orjson.dumps(found).decode()
