"""AWS API Gateway in CloudWatch metric streams: each stage's minute, as statistics.

The same request is in every set of dimensions, so that one set counts: an API and its stage, which
is also how its access logs name it. REST APIs are known there by their names, others by their ids.
How many requests there were is the number of samples of ``Count`` (or of 4XX, 5XX the sum); latency
tells its least and its greatest. Whom an API called is not told. Source: API Gateway developer
guide, "Amazon API Gateway dimensions and metrics".
"""

from typing import Final

import polars as pl

from pipeline.analyze import outcome as outcomes
from pipeline.analyze.traffic.metric import Metric, System, finished, node
from pipeline.model.topology import CLIENTS, NodeKind, Reporter

PREFIX: Final = "amazonaws.com/AWS/ApiGateway/"
DEFAULT_STAGE: Final = "$default"

CLIENT_ERRORS: Final = ("4XXError", "4xx")
SERVER_ERRORS: Final = ("5XXError", "5xx")

METRICS: Final = (
    Metric(f"{PREFIX}Count", "requests"),
    *(Metric(f"{PREFIX}{name}", "errors", of="sum") for name in (*CLIENT_ERRORS, *SERVER_ERRORS)),
    Metric(f"{PREFIX}Latency", "range"),
)

_DIMENSIONS: Final = ("ApiName", "ApiId", "Stage", "Resource", "Method", "Route")


def calls(series: pl.DataFrame) -> pl.DataFrame:
    """The calls that metrics of stages tell of."""
    finer = pl.any_horizontal(pl.col("Resource", "Method", "Route").is_not_null())
    api = pl.coalesce("ApiId", "ApiName")
    stages = series.filter(api.is_not_null() & pl.col("Stage").is_not_null() & ~finer)
    named = pl.col("name").str.strip_prefix(PREFIX)
    stage = pl.when(pl.col("Stage") != DEFAULT_STAGE).then("Stage")
    calls = stages.select(
        "series",
        client=pl.lit(CLIENTS),
        client_kind=pl.lit(NodeKind.CLIENTS.value),
        server=node(stage, api),
        server_kind=pl.lit(NodeKind.GATEWAY.value),
        protocol=pl.lit("http"),
        reporter=pl.lit(Reporter.GATEWAY.value),
        outcome=pl.when(named.is_in(CLIENT_ERRORS))
        .then(outcomes.CLIENT_ERROR)
        .when(named.is_in(SERVER_ERRORS))
        .then(outcomes.SERVER_ERROR)
        .otherwise(outcomes.OK),
        serves=pl.lit(value=True),
    )
    return finished(calls, SYSTEM.name)


SYSTEM: Final = System(
    "aws", METRICS, {name: f'$."Dimensions"."{name}"' for name in _DIMENSIONS}, calls
)
