"""The receiver: what the settings name is scraped, what discovery finds and loses followed."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import orjson
import pytest

from collectors.registry import RECEIVERS
from collectors.scrape import pursuit
from collectors.scrape.discovery import StaticDiscovery
from collectors.scrape.dns_records import DnsDiscovery
from collectors.scrape.loop import SOURCE
from collectors.settings import CollectorSettings, ScrapeSettings
from pipeline.errors import InvalidInput
from pipeline.model.ledger import Outcome
from pipeline.model.scrape import Scrape
from pipeline.model.topics import RAW_TELEMETRY
from tests.collectors.bench import Bench, running
from tests.collectors.scrape.dns_server import dns_server
from tests.collectors.scrape.exposer import Exposer, answer, exposing
from tests.collectors.scrape.pod_objects import istio_pod, linkerd_pod
from tests.collectors.scrape.pod_server import PodServer

pytestmark = pytest.mark.anyio

QUICK = {"interval_seconds": 0.3, "timeout_seconds": 0.3}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def server() -> AsyncIterator[Exposer]:
    async with exposing() as exposer:
        exposer.exposes(b"# TYPE a counter\na 1\n")
        yield exposer


async def scrapes(at: Bench) -> list[tuple[Scrape, bytes]]:
    """What is told of every scrape so far, and what was exposed."""
    told = []
    for message in await at.messages(RAW_TELEMETRY):
        head, _, rest = message.value.partition(b"\n")
        told.append((Scrape.of(head), rest))
    return told


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(15):
        while not await holds():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def until_told(at: Bench, service: str, *, times: int = 1) -> list[tuple[Scrape, bytes]]:
    """Wait for so many scrapes of a service."""

    async def of_it() -> list[tuple[Scrape, bytes]]:
        return [one for one in await scrapes(at) if one[0].resource["service.name"] == service]

    async def enough() -> bool:
        return len(await of_it()) >= times

    await until(enough)
    return await of_it()


async def test_nothing_named_is_nothing_scraped(tmp_path: Path) -> None:
    assert RECEIVERS["scrape"](None, CollectorSettings(), None) is None  # type: ignore[arg-type]
    async with running(tmp_path) as at:
        assert "scrape" not in at.collectors.addresses


async def test_named_targets_are_scraped_at_every_turn(tmp_path: Path, server: Exposer) -> None:
    named = (server.address, f"{server.url}/stats?usedonly")
    server.exposes(b"b 1\n", "/stats")
    async with running(tmp_path, scrape={"targets": named} | QUICK) as at:
        await until_told(at, "scrape", times=6)
        told = await scrapes(at)
        assert {rest for _, rest in told} == {b"# TYPE a counter\na 1\n", b"b 1\n"}
        assert all(about.up for about, _ in told)
        assert {about.resource["service.instance.id"] for about, _ in told} == {server.address}
        assert at.collectors.addresses["scrape"] == "scrape"
        assert at.count(SOURCE, "metric_points", Outcome.ACCEPTED) >= 6 * 4
    assert {asked.path for asked in server.asked} == {"/metrics", "/stats?usedonly="}


async def test_after_stopping_nobody_is_asked(tmp_path: Path, server: Exposer) -> None:
    async with running(tmp_path, scrape={"targets": (server.address,)} | QUICK) as at:
        await until_told(at, "scrape")
        await at.collectors.stop()
        asked = len(server.asked)
        await asyncio.sleep(0.7)
        assert len(server.asked) == asked
        assert all(about.up for about, _ in await scrapes(at))


async def test_targets_of_files_come_and_go(tmp_path: Path, server: Exposer) -> None:
    file = tmp_path / "targets.json"
    group = {"targets": [server.address], "labels": {"job": "cart", "team": "shop"}}
    file.write_bytes(orjson.dumps([group]))
    settings = {"files": (str(tmp_path / "*.json"),)} | QUICK
    async with running(tmp_path, scrape=settings) as at:
        ((about, _), *_) = await until_told(at, "cart")
        assert about.resource["team"] == "shop"
        file.unlink()

        async def has_ended() -> bool:
            return b"# meshweir stale up\n" in (await scrapes(at))[-1][1]

        await until(has_ended)
        about, rest = (await scrapes(at))[-1]
        assert (about.up, about.duration_seconds) == (False, None)
        assert rest.startswith(b"# TYPE a counter\n# meshweir stale a\n")


async def test_targets_of_dns_are_scraped(
    tmp_path: Path, server: Exposer, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "prometheus.yml"
    file.write_text(f"""
scrape_configs:
- job_name: meshweir
  dns_sd_configs:
  - {{names: [collector], type: A, port: {server.port}, refresh_interval: 100ms}}
  relabel_configs:
  - {{source_labels: [__meta_dns_name], target_label: role}}
  metric_relabel_configs:
  - {{source_labels: [role], target_label: told_by}}
""")
    async with dns_server() as names:
        names.records["collector.", "A"] = ["A 127.0.0.1"]
        asking = partial(DnsDiscovery, resolver=names.resolver)
        monkeypatch.setattr("collectors.scrape.jobs.DnsDiscovery", asking)
        async with running(tmp_path, scrape={"config_file": file} | QUICK) as at:
            ((about, rest), *_) = await until_told(at, "meshweir")
            assert about.resource["role"] == "collector"
            assert about.exposed == 1
            assert rest == b'# TYPE a counter\na{told_by="collector"} 1\n'
            names.records.clear()

            async def has_ended() -> bool:
                return b"# meshweir stale up\n" in (await scrapes(at))[-1][1]

            await until(has_ended)


async def test_a_prometheus_yml_is_followed(tmp_path: Path, server: Exposer) -> None:
    file = tmp_path / "prometheus.yml"
    (tmp_path / "token").write_text("t0ken")
    file.write_text(f"""
global: {{scrape_interval: 500ms, scrape_timeout: 500ms}}
scrape_configs:
- job_name: kong
  authorization: {{credentials_file: token}}
  static_configs: [{{targets: ["{server.address}"], labels: {{env: test}}}}]
- job_name: small
  sample_limit: 1
  static_configs: [{{targets: ["{server.address}"]}}]
  relabel_configs: [{{target_label: instance, replacement: relabelled}}]
- job_name: unwanted
  static_configs: [{{targets: ["{server.address}"]}}]
  relabel_configs: [{{source_labels: [job], regex: unwanted, action: drop}}]
""")
    server.exposes(b"a 1\nb 1\n")
    async with running(tmp_path, scrape={"config_file": file}) as at:
        kong, _ = (await until_told(at, "kong"))[0]
        small, _ = (await until_told(at, "small"))[0]
        assert kong.up
        assert kong.resource["env"] == "test"
        assert not small.up
        assert small.resource["service.instance.id"] == "relabelled"
        assert at.reasons(SOURCE, "metric_points")[Outcome.DROPPED, "too many samples"] >= 1
        services = {about.resource["service.name"] for about, _ in await scrapes(at)}
        assert services == {"kong", "small"}
    assert "Bearer t0ken" in {asked.headers.get("authorization") for asked in server.asked}


async def test_pods_of_a_cluster_are_scraped_as_what_they_are(
    tmp_path: Path, server: Exposer
) -> None:
    """Every pod here has the address of this machine; its ports are those of the server."""
    api = PodServer()
    api.serve_on(server, "shop")
    server.exposes(b"istio 1\n", "/stats/prometheus")
    cart = istio_pod(ip="127.0.0.1")
    cart["metadata"]["annotations"]["prometheus.io/port"] = str(server.port)
    cart["spec"]["initContainers"] = []
    web = linkerd_pod(ip="127.0.0.1")
    web["spec"]["containers"][0]["ports"][1]["containerPort"] = server.port
    api.put(cart)
    settings = {"kubernetes": server.url, "kubernetes_namespaces": ("shop",)} | QUICK
    async with running(tmp_path, scrape=settings) as at:
        about, rest = (await until_told(at, "cart"))[0]
        assert rest == b"istio 1\n"
        assert (
            about.resource.items()
            >= {
                "k8s.namespace.name": "shop",
                "k8s.pod.name": cart["metadata"]["name"],
                "k8s.deployment.name": "cart",
                "service.name": "cart",
                "service.version": "v2",
                "service.instance.id": server.address,
            }.items()
        )
        api.put(web)
        about, rest = (await until_told(at, "web"))[0]
        assert rest == b"# TYPE a counter\na 1\n"
        api.delete(cart["metadata"]["name"])

        async def has_ended() -> bool:
            return b"# meshweir stale istio\n# meshweir stale up\n" in {
                rest.partition(b"# meshweir stale scrape")[0] for _, rest in await scrapes(at)
            }

        await until(has_ended)


async def test_more_targets_than_allowed_are_left_alone_counted_and_logged(
    tmp_path: Path, server: Exposer, caplog: pytest.LogCaptureFixture
) -> None:
    named = tuple(f"{server.url}/metrics?n={number}" for number in range(30))
    settings = {"targets": named, "max_targets": 4} | QUICK
    async with running(tmp_path, scrape=settings) as at:
        await until_told(at, "scrape", times=8)
        await asyncio.sleep(0.8)
        reasons = at.reasons(SOURCE, "metric_points")
        assert reasons == {(Outcome.DROPPED, "target left alone: too many targets"): 26}
        told = [one.standing.error for one in at.collectors.targets()]
        assert told.count("left alone: too many targets") == 26
        assert len(told) == 30
    assert len({asked.path for asked in server.asked}) == 4
    assert len([one for one in caplog.records if "left alone" in one.message]) == 11


async def test_a_target_that_cannot_be_scraped_is_left_alone(
    tmp_path: Path, server: Exposer, caplog: pytest.LogCaptureFixture
) -> None:
    labels = {f"l{number}": "x" for number in range(20)}
    (tmp_path / "sd.json").write_bytes(
        orjson.dumps([
            {"targets": ["a/b", "me:s3cret@a"]},
            {"targets": [server.address], "labels": labels | {"job": "labels"}},
            {"targets": [server.address], "labels": {"job": "good"}},
        ])
    )  # fmt: skip
    settings = {"files": (str(tmp_path / "sd.json"),), "max_labels": 16} | QUICK
    async with running(tmp_path, scrape=settings) as at:
        await until_told(at, "good", times=3)
        assert at.reasons(SOURCE, "metric_points") == {
            (Outcome.DROPPED, "target left alone: malformed"): 2,
            (Outcome.DROPPED, "target left alone: too many labels"): 1,
        }
    assert "a/b" in caplog.text
    assert "s3cret" not in caplog.text


async def test_how_targets_stand_can_be_asked(tmp_path: Path, server: Exposer) -> None:
    server.answers["/broken"] = answer(b"", status=500)
    named = (server.address, f"{server.url}/broken")
    async with running(tmp_path, scrape={"targets": named} | QUICK) as at:
        await until_told(at, "scrape", times=6)
        told = {one.url: one for one in at.collectors.targets()}
        assert told[f"{server.url}/metrics"].instance == server.address
        assert told[f"{server.url}/metrics"].interval_seconds == 0.3
        good = told[f"{server.url}/metrics"].standing
        broken = told[f"{server.url}/broken"].standing
        assert (good.up, good.error, good.samples) == (True, "", 1)
        assert (broken.up, broken.error) == (False, "the server answered with status 500")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"targets": ("file:///etc/passwd",)}, "HOST:PORT"),
        ({"targets": ("http://me:s3cret@a/",)}, "without credentials"),
        ({"http_sd": ("ftp://a/",)}, "scrape_http_sd"),
        ({"kubernetes": "10.0.0.1"}, "scrape_kubernetes"),
        ({"config_file": "/no/such/prometheus.yml"}, "prometheus.yml"),
    ],
)
async def test_settings_that_make_no_sense_are_refused_at_start(
    tmp_path: Path, settings: dict[str, object], told: str
) -> None:
    with pytest.raises(InvalidInput, match=told) as refused:
        async with running(tmp_path, scrape=settings):
            pass
    assert "s3cret" not in str(refused.value)


async def test_a_target_in_a_configuration_is_refused_at_start_too(tmp_path: Path) -> None:
    file = tmp_path / "prometheus.yml"
    file.write_text(
        "scrape_configs: [{job_name: a, static_configs: [{targets: ['file:///etc/passwd']}]}]"
    )
    with pytest.raises(InvalidInput, match="HOST:PORT"):
        async with running(tmp_path, scrape={"config_file": file}):
            pass


async def test_the_names_of_own_jobs_are_taken(tmp_path: Path) -> None:
    file = tmp_path / "prometheus.yml"
    file.write_text("scrape_configs: [{job_name: scrape}]")
    with pytest.raises(InvalidInput, match="another name"):
        async with running(tmp_path, scrape={"config_file": file, "targets": ("a:1",)}):
            pass


async def test_a_discovery_that_fails_unforeseen_begins_again(
    tmp_path: Path,
    server: Exposer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    failing = iter([True])
    good = StaticDiscovery.run

    async def run(self: StaticDiscovery, tell: object) -> None:
        if next(failing, False):
            raise ZeroDivisionError
        await good(self, tell)  # type: ignore[arg-type]

    monkeypatch.setattr(StaticDiscovery, "run", run)
    monkeypatch.setattr(pursuit, "FAILURE_PAUSE", 0.05)
    with caplog.at_level(logging.ERROR):
        async with running(tmp_path, scrape={"targets": (server.address,)} | QUICK) as at:
            await until_told(at, "scrape")
    assert "failed unforeseen" in caplog.text


def test_settings_are_off_by_default() -> None:
    assert not ScrapeSettings().asked_for
