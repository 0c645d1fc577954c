"""Metrics to minutes: what proxies and gateways counted, as rows of edges and nodes.

A row derived from metrics has the shape of one derived from spans or logs, and the signal
``metrics``. Everything about a minute is a function of the points near it, so that a minute is
derived anew as a whole whenever one of them comes.
"""

from collections.abc import Sequence
from functools import cache
from typing import Final

import polars as pl
import pyarrow as pa

from pipeline.analyze import outcome, paths
from pipeline.analyze.counters import MILLION, Increases, increases
from pipeline.analyze.histogram import exponential_bucket, source_bucket
from pipeline.analyze.identity import identify
from pipeline.analyze.known_sum import known_sum
from pipeline.analyze.traffic import CALL, NAMES, PATHS, SYSTEMS
from pipeline.model.table import Table
from pipeline.model.tables import BY_METRICS, CALL_KEY, EDGE_MINUTES, NODE_MINUTES
from pipeline.model.topology import OVERFLOW

SIGNAL: Final = "metrics"

NAMES_PER_MINUTE: Final = 10_000
"""Distinct names of an end that metrics may bring in a minute; the rest is counted as overflow.
Istio takes names of unknown hosts from the Host header, which anybody may fill."""

_NS: Final = 1e9
_ENDS: Final = ("client", "client_alias", "server", "server_alias")
_EDGE_KEY: Final = tuple(column.name for column in CALL_KEY)
_NODE_KEY: Final = ("minute", "node", "kind", "workload", "version", "route", "reporter", "signal",
                    "system")  # fmt: skip
_SUMS: Final = (
    "requests", "attempts", "client_errors", "server_errors", "connection_errors", "tls_known",
    "tls_mutual", "duration_ns",
)  # fmt: skip
_OWN: Final = tuple(column.name for column in BY_METRICS)
_LIST: Final = ("bucket", "width")
_TOLD: Final = ("minute", "producer", "metric", "reporter", "serves", "called", "tcp")
"""What several paths may tell alike: of which calls, by which metric of whom."""

MOST_BYTES: Final = 1e15
"""No series rises by more bytes between two readings; what claims to is cut to this."""


def told(series: pl.DataFrame, resources: pl.DataFrame) -> pl.DataFrame:
    """What series tell of calls: one row per minute, call and latency bucket, not summed up.

    All series of a producer must be there, since of what several of them tell alike one counts.

    Args:
        series: answer to the question ``metric_series``, asked for ``NAMES`` and ``PATHS``.
        resources: rows of ``resources`` that these refer to.
    """
    numbered = series.with_row_index("series")
    rose = increases(numbered)
    calls = _calls(numbered, resources)
    metrics = numbered.select("series", "resource_id", "name", _is_exponential()).join(
        _metrics(), on="name"
    )
    known = paths.of_series(numbered, resources)
    meant = metrics.join(calls, on="series").with_columns(
        _rank().alias("rank"),
        pl.when(~pl.col("serves")).then(pl.coalesce("server_alias", "server")).alias("called"),
        (pl.col("protocol") == "tcp").fill_null(value=False).alias("tcp"),
        _metric().alias("metric"),
    )
    placed = _by_path(rose.totals.join(meant, on="series"), meant, numbered, known)
    ranked = placed.filter(pl.col("place") == 0).with_columns(_is_best().alias("best"))
    again = placed.filter(pl.col("place") == 1).with_columns(_is_best().alias("best"))
    best = ranked.filter("best")
    return pl.concat(
        [_counted(ranked), _carried(best), _measured(best, rose), _twice(best, again)],
        how="diagonal",
    )


def derive(told: pl.DataFrame, *, minutes: Sequence[int]) -> dict[str, pa.Table]:
    """The derived rows of minutes, from all that is told of them.

    Args:
        told: answers of ``told``, one under the other.
        minutes: those wanted, Unix nanoseconds of their starts; others are left out.

    Returns:
        Rows of ``edge_minutes`` and ``node_minutes`` without a slice. The same points give the same
        rows, whatever the order they stand in.
    """
    wanted = told.filter(pl.col("minute").is_in(list(minutes)))
    for name in _ENDS:
        if wanted[name].n_unique() > NAMES_PER_MINUTE:
            wanted = wanted.with_columns(_bounded(name))
    edges = wanted.filter("edge")
    nodes = _without_connections(wanted.filter("serves")).select(
        pl.all().exclude("server", "server_kind", "server_workload", "server_version"),
        pl.col("server").alias("node"),
        pl.col("server_kind").alias("kind"),
        pl.col("server_workload").alias("workload"),
        pl.col("server_version").alias("version"),
        pl.lit(None, pl.String).alias("route"),
    )
    return {
        EDGE_MINUTES.name: _arrow(_fold(edges, _EDGE_KEY), EDGE_MINUTES),
        NODE_MINUTES.name: _arrow(_fold(nodes, _NODE_KEY), NODE_MINUTES),
    }


@cache
def _metrics() -> pl.DataFrame:
    rows = [(m.name, m.told, m.rank, m.seconds, m.of) for system in SYSTEMS for m in system.metrics]
    schema = {
        "name": pl.String, "told": pl.String, "rank_of_metric": pl.Int8, "seconds": pl.Float64,
        "of": pl.String,
    }  # fmt: skip
    return pl.DataFrame(rows, schema=schema, orient="row")


def _calls(series: pl.DataFrame, resources: pl.DataFrame) -> pl.DataFrame:
    known, identities = identify(resources)
    tellers = (
        known.join(identities, on="identity")
        .join(resources.select("resource_id", "service_namespace").unique("resource_id"),
              on="resource_id")
        .select(
            "resource_id",
            pl.col("node").alias("teller_node"),
            pl.col("kind").alias("teller_kind"),
            pl.col("workload").alias("teller_workload"),
            pl.col("version").alias("teller_version"),
            pl.col("service_namespace").alias("teller_namespace"),
        )
    )  # fmt: skip
    told = series.select("series", "name", "resource_id", "labels").join(
        tellers, on="resource_id", how="left"
    )
    found = []
    for system in SYSTEMS:
        mine = told.filter(pl.col("name").is_in([metric.name for metric in system.metrics]))
        if not mine.is_empty():
            labels = [
                pl.col("labels").list.get(PATHS.index(path), null_on_oob=True).alias(name)
                for name, path in system.labels.items()
            ]
            found.append(system.calls(mine.with_columns(labels)))
    return pl.concat(found) if found else pl.DataFrame(schema=CALL)


def _is_exponential() -> pl.Expr:
    return (pl.col("type") == "exponential_histogram").fill_null(value=False).alias("finer")


def _rank() -> pl.Expr:
    """How much the series of a metric says; of a histogram in two forms the exponential counts."""
    return (pl.col("rank") + pl.col("rank_of_metric")) * 2 + pl.col("finer")


def _metric() -> pl.Expr:
    """A metric's name, however it was sent: Envoy's have a prefix and dots, or none."""
    return pl.col("name").str.replace_all(".", "_", literal=True).str.strip_prefix("envoy_")


def _by_path(
    rows: pl.DataFrame, meant: pl.DataFrame, series: pl.DataFrame, known: pl.DataFrame
) -> pl.DataFrame:
    """Rows with ``producer``, and which ``place`` their path has of how many ``paths``."""
    rows = rows.join(known.select("series", "path", "teller"), on="series")
    suspects = paths.suspects(known)
    near = paths.near(series.join(suspects, on="series", how="semi")).join(suspects, on="series")
    producers = paths.producers(near.unique(["minute", "teller"]))
    told = (
        near.select("series", "minute", "path", "teller", "points")
        .join(meant, on="series")
        .join(producers, on=["minute", "teller"])
        .group_by(*_TOLD, "path")
        .agg(pl.col("points").sum())
    )
    return (
        rows.join(producers, on=["minute", "teller"], how="left")
        .with_columns(pl.coalesce("producer", "teller").alias("producer"))
        .join(paths.ordered(told, list(_TOLD)), on=[*_TOLD, "path"], how="left", nulls_equal=True)
        .with_columns(pl.col("place").fill_null(0), pl.col("paths").fill_null(1))
    )


def _twice(best: pl.DataFrame, again: pl.DataFrame) -> pl.DataFrame:
    """Requests that a second path told, too: as the first one told them, and as the second."""
    requests = pl.col("told") == "requests"
    second = (
        again.filter(requests & pl.col("best"))
        .group_by(_TOLD)
        .agg(_amount().sum().alias("told_again"))
    )
    return (
        best.filter(requests & (pl.col("paths") > 1))
        .sort(_call_columns())
        .group_by(_TOLD, maintain_order=True)
        .agg(pl.col(set(_call_columns()) - set(_TOLD)).first(), _amount().sum().alias("told_twice"))
        .join(second, on=_TOLD, how="left", nulls_equal=True)
        .select(*_call_columns(), "told_twice", pl.col("told_again").fill_null(0))
    )


def _is_best() -> pl.Expr:
    """Whether no other metric of the producer tells the same of the same call, and ranks higher."""
    same = [
        "producer", "minute", "reporter", "serves", "called", "tcp", "asks",
        pl.col("told").replace({"range": "latency"}),
    ]  # fmt: skip
    return pl.col("rank") == pl.col("rank").max().over(same)


def _counted(ranked: pl.DataFrame) -> pl.DataFrame:
    """Requests and attempts, and what became of them; of what is told better, TLS and names."""
    called = pl.coalesce("server_alias", "server")
    told_apart = (pl.col("told") == "attempts").any().over("producer", "minute", "reporter", called)
    amount = _amount()
    all_requests = pl.when(pl.col("told") == "requests").then(amount).otherwise(0)
    requests = pl.when("best").then(all_requests).otherwise(0)
    fails = pl.col("best") & pl.col("told").is_in(["requests", "errors"])
    failed = pl.when(fails).then(amount).otherwise(0)
    return ranked.filter(
        pl.col("told").is_in(["requests", "attempts", "retries", "errors"])
    ).select(
        *_call_columns(),
        requests.alias("requests"),
        pl.when(pl.col("best") & pl.col("told").is_in(["attempts", "retries"]))
        .then(amount)
        .otherwise(pl.when(told_apart).then(0).otherwise(requests))
        .alias("attempts"),
        *(
            pl.when(pl.col("outcome") == of).then(failed).otherwise(0).alias(name)
            for name, of in (
                ("client_errors", outcome.CLIENT_ERROR),
                ("server_errors", outcome.SERVER_ERROR),
                ("connection_errors", outcome.CONNECTION),
            )
        ),
        pl.when(pl.col("tls").is_not_null()).then(all_requests).otherwise(0).alias("tls_known"),
        pl.when("tls").then(all_requests).otherwise(0).alias("tls_mutual"),
    )


def _amount() -> pl.Expr:
    """How many an increase is, in millionths."""
    return (
        pl.when(pl.col("of") == "sum")
        .then((pl.col("sum").clip(0) * MILLION).round().cast(pl.Int64))
        .otherwise("count")
    )


def _carried(best: pl.DataFrame) -> pl.DataFrame:
    """Bytes, by the way they went."""
    told = best.filter((pl.col("told") == "bytes") & pl.col("asks").is_not_null())
    carried = pl.col("sum").clip(0, MOST_BYTES).round().cast(pl.Int64)
    return told.select(
        *_call_columns(),
        pl.when("asks").then(carried).alias("request_bytes"),
        pl.when(~pl.col("asks")).then(carried).alias("response_bytes"),
    )


def _measured(best: pl.DataFrame, rose: Increases) -> pl.DataFrame:
    """Latencies: their sums, and what histograms or extremes tell of each."""
    mine = best.filter(pl.col("told").is_in(["latency", "range"]))
    seconds = pl.col("seconds")
    sums = mine.select(
        *_call_columns(),
        (pl.col("sum").fill_null(0.0).clip(0) * seconds * _NS)
        .round()
        .cast(pl.Int64)
        .alias("duration_ns"),
    )
    ranges = mine.filter((pl.col("told") == "range") & pl.col("max").is_not_null()).select(
        *_call_columns(), "seconds", "count", lower="min", upper="max"
    )
    measured = mine.filter(pl.col("told") == "latency").select(
        "series", *_call_columns(), "seconds"
    )
    within, narrow = (
        measured.join(buckets, on=["series", "minute"]).drop("series")
        for buckets in (rose.buckets, rose.exponential)
    )
    spread = pl.concat([ranges, within], how="diagonal")
    bounded = source_bucket(pl.col("lower") * seconds, pl.col("upper") * seconds)
    exponential = exponential_bucket(pl.col("scale"), pl.col("index"), seconds)
    entries = pl.concat(
        [_placed(spread, *bounded), _placed(narrow, *exponential)], how="diagonal"
    ).filter(pl.col("bucket").is_not_null())
    return pl.concat(
        [sums, entries.select(*_call_columns(), *_LIST, pl.col("count").alias("counts"))],
        how="diagonal",
    )


def _placed(entries: pl.DataFrame, bucket: pl.Expr, width: pl.Expr) -> pl.DataFrame:
    return entries.with_columns(bucket.alias("bucket"), width.alias("width"))


def _call_columns() -> list[str]:
    not_kept = {"series", "outcome", "tls", "asks", "rank"}
    return ["minute", *(name for name in CALL if name not in not_kept)]


def _bounded(name: str) -> pl.Expr:
    """Names of a minute past the limit become one; which stay depends on the names alone."""
    over = pl.col(name).rank("dense").over("minute") > NAMES_PER_MINUTE
    return pl.when(over).then(pl.lit(OVERFLOW)).otherwise(name).alias(name)


def _without_connections(served: pl.DataFrame) -> pl.DataFrame:
    """Connections count for a node only where it tells of no requests: they carry the same."""
    tcp = (pl.col("protocol") == "tcp").fill_null(value=False)
    return served.filter(~tcp | tcp.all().over("minute", "server"))


def _fold(rows: pl.DataFrame, keys: tuple[str, ...]) -> pl.DataFrame:
    """Sum up by key, and fold latency buckets into lists; one row per key that tells something."""
    complete = rows.with_columns(pl.lit(SIGNAL).alias("signal")).with_columns(
        (pl.col(name) if name in rows.columns else pl.lit(0))
        .fill_null(0)
        .cast(pl.Int64)
        .alias(name)
        for name in (*_SUMS, "counts")
    )
    by_bucket = (
        complete.group_by(*keys, *_LIST)
        .agg(pl.col(*_SUMS, "counts").sum(), *(known_sum(name) for name in _OWN))
        .sort(*keys, *_LIST)
    )
    measured = pl.col("bucket").is_not_null() & (pl.col("counts") > 0)
    folded = by_bucket.group_by(keys, maintain_order=True).agg(
        pl.col(*_SUMS).sum(),
        *(known_sum(name) for name in _OWN),
        pl.col("bucket").filter(measured).alias("buckets"),
        pl.col("counts").filter(measured),
        pl.col("width").filter(measured).alias("widths"),
    )
    tells = pl.any_horizontal((pl.col(*_SUMS, *_OWN) > 0).fill_null(value=False))
    return folded.filter(tells | (pl.col("buckets").list.len() > 0)).with_columns(
        pl.lit(None, pl.Int64).alias("slice"),
        (pl.col("requests") // MILLION).alias("rows"),
        pl.lit(0, pl.Int64).alias("unpaired"),
        pl.lit(0, pl.Int64).alias("sampled"),
    )


def _arrow(frame: pl.DataFrame, table: Table) -> pa.Table:
    shown = frame.with_columns(pl.col("minute").cast(pl.Datetime("ns")))
    return shown.select(table.arrow.names).to_arrow().cast(table.arrow)


__all__ = ["NAMES", "PATHS", "SIGNAL", "derive", "told"]
