"""What a decoder of metrics answered, in a form that tests can read and compare."""

import math
from typing import Any

import orjson
import polars as pl

from pipeline.model.decoded import Decoded
from pipeline.model.tables import METRIC_POINTS, RESOURCES

Row = dict[str, Any]

BUSY = {"histogram": "bucket_counts", "exponential_histogram": "count", "summary": "count"}


def rows_of(decoded: Decoded) -> list[Row]:
    """The rows, what is null left out, with the attributes of their resources.

    Numbers that are none are words.
    """
    if METRIC_POINTS.name not in decoded.batches:
        return []
    points = pl.DataFrame(decoded.batches[METRIC_POINTS.name])
    resources = {
        row["resource_id"]: orjson.loads(row["attributes"])
        for row in pl.DataFrame(decoded.batches[RESOURCES.name]).iter_rows(named=True)
    }
    times = points.with_columns(pl.col("time", "start_time").cast(pl.Int64))
    return [_told(row, resources) for row in times.iter_rows(named=True)]


def _told(row: Row, resources: dict[str, Row]) -> Row:
    told = {name: _comparable(value) for name, value in row.items() if value is not None}
    for name in ("attributes", "exemplars"):
        if name in told:
            told[name] = orjson.loads(told[name])
    told["resource"] = resources[told.pop("resource_id")]
    return told


def _comparable(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def samples_in(rows: list[Row]) -> int:
    """How many samples of Prometheus' rows were made of; a text tells the overflow as a bucket."""
    return sum(
        len(row.get("bucket_counts", ()))
        + len(row.get("quantiles", ()))
        + (row["type"] in BUSY) * (1 + ("sum" in row))
        + (row["type"] not in BUSY)
        + ("start_time" in row)
        for row in rows
    )
