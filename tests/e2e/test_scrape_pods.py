"""A pod of Linkerd, found in a cluster and scraped, is an edge of the graph.

The API server and the proxy are played by a small server; everything after them is real.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.collectors.scrape.exposer import Asked, Exposer, answer, exposing
from tests.collectors.scrape.pod_objects import linkerd_pod
from tests.collectors.scrape.pod_server import PodServer
from tests.e2e.process import ask
from tests.e2e.up import Up

pytestmark = [pytest.mark.anyio, pytest.mark.e2e]

LABELS = (
    'direction="outbound",authority="voting.shop.svc.cluster.local:8080",'
    'target_addr="10.1.0.9:8080",tls="true",'
    'server_id="voting.shop.serviceaccount.identity.linkerd.cluster.local",'
    'dst_service="voting",dst_namespace="shop",dst_deployment="voting",dst_pod="voting-1"'
)
EXPOSED = """# TYPE request_total counter
request_total{{{labels}}} {count}
# TYPE response_total counter
response_total{{{labels},status_code="200",classification="success"}} {good}
response_total{{{labels},status_code="500",classification="failure"}} {bad}
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Proxy:
    """A proxy that has served ten more requests at every scrape, one of them badly, to a point."""

    scrapes: int = 0
    last: int = 12

    async def expose(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        """Answer a scrape."""
        self.scrapes += 1
        turns = min(self.scrapes, self.last)
        text = EXPOSED.format(labels=LABELS, count=10 * turns, good=9 * turns, bad=turns)
        await answer(text.encode())(asked, writer)


def edges_of(up: Up) -> list[dict]:
    return up.graph()["edges"]


async def until_counted(up: Up, requests: int) -> dict:
    """Wait for the one edge with so many requests."""
    edges: list[dict] = []
    for _ in range(120):
        edges = await asyncio.to_thread(edges_of, up)
        if [edge["requests"] for edge in edges] == [requests]:
            return edges[0]
        await asyncio.sleep(0.5)
    raise AssertionError(edges)


def served(exposer: Exposer, api: PodServer) -> Proxy:
    """Have a server play the API, the pod that it lists, and the proxy of the pod."""
    api.serve_on(exposer)
    pod = linkerd_pod(ip="127.0.0.1")
    pod["spec"]["containers"][0]["ports"][1]["containerPort"] = exposer.port
    api.put(pod)
    proxy = Proxy()
    exposer.answers["/metrics"] = proxy.expose
    return proxy


async def test_a_pod_of_linkerd_is_an_edge_with_its_requests_and_errors(tmp_path: Path) -> None:
    async with exposing() as exposer:
        proxy = served(exposer, PodServer())
        flags = ("--scrape-kubernetes", exposer.url, "--scrape-interval-seconds", "1")
        up = await asyncio.to_thread(Up, tmp_path, *flags, "--scrape-timeout-seconds", "1")
        try:
            # what the first scrape finds was counted before anybody looked
            edge = await until_counted(up, 10 * (proxy.last - 1))
            assert (edge["client"], edge["server"]) == ("shop/web", "shop/voting")
            assert edge["errors"]["server_error"] == proxy.last - 1
            assert edge["mtls_ratio"] == 1
            assert edge["signal"] == "metrics"
            targets = await asyncio.to_thread(ask, f"{up.api}/v1/scrape/targets")
            (target,) = targets.json["items"]
            assert (target["up"], target["samples"]) == (True, 3)
        finally:
            await asyncio.to_thread(up.stop)
