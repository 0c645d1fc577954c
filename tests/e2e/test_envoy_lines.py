"""A real Envoy writes the access logs that the page about Envoy has it write, and they are read."""

import json
import os
import signal
import socket
import subprocess
import time
from http.client import HTTPConnection
from pathlib import Path

import pytest
import yaml

from api.demo.processes import find_program
from tests.pipeline.decode.line_rows import decoded_lines

ENVOY = find_program("envoy")
PAGE = Path(__file__).parents[2] / "docs/systems/envoy.md"
TRACE = "0af7651916cd43dd8448eb211c80319c"

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(ENVOY is None, reason="envoy is not installed (extra `demo`)"),
]


def documented() -> tuple[dict, dict]:
    """The logger of the page, as text and with the JSON format of the page."""
    blocks = PAGE.read_text().split("```yaml\n")[1:]
    (text,) = yaml.safe_load(blocks[0].partition("```")[0])["access_log"]
    log_format = yaml.safe_load(blocks[1].partition("```")[0])
    typed = {**text["typed_config"], **log_format}
    return text, {**text, "typed_config": typed}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def address(port: int) -> dict:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def listener(name: str, port: int, routes: list[dict], access_log: list[dict]) -> dict:
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager"
        ".v3.HttpConnectionManager",
        "stat_prefix": name,
        "access_log": access_log,
        "route_config": {"virtual_hosts": [{"name": name, "domains": ["*"], "routes": routes}]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
                },
            }
        ],
    }
    chain = {"filters": [{"name": "envoy.http_connection_manager", "typed_config": manager}]}
    return {"name": name, "address": address(port), "filter_chains": [chain]}


@pytest.fixture(scope="module")
def logs(tmp_path_factory) -> tuple[Path, Path, int]:
    """What Envoy logged of two requests through it, one of them to nobody: text and JSON."""
    folder = tmp_path_factory.mktemp("envoy")
    text, as_json = documented()
    front, back, nobody = free_port(), free_port(), free_port()
    files = folder / "text.log", folder / "json.log"
    for one, path in zip((text, as_json), files, strict=True):
        one["typed_config"] = {**one["typed_config"], "path": str(path)}
    answer = {"match": {"prefix": "/"}, "direct_response": {"status": 200}}
    answer["direct_response"]["body"] = {"inline_string": "hello"}
    routes = [
        {"match": {"prefix": "/gone"}, "name": "lost", "route": {"cluster": "nobody"}},
        {"match": {"prefix": "/"}, "name": "found", "route": {"cluster": "somebody"}},
    ]
    clusters = [
        {"name": name, "load_assignment": {"cluster_name": name, "endpoints": [
            {"lb_endpoints": [{"endpoint": {"address": address(port)}}]}]}}
        for name, port in (("somebody", back), ("nobody", nobody))
    ]  # fmt: skip
    listeners = [listener("back", back, [answer], []),
                 listener("front", front, routes, [text, as_json])]  # fmt: skip
    config = folder / "envoy.json"
    config.write_text(
        json.dumps({"static_resources": {"listeners": listeners, "clusters": clusters}})
    )
    envoy = subprocess.Popen(
        [ENVOY, "-c", config, "--use-dynamic-base-id", "--concurrency", "1", "--log-level", "off"],
        env={**os.environ},
    )
    try:
        ask(front, "/cart/42?token=abc")
        ask(front, "/gone")
        envoy.send_signal(signal.SIGTERM)
        envoy.wait(30)
    finally:
        envoy.kill()
        envoy.wait(30)
    return *files, back


def ask(port: int, path: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            headers = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01", "user-agent": 'say "hi"'}
            connection.request("GET", path, headers=headers)
            connection.getresponse().read()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return
        finally:
            connection.close()


def test_text_and_json_tell_the_same(logs) -> None:
    text, as_json, back = logs
    by_text = decoded_lines("envoy_text", text.read_bytes())
    by_json = decoded_lines("envoy_json", as_json.read_bytes())
    assert len(by_text) == len(by_json) == 2
    for one, other in zip(by_text, by_json, strict=True):
        told = set(one) & set(other) - {"attributes", "log_type"}  # only JSON is asked for it
        assert {name: one[name] for name in told} == {name: other[name] for name in told}
        assert one["protocol"] == "http"
        assert one["user_agent"] == 'say "hi"'
    found, lost = by_json
    assert found["url_path"] == "/cart/42"
    assert found["upstream_cluster"] == "somebody"
    assert found["upstream_remote_address"] == f"127.0.0.1:{back}"
    assert found["response_bytes"] == 5
    assert found["log_type"] == 6
    assert f"{found['trace_id_high']:016x}{found['trace_id_low']:016x}" == TRACE
    assert (found["attempt_count"], found["route_name"]) == (1, "found")
    assert (lost["http_response_status_code"], lost["response_flags"]) == (503, "UF")
