"""Rows of ``edge_minutes`` that rules are tried with."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from pipeline.model.tables import EDGE_MINUTES

START = datetime(2026, 11, 23, 10, tzinfo=UTC)
END = START + timedelta(hours=2)
MILLION = 1_000_000

DTYPES = {
    "minute": pl.Datetime("ns"),
    "buckets": pl.List(pl.Int16),
    "counts": pl.List(pl.Int64),
}


def histogram(seconds: Sequence[float]) -> dict[str, list[int]]:
    indexes = [math.ceil(math.log2(value) * 32 - 1e-12) - 1 for value in seconds]
    buckets, counts = np.unique(indexes, return_counts=True)
    return {"buckets": buckets.tolist(), "counts": (counts * MILLION).tolist()}


def minute(number: int, seconds: Sequence[float], **fields: object) -> dict[str, object]:
    requests = len(seconds) * MILLION
    return {
        "slice": number,
        "minute": START.replace(tzinfo=None) + timedelta(minutes=number),
        "client": "shop/frontend",
        "client_kind": "service",
        "server": "shop/cart",
        "server_kind": "service",
        "protocol": "http",
        "reporter": "client_proxy",
        "signal": "spans",
        "system": "istio",
        "rows": len(seconds),
        "requests": requests,
        "attempts": requests,
        "server_errors": 0,
        "connection_errors": 0,
        "client_errors": 0,
        **histogram(seconds),
        **fields,
    }


def frame(rows: Sequence[Mapping[str, object]]) -> pl.DataFrame:
    schema = {
        column.name: DTYPES.get(column.name, pl.Int64 if column.kind == "i64" else pl.String)
        for column in EDGE_MINUTES
    }
    return pl.DataFrame(
        [{name: row.get(name) for name in schema} for row in rows], schema=schema, orient="row"
    )


def lognormal(count: int, *, median: float = 0.05, seed: int = 1) -> list[float]:
    generator = np.random.default_rng(seed)
    return (median * np.exp(0.5 * generator.standard_normal(count))).tolist()


def steady(minutes: int = 20, per_minute: int = 500, **fields: object) -> list[dict[str, object]]:
    return [
        minute(number, lognormal(per_minute, seed=number), **fields) for number in range(minutes)
    ]
