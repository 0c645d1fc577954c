"""Envoy's own statistics: of a plain Envoy, of Consul's sidecars, of Istio's where they are kept.

A cluster's responses are final ones, so they count requests; its retries come on top as attempts.
What a proxy answers (``downstream_rq``) tells how many requests its service served, and nothing of
who sent them: an edge only at a gateway, which everybody calls. Statuses are known by class or by
code; a request that found no server is a 503 among others. Consul says both ends by labels, and
speaks mutual TLS between sidecars always. Names as Prometheus has them, as Envoy's OpenTelemetry
sink has them (dots, prefix ``envoy``), and as its metrics service has them (no prefix). Sources:
Envoy docs, "Cluster manager statistics" and "HTTP connection manager statistics"; Consul,
``agent/connect/sni.go`` and ``bootstrap_config.go``.
"""

from typing import Final

import polars as pl

from pipeline.analyze import names
from pipeline.analyze.traffic.metric import (
    Metric,
    Of,
    System,
    Told,
    at_client,
    finished,
    kind,
    known,
    label,
    node,
    result,
)
from pipeline.model.topology import CLIENTS, NodeKind, Reporter

_STATS: Final[tuple[tuple[str, str, Told, int, Of], ...]] = (
    ("cluster", "upstream_rq_xx", "requests", 0, "count"),
    ("cluster", "upstream_rq", "requests", 0, "count"),
    ("cluster", "upstream_rq_retry", "retries", 0, "count"),
    ("cluster", "upstream_rq_time", "latency", 0, "count"),
    ("cluster", "upstream_cx_total", "requests", -5, "count"),
    ("cluster", "upstream_cx_tx_bytes_total", "bytes", -5, "sum"),
    ("cluster", "upstream_cx_rx_bytes_total", "bytes", -5, "sum"),
    ("http", "downstream_rq_xx", "requests", 0, "count"),
    ("http", "downstream_rq_time", "latency", 0, "count"),
    ("http", "downstream_cx_rx_bytes_total", "bytes", 0, "sum"),
    ("http", "downstream_cx_tx_bytes_total", "bytes", 0, "sum"),
)
"""Scope, statistic, what it tells, how it ranks, and by what of it; connections count where no
requests do."""

METRICS: Final = tuple(
    Metric(f"{prefix}{scope}{separator}{statistic}", told, rank, of=of)
    for scope, statistic, told, rank, of in _STATS
    for prefix, separator in (("envoy_", "_"), ("envoy.", "."), ("", "."))
)

_TAGS: Final = ("cluster_name", "http_conn_manager_prefix", "response_code", "response_code_class")
"""Labels that have ``envoy_`` in front, ``envoy.``, or (Istio) nothing."""

_CONSUL: Final = ("consul_source_service", "consul_source_namespace",
                  "consul_destination_service", "consul_destination_namespace")  # fmt: skip

LABELS: Final = {
    **{f"envoy_{tag}": label(f"envoy_{tag}") for tag in _TAGS},
    **{f"dotted_{tag}": label(f"envoy.{tag}") for tag in _TAGS},
    **{tag: label(tag) for tag in _TAGS},
    **{name: label(name) for name in _CONSUL},
}

OWN_WORK: Final = (
    r"(?i)^(xds|sds|als|otlp|otel|opentelemetry|zipkin|jaeger|telemetry|prometheus|agent$|admin$"
    r"|self_admin|consul-dataplane|access_?log)"
)
"""Clusters and listeners by which a proxy is run and watched, not by which its service works."""

INBOUND: Final = r"(?i)^(inbound|ingress|public_listener|local_app|local_service)"
NOBODY: Final = ("original-destination", "PassthroughCluster", "BlackHoleCluster")
"""Clusters that stand for whatever address was asked for."""


def calls(series: pl.DataFrame) -> pl.DataFrame:
    """The calls that Envoys' statistics tell of."""
    told = series.with_columns(
        *(pl.coalesce(f"envoy_{tag}", f"dotted_{tag}", tag).alias(tag) for tag in _TAGS)
    ).with_columns(
        pl.col("response_code_class").str.head(1).alias("class"),
        (pl.col("teller_kind") == NodeKind.GATEWAY).fill_null(value=False).alias("gateway"),
    )
    final = (pl.col("class") != "1").fill_null(value=True)
    told = told.filter(final).with_columns(_outcome().alias("outcome"))
    return pl.concat([_upstream(told), _downstream(told)])


def _outcome() -> pl.Expr:
    by_class = pl.col("class").cast(pl.Int32, strict=False) * 100
    return result(
        code=pl.coalesce(pl.col("response_code").cast(pl.Int32, strict=False), by_class),
        rpc=pl.lit(None, pl.String),
        flags=pl.lit(None, pl.String),
        failed=pl.lit(value=False),
        serves=pl.lit(value=False),
    )


def _upstream(told: pl.DataFrame) -> pl.DataFrame:
    cluster = pl.col("cluster_name")
    mesh = node(known("consul_destination_namespace"), known("consul_destination_service"))
    source = node(known("consul_source_namespace"), known("consul_source_service"))
    sent = told.filter(
        pl.col("name").str.contains("upstream")
        & cluster.is_not_null()
        & ~cluster.str.contains(OWN_WORK)
        & ~cluster.str.contains(INBOUND)
        # of a metric that is by class and by code, what is by neither tells nothing
        & (
            ~pl.col("name").str.contains(r"upstream_rq(_xx)?$")
            | pl.col("class").is_not_null()
            | pl.col("response_code").is_not_null()
        )
    )
    alias = pl.coalesce(names.node(cluster), cluster)
    calls = sent.select(
        "series",
        "outcome",
        pl.coalesce(source, "teller_node").alias("client"),
        pl.when("gateway").then("teller_kind").otherwise(kind(pl.coalesce(source, "teller_node")))
        .alias("client_kind"),
        client_workload="teller_workload",
        client_version="teller_version",
        server=mesh,
        server_kind=kind(mesh),
        server_alias=pl.when(mesh.is_null() & ~cluster.is_in(NOBODY)).then(alias),
        protocol=pl.when(pl.col("name").str.contains("upstream_cx"))
        .then(pl.lit("tcp"))
        .otherwise(pl.lit("http")),
        reporter=at_client(pl.col("gateway")),
        asks=pl.col("name").str.contains("_tx_"),
        system=pl.when(source.is_not_null()).then(pl.lit("consul")).otherwise(pl.lit("envoy")),
        tls=pl.when(mesh.is_not_null()).then(pl.lit(value=True)),
        serves=pl.lit(value=False),
        rank=pl.col("response_code").is_not_null().cast(pl.Int8),
    )  # fmt: skip
    return finished(calls, SYSTEM.name)


def _downstream(told: pl.DataFrame) -> pl.DataFrame:
    prefix = pl.col("http_conn_manager_prefix")
    answered = told.filter(
        pl.col("name").str.contains("downstream")
        & prefix.is_not_null()
        & ~prefix.str.contains(OWN_WORK)
        & ~prefix.str.contains("prometheus")
        & (pl.col("gateway") | prefix.str.contains(INBOUND))
        & (~pl.col("name").str.ends_with("_xx") | pl.col("class").is_not_null())
    )
    own = node(known("consul_source_namespace"), known("consul_source_service"))
    calls = answered.select(
        "series",
        "outcome",
        client=pl.lit(CLIENTS),
        client_kind=pl.lit(NodeKind.CLIENTS.value),
        server=pl.coalesce(own, "teller_node"),
        server_kind=pl.coalesce("teller_kind", kind(own)),
        server_workload="teller_workload",
        server_version="teller_version",
        protocol=pl.lit("http"),
        reporter=pl.when("gateway")
        .then(pl.lit(Reporter.GATEWAY.value))
        .otherwise(pl.lit(Reporter.SERVER_PROXY.value)),
        system=pl.when(own.is_not_null()).then(pl.lit("consul")).otherwise(pl.lit("envoy")),
        asks=pl.col("name").str.contains("_rx_"),
        serves=pl.lit(value=True),
        edge="gateway",
    )
    return finished(calls, SYSTEM.name)


SYSTEM: Final = System("envoy", METRICS, LABELS, calls)
