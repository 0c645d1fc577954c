"""Targets out of DNS, asked of a real server; and what stays when it does not know."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import dns.name
import dns.rcode
import pytest
import uvloop
from pydantic import ValidationError

from collectors.scrape import dns_records
from collectors.scrape.config import DnsSd, read_config
from collectors.scrape.dns_records import DnsDiscovery, DnsUnclear, candidates, lookup
from collectors.scrape.target import target_of
from pipeline.errors import InvalidInput
from tests.collectors.scrape.dns_server import SILENT, DnsServer, dns_server
from tests.collectors.scrape.test_discovery import Heard, heard

pytestmark = pytest.mark.anyio

DEPLOYED = Path(__file__).parents[3] / "deploy" / "prometheus" / "prometheus.yml"
ADDRESSES = ["A 10.0.0.1", "A 10.0.0.2"]


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@pytest.fixture
async def server() -> AsyncIterator[DnsServer]:
    async with dns_server() as running:
        yield running


def finding(server: DnsServer, names: list[str], kind: str, **more: object) -> DnsDiscovery:
    told = {"names": names, "type": kind, "port": 8080, "refresh_interval": 0.05} | more
    return DnsDiscovery(DnsSd.model_validate(told), server.resolver)


@pytest.mark.parametrize(
    ("kind", "records", "addresses", "labels"),
    [
        ("A", ADDRESSES, ["10.0.0.1:8080", "10.0.0.2:8080"], {}),
        ("a", ["CNAME real.shop.", *ADDRESSES], ["10.0.0.1:8080", "10.0.0.2:8080"], {}),
        ("AAAA", ["AAAA 2001:db8::7"], ["[2001:db8::7]:8080"], {}),
        ("SRV", ["SRV 0 0 9091 cart-1.shop."], ["cart-1.shop:9091"],
         {"__meta_dns_srv_record_target": "cart-1.shop.", "__meta_dns_srv_record_port": "9091"}),
        ("MX", ["MX 10 mail.shop."], ["mail.shop:8080"],
         {"__meta_dns_mx_record_target": "mail.shop."}),
        ("NS", ["NS ns.shop."], ["ns.shop:8080"], {"__meta_dns_ns_record_target": "ns.shop."}),
    ],
)  # fmt: skip
async def test_records_are_targets(
    server: DnsServer, kind: str, records: list[str], addresses: list[str], labels: dict[str, str]
) -> None:
    server.records["cart.shop.", kind.upper()] = records
    async with heard(finding(server, ["cart.shop."], kind)) as told:
        await told.until(addresses)
    first = {"__address__": addresses[0], "__meta_dns_name": "cart.shop.", **labels}
    assert told.labels[0] == first
    assert isinstance(asyncio.get_running_loop(), uvloop.Loop | asyncio.SelectorEventLoop)


async def test_names_are_followed_each_for_itself(server: DnsServer) -> None:
    server.records["a.", "A"] = ["A 10.0.0.1"]
    server.records["b.", "A"] = ["A 10.0.1.1"]
    async with heard(finding(server, ["a.", "b."], "A")) as told:
        await told.until(["10.0.0.1:8080", "10.0.1.1:8080"])
        server.records["a.", "A"] = ADDRESSES
        await told.until(["10.0.0.1:8080", "10.0.0.2:8080", "10.0.1.1:8080"])
        server.records["b.", "A"] = []
        await told.until(["10.0.0.1:8080", "10.0.0.2:8080"])


async def test_a_name_that_exists_no_more_has_no_targets(server: DnsServer) -> None:
    server.records["a.", "A"] = ADDRESSES
    async with heard(finding(server, ["a."], "A")) as told:
        await told.until(["10.0.0.1:8080", "10.0.0.2:8080"])
        server.records.clear()
        await told.until([])


@pytest.mark.parametrize("failure", [SILENT, dns.rcode.SERVFAIL, dns.rcode.REFUSED])
async def test_while_no_server_knows_the_last_targets_stay(
    server: DnsServer,
    failure: str | dns.rcode.Rcode,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dns_records, "_SERVER_SECONDS", 0.1)
    server.records["a.", "A"] = ADDRESSES
    with caplog.at_level(logging.INFO):
        async with heard(finding(server, ["a."], "A")) as told:
            await told.until(["10.0.0.1:8080", "10.0.0.2:8080"])
            server.records["a.", "A"] = failure
            asked = len(server.asked)
            async with asyncio.timeout(10):
                while len(server.asked) < asked + 4:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            await told.until(["10.0.0.1:8080", "10.0.0.2:8080"])
            server.records["a.", "A"] = ["A 10.0.0.3"]
            await told.until(["10.0.0.3:8080"])
    warning, again = (one.message for one in caplog.records if one.name.startswith("collectors"))
    assert "the A records of a.: a.: 127.0.0.1" in warning
    assert "stays" in warning
    assert "again" in again


async def test_without_a_resolv_conf_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    def nobody() -> None:
        raise DnsUnclear("no resolv.conf that can be read")

    config = DnsSd(names=("a",), type="A", port=1, refresh_interval=0.05)
    async with heard(DnsDiscovery(config, nobody)):  # type: ignore[arg-type]
        await asyncio.sleep(0.2)
    assert len(caplog.records) == 1


async def test_the_next_server_is_asked_when_one_is_not_there(server: DnsServer) -> None:
    server.records["a.", "A"] = ADDRESSES
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.2", server.port))
        resolver = server.resolver("127.0.0.2", "127.0.0.1")
        answer = await lookup(dns.name.from_text("a."), "A", resolver)
    assert answer is not None
    assert len(answer.answer[0]) == 2


async def test_an_answer_that_is_long_is_asked_for_over_tcp(server: DnsServer) -> None:
    server.records["a.", "A"] = [f"A 10.0.{n // 200}.{n % 200 + 1}" for n in range(1000)]
    async with heard(finding(server, ["a."], "A")) as told:
        async with asyncio.timeout(10):
            while not told.groups:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    assert len(told.groups["a."]) == 1000
    assert server.asked[:2] == ["a. A UDP", "a. A TCP"]


async def test_a_short_name_is_looked_for_in_search_domains(server: DnsServer) -> None:
    server.records["cart.shop.svc.", "A"] = ADDRESSES
    resolver = server.resolver(search=("x.svc.", "shop.svc."), ndots=2)
    assert await lookup(dns.name.from_text("cart", None), "A", resolver) is not None
    assert server.asked == ["cart.x.svc. A UDP", "cart.shop.svc. A UDP"]
    assert await lookup(dns.name.from_text("nobody", None), "A", resolver) is None
    server.records["nobody.x.svc.", "A"] = dns.rcode.SERVFAIL
    with pytest.raises(DnsUnclear, match="SERVFAIL"):
        await lookup(dns.name.from_text("nobody", None), "A", resolver)


@pytest.mark.parametrize(
    ("name", "ndots", "asked"),
    [
        ("a.", 5, ["a."]),
        ("a", 1, ["a.s.", "a."]),
        ("a.b", 1, ["a.b.", "a.b.s."]),
        ("a.b", 2, ["a.b.s.", "a.b."]),
    ],
)
async def test_names_with_few_dots_are_looked_for_in_search_domains_first(
    server: DnsServer, name: str, ndots: int, asked: list[str]
) -> None:
    resolver = server.resolver(search=("s.",), ndots=ndots)
    told = candidates(dns.name.from_text(name, None), resolver)
    assert [one.to_text() for one in told] == asked


async def test_the_prometheus_yml_of_the_deployment_is_followed(server: DnsServer) -> None:
    jobs = {job.job_name: job for job in read_config(DEPLOYED)}
    (config,) = jobs["meshweir"].dns_sd_configs
    for number, name in enumerate(config.names):
        server.records[f"{name}.", "A"] = [f"A 10.0.0.{number}"]
    told = Heard()
    discovery = DnsDiscovery(config, lambda: server.resolver(search=("nowhere.",)))
    for name in config.names:
        await discovery._look(name, told.tell)
    roles = set()
    for source, addresses in told.groups.items():
        assert len(addresses) == 1
        (found,) = [one for one in told.found if one.labels["__meta_dns_name"] == source]
        target = target_of(found, jobs["meshweir"], interval=15, timeout=10)
        assert target is not None
        assert target.url == f"http://{addresses[0]}/metrics"
        roles.add(dict(target.resource)["role"])
    assert roles == {"collector", "worker", "api"}


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"names": ["a"], "type": "A"}, "a port"),
        ({"names": []}, "at least 1"),
        ({"names": ["a"], "type": "TXT"}, "'SRV'"),
        ({"names": ["a"], "type": "A", "port": 70_000}, "65535"),
    ],
)
def test_what_cannot_be_asked_is_refused(told: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        DnsSd.model_validate(told)


def test_what_is_no_name_is_refused() -> None:
    with pytest.raises(InvalidInput, match="names of DNS"):
        DnsDiscovery(DnsSd(names=("a..b",)))
