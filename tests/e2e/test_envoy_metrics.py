"""A real Envoy streams its statistics, and they are those that it exposes to Prometheus."""

import asyncio
import json
import time
import urllib.request
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.demo.envoy import Address
from api.demo.network import free_address
from api.demo.processes import find_program
from pipeline.decode import DECODERS
from pipeline.model.ledger import Outcome
from pipeline.model.messages import Message
from pipeline.model.scrape import Scrape
from pipeline.model.topics import RAW_TELEMETRY
from tests.collectors.bench import Bench, running
from tests.pipeline.decode.metric_rows import Row, rows_of

ENVOY = find_program("envoy")
TYPE = "type.googleapis.com/envoy."
CALLS = 17
PATIENCE = 120.0
REQUESTS = "envoy_http_downstream_rq_total"
DURATIONS = "envoy_http_downstream_rq_time"
INGRESS = {"envoy_http_conn_manager_prefix": "ingress"}

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.anyio,
    pytest.mark.skipif(ENVOY is None, reason="envoy is not installed (extra `demo`)"),
]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def place(address: Address) -> dict[str, Any]:
    return {"socket_address": {"address": address.host, "port_value": address.port}}


def configuration(
    listen: Address, admin: Address, teller: Address, *, deltas: bool
) -> dict[str, Any]:
    """An Envoy that answers by itself, and tells its statistics every half second."""
    manager = {
        "@type": TYPE
        + "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "ingress",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}],
                }
            ]
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": TYPE + "extensions.filters.http.router.v3.Router"},
            }
        ],
    }
    chain = {"filters": [{"name": "envoy.http_connection_manager", "typed_config": manager}]}
    endpoint = {"endpoint": {"address": place(teller)}}
    return {
        "node": {
            "id": "edge-1",
            "cluster": "edge",
            "metadata": {"report_counters_as_deltas": True} if deltas else {},
        },
        "admin": {"address": place(admin)},
        "stats_flush_interval": "0.5s",
        "stats_sinks": [
            {
                "name": "envoy.stat_sinks.metrics_service",
                "typed_config": {
                    "@type": TYPE + "config.metrics.v3.MetricsServiceConfig",
                    "transport_api_version": "V3",
                    "grpc_service": {"envoy_grpc": {"cluster_name": "meshweir"}},
                    "emit_tags_as_labels": True,
                    "report_counters_as_deltas": deltas,
                },
            }
        ],
        "static_resources": {
            "listeners": [{"name": "in", "address": place(listen), "filter_chains": [chain]}],
            "clusters": [
                {
                    "name": "meshweir",
                    "typed_extension_protocol_options": {
                        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                            "@type": TYPE + "extensions.upstreams.http.v3.HttpProtocolOptions",
                            "explicit_http_config": {"http2_protocol_options": {}},
                        }
                    },
                    "load_assignment": {
                        "cluster_name": "meshweir",
                        "endpoints": [{"lb_endpoints": [endpoint]}],
                    },
                }
            ],
        },
    }


@asynccontextmanager
async def envoy(tmp_path: Path, config: dict[str, Any]) -> AsyncIterator[None]:
    path = tmp_path / "envoy.json"
    path.write_text(json.dumps(config))
    process = await asyncio.create_subprocess_exec(
        str(ENVOY), "-c", str(path), "--use-dynamic-base-id", "--concurrency", "1",
        "--log-level", "off",
    )  # fmt: skip
    try:
        yield
    finally:
        process.kill()
        await process.wait()


async def wait_for(found: Callable[[], Any]) -> Any:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if answer := await found():
            return answer
        await asyncio.sleep(0.3)
    raise AssertionError("it never came")


async def call(address: Address, times: int) -> None:
    async with httpx.AsyncClient(timeout=30) as client:

        async def answered() -> bool:
            try:
                return (await client.get(f"http://{address}/")).status_code == 200
            except httpx.HTTPError:
                return False

        await wait_for(answered)
        for _ in range(times - 1):
            assert await answered()


def decoded(messages: list[Message]) -> list[Row]:
    found = DECODERS["envoy_metrics"]([message.value for message in messages])
    assert found.refused == ()
    return rows_of(found)


def of(rows: list[Row], name: str, kind: str) -> list[Row]:
    """The rows of our listener by name and type, in order."""
    return [
        row
        for row in rows
        if (row["name"], row["type"], row.get("attributes")) == (name, kind, INGRESS)
    ]


async def told(at: Bench, requests: Callable[[list[Row]], float]) -> list[Row]:
    """All rows, once they tell of all calls and one flush has come after that."""

    async def enough() -> list[Row] | None:
        rows = decoded(await at.messages(RAW_TELEMETRY))
        return rows if requests(of(rows, REQUESTS, "sum")) == CALLS else None

    await wait_for(enough)
    before = len(await at.messages(RAW_TELEMETRY))

    async def later() -> list[Message] | None:
        messages = await at.messages(RAW_TELEMETRY)
        return messages if len(messages) >= before + 2 else None

    return decoded(await wait_for(later))


@pytest.mark.parametrize("deltas", [False, True], ids=["totals", "deltas"])
async def test_an_envoy_streams_what_it_counts(tmp_path: Path, deltas: bool) -> None:
    listen, admin = free_address(Address(0)), free_address(Address(0))
    async with running(tmp_path, envoy_metrics={"enabled": True}) as at:
        host, _, port = at.grpc.rpartition(":")
        config = configuration(listen, admin, Address(int(port), host), deltas=deltas)
        async with envoy(tmp_path, config):
            await call(listen, CALLS)
            total = sum_of if deltas else last_of
            rows = await told(at, total)
            exposed = await asyncio.to_thread(scraped, admin)
        assert at.count("envoy_metrics", "metric_points", Outcome.DROPPED) == 0
    check(rows, deltas=deltas)
    names = names_of(rows)
    assert names["sum"] - exposed["sum"] == set()
    assert names["gauge"] - exposed["gauge"] == set()
    assert names["histogram"] - exposed["histogram"] == set()
    assert len(names["sum"]) > 30


def check(rows: list[Row], *, deltas: bool) -> None:
    counters = of(rows, REQUESTS, "sum")
    assert {row["temporality"] for row in counters} == {1 if deltas else 2}
    assert counters[0]["resource"]["envoy.node.id"] == "edge-1"
    assert {row["resource"]["envoy.node.cluster"] for row in rows} == {"edge"}
    histograms = of(rows, DURATIONS, "histogram")
    assert {row["temporality"] for row in histograms} == {1}
    assert sum(row["count"] for row in histograms) == CALLS
    assert sum(sum(row["bucket_counts"]) for row in histograms) == CALLS
    summaries = of(rows, DURATIONS, "summary")
    assert sum(row["count"] for row in summaries) == CALLS


def sum_of(counters: list[Row]) -> float:
    return sum(row["value"] for row in counters)


def last_of(counters: list[Row]) -> float:
    return counters[-1]["value"] if counters else 0.0


def scraped(admin: Address) -> dict[str, set[str]]:
    """The names by type of what the same Envoy exposes to Prometheus."""
    with urllib.request.urlopen(f"http://{admin}/stats/prometheus", timeout=30) as answer:
        text = answer.read()
    head = Scrape(1_764_000_000_000, None, up=True).line()
    found = DECODERS["prometheus_text"]([head + text])
    assert found.refused == ()
    return names_of(rows_of(found))


def names_of(rows: list[Row]) -> dict[str, set[str]]:
    names: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        names[row["type"]].add(row["name"])
    return names
