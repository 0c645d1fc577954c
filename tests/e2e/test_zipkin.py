"""Real Envoys trace by Zipkin, in JSON and in protobuf, and the graph is that of the calls."""

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from api.demo.processes import find_program
from tests.e2e.process import ask
from tests.e2e.up import Up

ENVOY = find_program("envoy")
TYPE = "type.googleapis.com/envoy."
CALLS = 12
FAILED_FIRST = 4
"""Every how manyth call the application refuses the first attempt of."""

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(ENVOY is None, reason="envoy is not installed (extra `demo`)"),
]


def free_port() -> int:
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def address(port: int) -> dict:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def cluster(name: str, port: int) -> dict:
    endpoint = {"endpoint": {"address": address(port)}}
    return {
        "name": name,
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def proxy(service: str, listens: int, upstream: tuple[str, int], zipkin: int, how: dict) -> dict:
    """A proxy in front of an upstream; with ``egress`` it is its caller's, else its callee's."""
    egress = how.pop("direction") == "OUTBOUND"
    retries = {"retry_policy": {"retry_on": "5xx", "num_retries": 2}} if egress else {}
    manager = {
        "@type": TYPE + "extensions.filters.network.http_connection_manager.v3"
        ".HttpConnectionManager",
        "stat_prefix": service,
        "generate_request_id": True,
        "tracing": {
            "provider": {
                "name": "envoy.tracers.zipkin",
                "typed_config": {
                    "@type": TYPE + "config.trace.v3.ZipkinConfig",
                    "collector_cluster": "zipkin",
                    "collector_endpoint": "/api/v2/spans",
                    **how,
                },
            }
        },
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [
                        {"match": {"prefix": "/"}, "route": {"cluster": upstream[0], **retries}}
                    ],
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
    listener = {
        "name": service,
        "traffic_direction": "OUTBOUND" if egress else "INBOUND",
        "address": address(listens),
        "filter_chains": [chain],
    }
    return {
        "node": {"id": f"sidecar~{service}", "cluster": service},
        "static_resources": {
            "listeners": [listener],
            "clusters": [cluster(*upstream), cluster("zipkin", zipkin)],
        },
        "layered_runtime": {
            "layers": [{"name": "test", "static_layer": {"tracing.zipkin.flush_interval_ms": 200}}]
        },
    }


class Application(BaseHTTPRequestHandler):
    """The callee: it refuses the first attempt of some calls."""

    seen: set[str]

    def do_GET(self) -> None:
        """Answer, at a second attempt always with 200."""
        first = self.path not in self.seen
        self.seen.add(self.path)
        number = int(self.path.rpartition("/")[2])
        self.send_response(503 if first and number % FAILED_FIRST == 0 else 200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def application() -> Iterator[int]:
    handler = type("Here", (Application,), {"seen": set()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture
def envoys(tmp_path: Path) -> Iterator[list[subprocess.Popen]]:
    running: list[subprocess.Popen] = []
    yield running
    for one in running:
        one.kill()
        one.wait(30)


def start(directory: Path, name: str, config: dict) -> subprocess.Popen:
    path = directory / f"{name}.json"
    path.write_text(json.dumps(config))
    return subprocess.Popen(
        [ENVOY, "-c", path, "--use-dynamic-base-id", "--concurrency", "1", "--log-level", "off"],
        env={**os.environ},
    )


def call(port: int, path: str) -> int:
    deadline = time.monotonic() + 60
    while True:
        try:
            with closing(HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
                connection.request("GET", path)
                return connection.getresponse().status
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@pytest.mark.parametrize("shared", [True, False], ids=["shared ids", "ids of their own"])
def test_the_graph_of_envoys_that_trace_by_zipkin(
    tmp_path: Path, application: int, envoys: list[subprocess.Popen], shared: bool
) -> None:
    up = Up(tmp_path / "data", "--zipkin-address", f"127.0.0.1:{(zipkin := free_port())}")
    front, back = free_port(), free_port()
    common = {"trace_id_128bit": True, "shared_span_context": shared}
    shop = {**common, "direction": "OUTBOUND", "collector_endpoint_version": "HTTP_JSON"}
    cart = {**common, "direction": "INBOUND", "collector_endpoint_version": "HTTP_PROTO"}
    try:
        envoys += [
            start(tmp_path, "shop", proxy("shop", front, ("cart", back), zipkin, shop)),
            start(tmp_path, "cart", proxy("cart", back, ("app", application), zipkin, cart)),
        ]
        call(back, "/warm/1")  # both are there
        for number in range(CALLS):
            assert call(front, f"/cart/{number}") == 200
        attempts = CALLS + CALLS // FAILED_FIRST
        flow = up.wait(lambda: stored(up, CALLS + attempts + 1))
        assert flow, ask(f"{up.api}/v1/ingest").body
        edge = up.wait(lambda: told(up, CALLS, attempts))
        assert edge, up.graph()
        reporters = {one["reporter"]: one["requests"] for one in edge["reporters"]}
        assert reporters == {"client_proxy": CALLS, "server_proxy": CALLS}
    finally:
        for one in envoys:
            one.send_signal(signal.SIGTERM)
        up.stop()


def stored(up: Up, spans: int) -> bool:
    """Whether so many spans came by Zipkin and are in the store, and none was refused."""
    for flow in ask(f"{up.api}/v1/ingest").json["items"]:
        if flow["source"] == "zipkin":
            assert not flow["rejected"], flow
            assert not flow["quarantined"], flow
            return flow["stored"] == spans
    return False


def told(up: Up, requests: int, attempts: int) -> dict | None:
    """The edge between the two, once it has so many."""
    for edge in up.graph()["edges"]:
        if (edge["client"], edge["server"]) == ("shop", "cart"):
            whole = (edge["requests"], edge["attempts"]) == (requests, attempts)
            return edge if whole else None
    return None
