"""The mesh alone, with a sink in Meshweir's place: it does what it declares, and tells it."""

import asyncio
import json
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import grpc.aio
import httpx
import pytest
from envoy.service.accesslog.v3 import als_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from api.demo import running
from api.demo.envoy import STATS_PATH, Address
from api.demo.mesh import MESH, Truth, truth, visits
from api.demo.processes import find_program
from api.demo.running import DemoFailed, running_mesh
from api.demo.scraping import targets_file

SERVER, CLIENT = 2, 3

needs_envoy = pytest.mark.skipif(
    find_program("envoy") is None, reason="envoy is not installed (extra `demo`)"
)


@dataclass
class Sink(grpc.GenericRpcHandler):
    """Takes OTLP traces and access logs, and counts what they tell."""

    spans: Counter[tuple[str, int]] = field(default_factory=Counter)
    applications: Counter[tuple[str, int]] = field(default_factory=Counter)
    entries: Counter[tuple[str, str]] = field(default_factory=Counter)
    plain: Counter[str] = field(default_factory=Counter)

    def service(self, details):  # noqa: D102 - of the base class
        if details.method.endswith("TraceService/Export"):
            return grpc.unary_unary_rpc_method_handler(self._take_spans)
        if details.method.endswith("/StreamAccessLogs"):
            return grpc.stream_unary_rpc_method_handler(self._take_entries)
        return grpc.unary_unary_rpc_method_handler(self._ignore)

    async def _ignore(self, *_):
        return b""

    async def _take_spans(self, body: bytes, _) -> bytes:
        request = trace_service_pb2.ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            told = {a.key: a.value.string_value for a in resource.resource.attributes}
            for scope in resource.scope_spans:
                by_application = scope.scope.name == "meshweir.demo"
                spans = self.applications if by_application else self.spans
                for span in scope.spans:
                    spans[told["service.name"], span.kind] += 1
        return b""

    async def _take_entries(self, bodies: AsyncIterator[bytes], _) -> bytes:
        log = ("", "")
        async for body in bodies:
            message = als_pb2.StreamAccessLogsMessage.FromString(body)
            if message.HasField("identifier"):
                log = (message.identifier.node.cluster, message.identifier.log_name)
            for entry in message.http_logs.log_entry:
                self.entries[log] += 1
                tls = entry.common_properties.tls_properties
                if not tls.peer_certificate_properties.subject_alt_name:
                    self.plain[log[1]] += 1
        return b""


@dataclass
class Told:
    """What a finished run left behind."""

    sink: Sink
    edges: dict[tuple[str, str], Truth]
    asked: Counter
    served: Counter
    failed: int
    unanswered: int
    statuses: dict[str, set[int]]
    expositions: dict[str, str]


async def ask_proxies(directory: Path) -> tuple[dict[str, set[int]], dict[str, str]]:
    """What the proxies answer where they are scraped, and there to other questions."""
    statuses: dict[str, set[int]] = {}
    expositions = {}
    async with httpx.AsyncClient() as client:
        for target in json.loads(targets_file(directory).read_text()):
            [address], labels = target["targets"], target["labels"]
            paths = [STATS_PATH, "/config_dump", "/quitquitquit", "/"]
            for path in paths:
                answer = await client.get(f"http://{address}{path}")
                statuses.setdefault(path, set()).add(answer.status_code)
                if path == paths[0]:
                    expositions[labels["k8s.deployment.name"]] = answer.text
    return statuses, expositions


async def one_run(directory: Path) -> Told:
    sink = Sink()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((sink,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with running_mesh(
            MESH, telemetry=Address(port), directory=directory, limit=24, pace=2.0
        ) as mesh:
            await mesh.load.run(asyncio.Event())
            mesh.check()
            edges = truth(MESH, mesh.load.asked)
            requests = mesh.load.asked.total()
            # each call is told by both sides, except of consumers; the gateway logs its two as one
            spans = sum(edge.requests + edge.attempts for edge in edges.values()) - requests
            # an application tells of what it calls and of what it serves, the gateway has none
            wanted = spans + (spans - requests) + (spans - 2 * requests)
            for _ in range(100):
                told = sink.spans.total() + sink.entries.total() + sink.applications.total()
                if told >= wanted:
                    break
                await asyncio.sleep(0.1)
            statuses, expositions = await ask_proxies(directory)
        load = mesh.load
        return Told(
            sink, edges, load.asked, mesh.services.served, load.failed.total(), load.unanswered,
            statuses, expositions,
        )  # fmt: skip
    finally:
        await server.stop(1)


@pytest.fixture(scope="module")
def told() -> Told:
    if find_program("envoy") is None:
        pytest.skip("envoy is not installed (extra `demo`)")
    with tempfile.TemporaryDirectory(prefix="mw-") as name:
        return asyncio.run(one_run(Path(name)))


def test_every_request_is_answered_and_served_as_declared(told):
    assert told.unanswered == 0
    assert told.asked.total() == 24 * len(MESH.consumers)
    assert told.served == visits(MESH, told.asked)
    [entry] = [edge for ends, edge in told.edges.items() if ends.client == "clients"]
    assert told.failed == entry.server_errors > 0


def test_the_client_side_logs_a_request_once_and_the_server_side_each_attempt(told):
    for service in MESH.services:
        node = MESH.node(service.name)
        called = sum(edge.attempts for ends, edge in told.edges.items() if ends.server == node)
        calls = sum(edge.requests for ends, edge in told.edges.items() if ends.client == node)
        assert told.sink.entries[service.name, "inbound"] == called
        assert told.sink.entries[service.name, "outbound"] == calls
        assert told.sink.spans[service.name, SERVER] == called
        assert told.sink.spans[service.name, CLIENT] == calls
        assert told.sink.applications[service.name, SERVER] == called
        assert told.sink.applications[service.name, CLIENT] == calls


def test_what_is_scraped_counts_every_attempt(told):
    for (name, version), served in told.served.items():
        exposition = told.expositions[f"{name}-{version}"]
        assert (
            f'envoy_cluster_upstream_rq_total{{envoy_cluster_name="inbound"}} {served}\n'
            in exposition
        )
    assert len(told.expositions) == len(list(MESH.instances())) + 1


def test_nothing_but_metrics_can_be_asked_where_a_proxy_is_scraped(told):
    assert told.statuses.pop("/stats/prometheus") == {200}
    assert set(map(frozenset, told.statuses.values())) == {frozenset({404})}


def test_the_gateway_tells_of_both_of_its_sides(told):
    requests = told.asked.total()
    assert told.sink.entries[MESH.gateway, "gateway"] == requests
    assert told.sink.spans[MESH.gateway, SERVER] == requests
    assert told.sink.spans[MESH.gateway, CLIENT] == requests


def test_every_call_between_sidecars_shows_a_certificate(told):
    assert told.sink.plain["inbound"] == 0
    assert told.sink.plain["gateway"] == told.asked.total()


@needs_envoy
def test_an_envoy_that_does_not_start_is_named_with_its_last_words(short_directory, monkeypatch):
    configurations = running.lay_out

    def broken(mesh, **places):
        layout = configurations(mesh, **places)
        layout.configurations["cart-v1"]["no_such_field"] = True
        return layout

    monkeypatch.setattr(running, "lay_out", broken)

    async def scenario() -> None:
        async with running_mesh(MESH, telemetry=Address(1), directory=short_directory):
            pytest.fail("it started")

    with pytest.raises(DemoFailed, match=r"cart-v1 did not start.*no_such_field"):
        asyncio.run(scenario())


def test_a_missing_envoy_is_refused_with_what_to_install(short_directory, monkeypatch):
    monkeypatch.setattr(running, "find_program", lambda _: None)

    async def scenario() -> None:
        async with running_mesh(MESH, telemetry=Address(1), directory=short_directory):
            pytest.fail("it started")

    with pytest.raises(DemoFailed, match=r"pip install 'meshweir\[demo\]'"):
        asyncio.run(scenario())
