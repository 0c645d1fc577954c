"""Kong's Prometheus plugin: who called is nobody known, what was called is Kong's service.

A request that Kong answered itself (``source="kong"``) never went to the service behind it. Before
Kong 3.0 names are others and nothing tells the two apart, so that its own refusals count on both
edges. Source: kong ``plugins/prometheus/exporter.lua``.
"""

from typing import Final

import polars as pl

from pipeline.analyze.traffic.metric import Metric, System, finished, known, label, result
from pipeline.model.topology import CLIENTS, NodeKind, Reporter

METRICS: Final = (
    Metric("kong_http_requests_total", "requests", rank=1),
    Metric("kong_request_latency_ms", "latency", rank=1),
    Metric("kong_upstream_latency_ms", "latency", rank=1),
    Metric("kong_http_status", "requests"),
    Metric("kong_latency", "latency"),
    Metric("kong_bandwidth_bytes", "bytes", rank=1, of="sum"),
    Metric("kong_bandwidth", "bytes", of="sum"),
)

_LABELS: Final = ("service", "route", "code", "source", "type", "direction")

IN_KUBERNETES: Final = r"^([a-z0-9-]+)\.([a-z0-9-]+)\.(?:pnum-)?\d+$"
"""How the ingress controller names services: namespace, service, port."""


def calls(series: pl.DataFrame) -> pl.DataFrame:
    """The calls that Kong's series tell of: those it answers, and those it makes."""
    told = series.with_columns(
        result(
            code=pl.col("code"),
            rpc=pl.lit(None, pl.String),
            flags=pl.lit(None, pl.String),
            failed=pl.lit(value=False),
            serves=pl.lit(value=False),
        ).alias("outcome"),
        pl.coalesce("teller_node", pl.lit("kong")).alias("own"),
    )
    name, of = pl.col("name"), pl.col("type")
    counts = name.is_in(["kong_http_requests_total", "kong_http_status"])
    way = pl.coalesce("direction", "type")
    asked = told.with_columns((way == "ingress").alias("asks")).filter(
        counts
        | (name == "kong_request_latency_ms")
        | (of == "request")
        | (name.str.starts_with("kong_bandwidth") & way.is_in(["ingress", "egress"]))
    )
    own_answer = (pl.col("source") == "kong").fill_null(value=False)
    made = told.filter(
        (counts & ~own_answer) | (name == "kong_upstream_latency_ms") | (of == "upstream")
    )
    both = {"protocol": pl.lit("http"), "reporter": pl.lit(Reporter.GATEWAY.value)}
    gateway = pl.lit(NodeKind.GATEWAY.value)
    return pl.concat(
        [
            finished(
                asked.select(
                    "series",
                    "outcome",
                    "asks",
                    client=pl.lit(CLIENTS),
                    client_kind=pl.lit(NodeKind.CLIENTS.value),
                    server="own",
                    server_kind=gateway,
                    server_workload="teller_workload",
                    server_version="teller_version",
                    serves=pl.lit(value=True),
                    **both,
                ),
                SYSTEM.name,
            ),
            finished(
                made.select(
                    "series",
                    "outcome",
                    client="own",
                    client_kind=gateway,
                    client_workload="teller_workload",
                    client_version="teller_version",
                    server_alias=_service(),
                    serves=pl.lit(value=False),
                    **both,
                ),
                SYSTEM.name,
            ),
        ]
    )


def _service() -> pl.Expr:
    service = known("service")
    parts = service.str.extract(IN_KUBERNETES, 1), service.str.extract(IN_KUBERNETES, 2)
    return pl.coalesce(pl.format("{}/{}", *parts), service)


SYSTEM: Final = System("kong", METRICS, {name: label(name) for name in _LABELS}, calls)
