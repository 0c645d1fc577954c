"""Pods come, change and go, and the API server with them."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from collectors.room import Room
from collectors.scrape import pod_api
from collectors.scrape.config import KubernetesSd
from collectors.scrape.kubernetes import KubernetesDiscovery
from collectors.scrape.target import Found
from pipeline.errors import InvalidInput
from tests.collectors.scrape.exposer import Exposer, exposing
from tests.collectors.scrape.pod_objects import istio_pod, linkerd_pod, pod
from tests.collectors.scrape.pod_server import PodServer

pytestmark = pytest.mark.anyio

ROOM = Room(1 << 30, retry_after=1)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Cluster:
    """A running discovery, the API it asks, and what it told."""

    api: PodServer
    server: Exposer
    groups: dict[str, list[str]] = field(default_factory=dict)

    def tell(self, source: str, found: Sequence[Found]) -> None:
        """Take a group."""
        self.groups[source] = [one.labels["__address__"] for one in found]
        if not found:
            del self.groups[source]

    async def until(self, **expected: str) -> None:
        """Wait until these pods of the namespace ``shop`` are told, each with its one address."""
        wanted = {f"shop/{name}": [address] for name, address in expected.items()}
        async with asyncio.timeout(10):
            while self.groups != wanted:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def watched(self, times: int = 1) -> None:
        """Wait until so many watches were begun in all."""
        async with asyncio.timeout(10):
            while len(self.api.watches) < times:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def cluster(*pods: object, **config: object) -> AsyncIterator[Cluster]:
    api = PodServer()
    for one in pods:
        api.put(one)  # type: ignore[arg-type]
    async with exposing() as server:
        api.serve_on(server, "shop", "other")
        told = Cluster(api, server)
        sd = KubernetesSd.model_validate({"role": "pod", "api_server": server.url} | config)
        discovery = KubernetesDiscovery(sd, ROOM, by_convention=True, first_pause=0.05)
        running = asyncio.create_task(discovery.run(told.tell))
        try:
            yield told
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running


async def test_pods_that_are_there_are_listed_and_then_watched() -> None:
    async with cluster(istio_pod("a", ip="10.0.0.1"), pod("quiet")) as at:
        await at.until(a="10.0.0.1:15020")
        await at.watched()
        assert at.api.lists == [{"path": "/api/v1/pods", "limit": "500"}]
        assert at.api.watches[0] == {
            "path": "/api/v1/pods",
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": "102",
            "timeoutSeconds": "300",
        }
        at.api.put(linkerd_pod("b", ip="10.0.0.2"))
        await at.until(a="10.0.0.1:15020", b="10.0.0.2:4191")
        at.api.put(istio_pod("a", ip="10.0.0.3"))
        await at.until(a="10.0.0.3:15020", b="10.0.0.2:4191")
        at.api.put(istio_pod("a", ip="10.0.0.3", phase="Succeeded"))
        at.api.delete("quiet")
        await at.until(b="10.0.0.2:4191")
        at.api.delete("b")
        await at.until()
        assert len(at.api.asked) == 2


async def test_a_long_list_comes_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_api, "PAGE", 2)
    pods = {name: istio_pod(name, ip=f"10.0.0.{place}") for place, name in enumerate("abcde")}
    async with cluster(*pods.values()) as at:
        await at.until(**{name: f"10.0.0.{place}:15020" for place, name in enumerate("abcde")})
        assert [one.get("continue") for one in at.api.lists] == [None, "2", "4"]


async def test_a_watch_that_breaks_off_goes_on_where_it_was() -> None:
    async with cluster(istio_pod("a", ip="10.0.0.1")) as at:
        await at.watched()
        at.api.put(istio_pod("b", ip="10.0.0.2"))
        await at.until(a="10.0.0.1:15020", b="10.0.0.2:15020")
        at.api.hang_up()
        at.api.delete("a")
        await at.until(b="10.0.0.2:15020")
        assert [one["resourceVersion"] for one in at.api.watches] == ["101", "102"]
        assert len(at.api.lists) == 1


async def test_a_bookmark_is_where_the_next_watch_begins() -> None:
    async with cluster(istio_pod("a", ip="10.0.0.1")) as at:
        await at.watched()
        at.api.bookmark()
        await asyncio.sleep(0.2)
        at.api.hang_up()
        await at.watched(2)
        assert at.api.watches[1]["resourceVersion"] == "151"


@pytest.mark.parametrize("as_event", [True, False])
async def test_when_the_version_is_gone_pods_are_listed_anew(
    as_event: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with cluster(istio_pod("a", ip="10.0.0.1"), istio_pod("b", ip="10.0.0.2")) as at:
        at.api.gone_as_event = as_event
        await at.watched()
        at.api.trouble = 503
        at.api.hang_up()
        at.api.delete("a")
        at.api.put(istio_pod("c", ip="10.0.0.3"))
        at.api.bookmark()
        at.api.forget()
        at.api.trouble = 0
        await at.until(b="10.0.0.2:15020", c="10.0.0.3:15020")
        assert len(at.api.lists) == 2
        await at.watched(3)
        assert at.api.watches[-1]["resourceVersion"] == "154"
    assert "too old" not in caplog.text


async def test_while_the_api_does_not_answer_known_pods_stay(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        async with cluster(istio_pod("a", ip="10.0.0.1")) as at:
            await at.watched()
            at.api.trouble = 403
            at.api.hang_up()
            while len(at.api.watches) < 5:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            await at.until(a="10.0.0.1:15020")
            at.api.trouble = 0
            at.api.put(istio_pod("b", ip="10.0.0.2"))
            await at.until(a="10.0.0.1:15020", b="10.0.0.2:15020")
    told = [one.message for one in caplog.records if "status 403" in one.message]
    assert told == [
        "pods of all namespaces: the server answered with status 403; what was found before stays"
    ]


async def test_pauses_grow_while_the_api_does_not_answer() -> None:
    async with cluster() as at:
        await at.watched()
        at.api.trouble = 500
        at.api.hang_up()
        await asyncio.sleep(1.5)
        # 0.05 s, 0.1, 0.2, 0.4, 0.8, each halved at most
        assert 3 <= len(at.api.watches) <= 8


async def test_events_that_make_no_sense_are_survived() -> None:
    async with cluster(istio_pod("a", ip="10.0.0.1")) as at:
        await at.watched()
        for odd in ({}, {"type": "ADDED"}, {"type": "ADDED", "object": {"metadata": {}}}, []):
            at.api._tell(odd)  # type: ignore[arg-type]
        await at.watched(2)
        at.api.put(istio_pod("b", ip="10.0.0.2"))
        await at.until(a="10.0.0.1:15020", b="10.0.0.2:15020")


async def test_namespaces_and_selectors_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t0ken")
    config = {
        "namespaces": {"names": ["shop", "other"]},
        "selectors": [{"role": "pod", "label": "app=cart", "field": "spec.nodeName=node-a"}],
        "bearer_token_file": tmp_path / "token",
    }
    async with cluster(**config) as at:
        await at.watched(2)
        assert sorted({one["path"] for one in at.api.asked}) == [
            "/api/v1/namespaces/other/pods",
            "/api/v1/namespaces/shop/pods",
        ]
        for one in at.api.asked:
            assert one["labelSelector"] == "app=cart"
            assert one["fieldSelector"] == "spec.nodeName=node-a"
        assert at.server.asked[0].headers["authorization"] == "Bearer t0ken"


async def test_a_discovery_can_be_run_again() -> None:
    api = PodServer()
    api.put(istio_pod("a", ip="10.0.0.1"))
    async with exposing() as server:
        api.serve_on(server)
        sd = KubernetesSd(role="pod", api_server=server.url)
        discovery = KubernetesDiscovery(sd, ROOM, by_convention=True)
        for times in (1, 2):
            running = asyncio.create_task(discovery.run(Cluster(api, server).tell))
            async with asyncio.timeout(10):
                while len(api.watches) < times:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running


def test_in_a_cluster_the_service_account_says_how(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    (tmp_path / "token").write_text("t0ken")
    (tmp_path / "namespace").write_text("shop")
    told = pod_api.in_cluster(KubernetesSd(role="pod"), tmp_path)
    assert told.api_server == "https://10.96.0.1:443"
    assert told.header() == "Bearer t0ken"
    assert told.tls_config.ca_file == tmp_path / "ca.crt"
    assert pod_api.own_namespace(tmp_path) == "shop"


def test_outside_of_a_cluster_an_api_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(InvalidInput, match="only inside of a cluster"):
        KubernetesDiscovery(KubernetesSd(role="pod"), ROOM, by_convention=True)
