"""From what gateways really write to one graph: each system's record joins the mesh behind it."""

import orjson
import polars as pl
import pytest

from pipeline.analyze.graph import build
from pipeline.analyze.minutes import derive
from pipeline.decode import DECODERS
from pipeline.model.tables import ACCESS_LOGS, RESOURCES
from tests.pipeline.analyze.test_pair import span
from tests.pipeline.analyze.traffic import CLIENT, SERVER, resources, spans

HIGH, LOW = 0x0AF7651916CD43DD, 0x8448EB211C80319C
ID = f"{HIGH:016x}{LOW:016x}"
BEGAN_MS = 1_764_000_000_000
BEGAN = BEGAN_MS * 1_000_000
TRACEPARENT = f"00-{ID}-b7ad6b7169203331-01"


def kong(**headers):
    return "kong_json", {
        "started_at": BEGAN_MS,
        "request": {"method": "GET", "uri": "/orders/1", "headers": headers},
        "response": {"status": 200},
        "upstream_status": "200",
        "latencies": {"request": 9, "proxy": 7, "kong": 2},
        "service": {"name": "orders-upstream", "host": "orders.example"},
        "route": {"name": "orders"},
    }


def aws(**ids):
    return "aws_apigateway", {
        "requestId": "a", "extendedRequestId": "b", "apiId": "api1", "stage": "prod",
        "requestTimeEpoch": str(BEGAN_MS), "httpMethod": "GET", "resourcePath": "/orders/{id}",
        "status": "200", "responseLatency": "9", "integrationStatus": "200",
        "integrationLatency": "7", **ids,
    }  # fmt: skip


def apigee(**headers):
    return "apigee", {
        "messageid": "m", "organization.name": "acme", "environment.name": "prod",
        "apiproxy.name": "orders-proxy", "request.verb": "GET", "response.status.code": "200",
        "client.received.start.timestamp": str(BEGAN_MS),
        "client.sent.end.timestamp": str(BEGAN_MS + 9),
        "target.sent.start.timestamp": str(BEGAN_MS + 1),
        "target.received.end.timestamp": str(BEGAN_MS + 8),
        "target.host": "orders.example", **headers,
    }  # fmt: skip


SYSTEMS = {
    "kong, w3c": (*kong(traceparent=TRACEPARENT), "kong"),
    "kong, b3": (*kong(b3=f"{ID}-b7ad6b7169203331-1"), "kong"),
    "kong, request id": (*kong(**{"x-request-id": "q"}), "kong"),
    "aws, x-ray": (*aws(xrayTraceId=f"1-{ID[:8]}-{ID[8:]}"), "prod/api1"),
    "apigee, w3c": (
        *apigee(**{"request.header.traceparent": TRACEPARENT}),
        "acme-prod/orders-proxy",
    ),
    "apigee, request id": (
        *apigee(**{"request.header.x-request-id": "q"}),
        "acme-prod/orders-proxy",
    ),
}


def graph_of(form, record):
    decoded = DECODERS[form]([orjson.dumps(record)])
    assert not decoded.refused
    logs = pl.DataFrame(pl.from_arrow(decoded.batches[ACCESS_LOGS.name])).drop("attributes")
    logs = logs.with_columns(
        pl.col("start_time").cast(pl.Int64), slice=pl.lit(1, pl.Int64), home=pl.lit(1, pl.Int64)
    )
    trace = {"trace_id_high": HIGH, "trace_id_low": LOW, "is_proxy": True}
    rows = [
        span(1, 99, "shop/orders", SERVER, BEGAN + 2_000_000, request_id="q", **trace),
        span(2, 1, "shop/orders", CLIENT, BEGAN + 3_000_000, **trace),
        span(3, 2, "shop/stock", SERVER, BEGAN + 4_000_000, **trace),
    ]
    told = pl.DataFrame(pl.from_arrow(decoded.batches[RESOURCES.name]))
    named = pl.concat([told, resources("shop/orders", "shop/stock")], how="vertical_relaxed")
    derived = derive(spans(rows), logs, named, units=[(1, 9)])
    begin = pl.from_epoch(pl.Series([BEGAN_MS]), time_unit="ms")[0]
    return build(
        pl.DataFrame(derived["edge_minutes"]),
        pl.DataFrame(derived["aliases"]),
        start=begin,
        end=begin.replace(year=begin.year + 1),
    )


@pytest.mark.parametrize("system", SYSTEMS)
def test_one_path_leads_from_the_consumer_to_the_last_service(system):
    form, record, gateway = SYSTEMS[system]
    graph = graph_of(form, record)
    edges = graph.edges.select("client", "server", "requests").rows()
    assert sorted(edges) == sorted(
        [
            ("clients", gateway, 1),
            (gateway, "shop/orders", 1),
            ("shop/orders", "shop/stock", 1),
        ]
    )
    kinds = dict(graph.nodes.select("id", "kind").iter_rows())
    assert kinds[gateway] == "gateway"
    behind = graph.edges.filter(pl.col("client") == gateway)
    assert behind["agreement"].to_list() == [1.0]
