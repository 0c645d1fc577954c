"""The demo as the end-to-end test: real Envoys in, the true graph out, edge for edge."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from api.demo.broker import BrokerMissing, installed_jars
from api.demo.command import Demo, running_demo
from api.demo.envoy import Address
from api.demo.mesh import MESH, Asked, Ends, visits
from api.demo.processes import find_program

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        find_program("envoy") is None, reason="envoy is not installed (extra `demo`)"
    ),
]

ROOT = Path(__file__).parents[2]
REQUESTS = 60
QUIET_SECONDS = 3.0
"""Longer than any exporter's timer: what has not come by then does not come."""


@dataclass
class Finished:
    """What is known when the load has ended and all telemetry is in."""

    by_service: dict[str, Any]
    by_version: dict[str, Any]
    asked: Counter[Asked]
    failed: int
    unanswered: int
    served: Counter[tuple[str, str]]
    demo: Demo


async def one_run(kafka: str | None) -> Finished:
    async with running_demo(
        api=Address(0), telemetry=Address(0), kafka=kafka, limit=REQUESTS, pace=2.0
    ) as demo:
        load = demo.mesh.load
        await load.run(asyncio.Event())
        demo.check()
        await demo.settle()
        await agreed(demo)
        # not one more may come after the graph became the truth
        await asyncio.sleep(QUIET_SECONDS)
        return Finished(
            by_service=await demo.meshweir.graph(),
            by_version=await demo.meshweir.graph("version"),
            asked=load.asked,
            failed=load.failed.total(),
            unanswered=load.unanswered,
            served=demo.mesh.services.served,
            demo=demo,
        )


async def agreed(demo: Demo) -> None:
    """Wait for those who tell later than the reporter that counts; in vain where they disagree."""
    for _ in range(60):
        graph = await demo.meshweir.graph()
        if all(
            "metrics" in outgoing(edge) and counted(edge) == {edge["requests"]}
            for edge in graph["edges"]
        ):
            return
        await asyncio.sleep(0.5)


def outgoing(edge: dict[str, Any]) -> set[str]:
    """The signals by which the caller's proxy tells, or the gateway."""
    told = {
        one["reporter"]: {signal["signal"] for signal in one["signals"]}
        for one in edge["reporters"]
    }
    return told.get("client_proxy") or told.get("gateway") or set()


def counted(edge: dict[str, Any]) -> set[int]:
    """The different counts of requests that all reporters tell by all signals."""
    return {signal["requests"] for one in edge["reporters"] for signal in one["signals"]}


@pytest.fixture(scope="module", params=[None, ""], ids=["in one process", "with Kafka"])
def finished(request: pytest.FixtureRequest) -> Finished:
    try:
        return asyncio.run(one_run(request.param))
    except BrokerMissing as missing:
        pytest.skip(str(missing))


def edges(graph: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(edge["client"], edge["server"]): edge for edge in graph["edges"]}


def counts(graph: dict[str, Any]) -> dict[tuple[str, str], tuple[float, float, float]]:
    return {
        ends: (edge["requests"], edge["attempts"], edge["errors"]["server_error"])
        for ends, edge in edges(graph).items()
    }


def true_counts(finished: Finished, *, by_version: bool = False) -> dict[Ends, tuple]:
    return {
        ends: (edge.requests, edge.attempts, edge.server_errors)
        for ends, edge in finished.demo.truth(by_version=by_version).items()
    }


def test_every_request_was_answered_and_served_as_declared(finished):
    assert finished.unanswered == 0
    assert finished.asked.total() == REQUESTS * len(MESH.consumers)
    assert finished.served == visits(MESH, finished.asked)


def test_the_graph_is_the_declared_topology_with_the_counts_of_the_load_generator(finished):
    assert counts(finished.by_service) == true_counts(finished)


def test_the_edges_are_those_one_reads_in_the_declaration(finished):
    assert set(edges(finished.by_service)) == {
        ("clients", "shop/edge-gateway"),
        ("shop/edge-gateway", "shop/frontend"),
        ("shop/frontend", "shop/catalog"),
        ("shop/frontend", "shop/recommendation"),
        ("shop/frontend", "shop/cart"),
        ("shop/frontend", "shop/orders"),
        ("shop/recommendation", "shop/catalog"),
        ("shop/cart", "shop/catalog"),
        ("shop/orders", "shop/cart"),
        ("shop/orders", "shop/payment"),
    }


def test_the_first_edge_counts_what_the_load_generator_counted_itself(finished):
    entry = edges(finished.by_service)["clients", "shop/edge-gateway"]
    assert entry["requests"] == finished.asked.total()
    assert entry["errors"]["server_error"] == finished.failed > 0


def test_retries_are_attempts_and_not_requests(finished):
    payment = edges(finished.by_service)["shop/orders", "shop/payment"]
    assert payment["attempts"] == finished.served["payment", "v1"] > payment["requests"]


def test_all_traffic_between_services_is_mutual_tls(finished):
    ratios = {
        ends: edge["mtls_ratio"]
        for ends, edge in edges(finished.by_service).items()
        if ends[0] != "clients"
    }
    assert ratios == dict.fromkeys(ratios, 1.0)


def test_reporters_on_both_sides_agree(finished):
    for ends, edge in edges(finished.by_service).items():
        if ends[0] != "clients":
            assert edge["agreement"] == 1.0, ends
            assert edge["coverage"] == 1.0, ends


def test_every_call_between_services_is_told_by_both_applications_and_both_proxies(finished):
    told = edges(finished.by_service)
    gateway = "shop/edge-gateway"
    for ends, edge in told.items():
        reporters = {one["reporter"] for one in edge["reporters"]}
        if ends[0] == "clients":
            assert reporters == {"gateway"}
        elif ends[0] == gateway:
            assert reporters >= {"gateway", "server_proxy"}, ends
        else:
            assert reporters == {"client", "client_proxy", "server_proxy", "server"}, ends


def test_spans_access_logs_and_scraped_metrics_tell_the_same(finished):
    """The caller's proxy tells by all three, the callee's metrics do not say who called."""
    for ends, edge in edges(finished.by_service).items():
        assert outgoing(edge) == {"spans", "access_logs", "metrics"}, ends
        assert counted(edge) == {edge["requests"]}, ends


def test_nodes_are_a_gateway_services_and_clients(finished):
    kinds = {node["id"]: node["kind"] for node in finished.by_service["nodes"]}
    services = {MESH.node(service.name): "service" for service in MESH.services}
    assert kinds == {"clients": "clients", "shop/edge-gateway": "gateway", **services}


def test_the_slow_service_shows_as_slow_from_both_sides(finished):
    slow = edges(finished.by_service)["shop/frontend", "shop/recommendation"]
    declared = MESH.service("recommendation").latency_seconds
    for side in ("client", "server"):
        assert slow["latency_seconds"][side]["p50"] >= declared * 0.98


def test_versions_are_told_apart_with_exact_counts(finished):
    assert counts(finished.by_version) == true_counts(finished, by_version=True)
    nodes = {node["id"] for node in finished.by_version["nodes"]}
    assert {"shop/catalog@v1", "shop/catalog@v2"} <= nodes


def children(pid: int) -> list[int]:
    """Child processes, whichever thread has started them."""
    return [
        int(child)
        for thread in Path(f"/proc/{pid}/task").iterdir()
        for child in (thread / "children").read_text().split()
    ]


def broker_or_skip() -> None:
    try:
        installed_jars()
    except BrokerMissing as missing:
        pytest.skip(str(missing))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)]
)
@pytest.mark.parametrize(("flags", "others"), [([], 2), (["--kafka"], 5)])
def test_nothing_is_left_behind(number, code, flags, others):
    """Others are a gateway and Meshweir, which with Kafka is three processes and a broker."""
    if flags:
        broker_or_skip()
    with (
        tempfile.TemporaryDirectory(prefix="mw-") as directory,
        subprocess.Popen(
            [sys.executable, "-m", "api", "demo", *flags],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "TMPDIR": directory},
        ) as demo,
    ):
        lines = iter(demo.stdout.readline, "")
        assert any(line.startswith("API ") for line in lines)
        family = children(demo.pid)
        assert len(family) == len(list(MESH.instances())) + others
        demo.send_signal(number)
        assert demo.wait(60) == code
        deadline = asyncio.run(_gone(family))
        assert deadline == []
        if number == signal.SIGINT:
            assert list(Path(directory).iterdir()) == []


async def _gone(family: list[int]) -> list[int]:
    """Those of the processes that are still there after a while."""
    for _ in range(200):
        left = [pid for pid in family if _runs(pid)]
        if not left:
            return []
        await asyncio.sleep(0.05)
    return left


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
