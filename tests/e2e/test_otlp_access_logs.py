"""Real Envoys send their access logs by OTLP, and the graph is that of their calls."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from api.demo.processes import find_program
from tests.e2e.process import ask as get
from tests.e2e.test_envoy_lines import address, ask, free_port, listener
from tests.e2e.up import Up

ENVOY = find_program("envoy")
PAGE = Path(__file__).parents[2] / "docs/systems/envoy.md"
CALLS = 9

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(ENVOY is None, reason="envoy is not installed (extra `demo`)"),
]


def documented() -> tuple[dict, dict]:
    """The loggers of the page: with a line in the body, and with operators as attributes."""
    section = PAGE.read_text().partition("## Sent by OTLP")[2]
    line, operators = (
        yaml.safe_load(block.partition("```")[0])["access_log"][0]
        for block in section.split("```yaml\n")[1:3]
    )
    return line, operators


def named(logger: dict, log_name: str) -> dict:
    typed = {**logger["typed_config"], "log_name": log_name, "buffer_flush_interval": "0.2s"}
    return {**logger, "typed_config": typed}


def cluster(name: str, port: int, *, http2: bool = False) -> dict:
    told = {
        "name": name,
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(port)}}]}],
        },
    }
    if http2:
        options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
        told["typed_extension_protocol_options"] = {
            options: {
                "@type": f"type.googleapis.com/{options}",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        }
    return told


def start(folder: Path, service: str, listeners: list[dict], clusters: list[dict]):
    node = {"id": f"sidecar~10.0.0.1~{service}-0.shop~shop.svc.cluster.local"}
    node |= {"cluster": f"{service}.shop"}
    path = folder / f"{service}.json"
    resources = {"listeners": listeners, "clusters": clusters}
    path.write_text(json.dumps({"node": node, "static_resources": resources}))
    return subprocess.Popen(
        [ENVOY, "-c", path, "--use-dynamic-base-id", "--concurrency", "1", "--log-level", "off"],
        env={**os.environ},
    )


@pytest.fixture
def envoys() -> Iterator[list[subprocess.Popen]]:
    running: list[subprocess.Popen] = []
    yield running
    for one in running:
        one.kill()
        one.wait(30)


def test_the_graph_of_envoys_that_log_by_otlp(tmp_path: Path, envoys) -> None:
    line, operators = documented()
    up = Up(tmp_path / "data")
    try:
        telemetry = cluster("meshweir", int(up.grpc.rpartition(":")[2]), http2=True)
        front, back, application = free_port(), free_port(), free_port()
        answer = {"match": {"prefix": "/"}, "direct_response": {"status": 200}}
        to_app = {"match": {"prefix": "/"}, "route": {"cluster": "application"}}
        to_cart = {"match": {"prefix": "/"}, "route": {"cluster": "cart"}}
        envoys.append(
            start(
                tmp_path,
                "cart",
                [
                    listener("application", application, [answer], []),
                    listener("back", back, [to_app], [named(operators, "inbound")]),
                ],
                [cluster("application", application), telemetry],
            )
        )
        envoys.append(
            start(
                tmp_path,
                "web",
                [listener("front", front, [to_cart], [named(line, "outbound")])],
                [cluster("cart", back), telemetry],
            )
        )
        ask(back, "/warm")  # the server's proxy is there
        for number in range(CALLS):
            ask(front, f"/cart/{number}?token=abc")
        assert up.wait(lambda: edge(up)), (up.graph(), get(f"{up.api}/v1/ingest").body)
        reporters = {one["reporter"]: one["requests"] for one in edge(up)["reporters"]}
        assert reporters == {"client_proxy": CALLS, "server_proxy": CALLS}
    finally:
        for one in envoys:
            one.send_signal(signal.SIGTERM)
        up.stop()


def edge(up: Up) -> dict | None:
    """The edge between the two, once both sides told all of it."""
    for one in up.graph()["edges"]:
        if (one["client"], one["server"]) == ("shop/web", "shop/cart"):
            told = [reporter["requests"] for reporter in one["reporters"]]
            return one if told == [CALLS, CALLS] else None
    return None
