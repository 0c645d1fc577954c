"""``meshweir up``: what it prints, when it is ready, how it stops."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx2 as httpx
import orjson
import pytest

from tests.api.test_cli import ROOT, meshweir

PATIENCE = 120
"""Seconds; the first start compiles the decoders."""


class Running:
    """A ``meshweir up`` on ports of the system's choice."""

    def __init__(self, data, *arguments, **environment):
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith("MESHWEIR_")
        }
        free = "127.0.0.1:0"
        command = [
            sys.executable, "-m", "api", "up", "--data", str(data), "--api-address", free,
            "--otlp-grpc-address", free, "--otlp-http-address", free, *arguments,
        ]  # fmt: skip
        with (data.parent / "stderr").open("wb") as errors:
            self.process = subprocess.Popen(
                command,
                env=clean | {"PYTHONPATH": str(ROOT)} | environment,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self.lines = [self.process.stdout.readline().strip() for _ in range(3)]
        if not all(self.lines):
            pytest.fail((data.parent / "stderr").read_text())
        self.api, self.otlp_grpc, self.otlp_http = (line.split()[1] for line in self.lines)

    def stop(self, number=signal.SIGTERM):
        """Send a signal and wait; returns the exit code."""
        self.process.send_signal(number)
        try:
            return self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.process.stdout.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    made = Running(tmp_path_factory.mktemp("up") / "data")
    yield made
    if made.process.poll() is None:
        made.stop()


def otlp_request(trace, *, name="cart", seconds_ago=1.0):
    at = int((time.time() - seconds_ago) * 1e9)
    return {
        "resourceSpans": [
            {
                "resource": {
                    "attributes": [{"key": "service.name", "value": {"stringValue": name}}]
                },
                "scopeSpans": [
                    {
                        "spans": [
                            {
                                "traceId": f"{trace:032x}",
                                "spanId": f"{trace:016x}",
                                "name": "GET /",
                                "kind": 2,
                                "startTimeUnixNano": str(at),
                                "endTimeUnixNano": str(at + 5_000_000),
                            }
                        ]
                    }
                ],
            }
        ]
    }


def until(look, wanted):
    """Ask again and again until the answer is the one wanted."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = look()
        if found == wanted:
            return
        time.sleep(0.1)
    pytest.fail(f"found {found}, wanted {wanted}")


def test_each_listener_is_a_line_with_its_real_port(running):
    api, grpc, http = running.lines
    assert re.fullmatch(r"API http://127\.0\.0\.1:[1-9]\d*", api)
    assert re.fullmatch(r"OTLP/gRPC 127\.0\.0\.1:[1-9]\d*", grpc)
    assert re.fullmatch(r"OTLP/HTTP http://127\.0\.0\.1:[1-9]\d*", http)


def test_it_is_ready_when_it_says_so(running):
    assert httpx.get(f"{running.api}/readyz").status_code == 200
    assert httpx.get(f"{running.api}/livez").status_code == 200


def test_what_is_acknowledged_becomes_visible(running):
    for trace in range(1, 6):
        answer = httpx.post(f"{running.otlp_http}/v1/traces", json=otlp_request(trace))
        assert answer.status_code == 200, answer.text

    def requests():
        body = httpx.get(f"{running.api}/v1/graph").json()
        return [(edge["client"], edge["server"], edge["requests"]) for edge in body["edges"]]

    until(requests, [("clients", "cart", 5)])
    (flow,) = httpx.get(f"{running.api}/v1/ingest").json()["items"]
    assert (flow["received"], flow["accepted"], flow["stored"]) == (5, 5, 5)
    assert flow["lag_seconds"] == 0
    assert flow["watermark"] is not None
    metrics = httpx.get(f"{running.api}/metrics").text
    assert 'outcome="stored"} 5' in metrics
    assert re.search(r"^meshweir_bus_bytes_allowed \d+$", metrics, re.MULTILINE)
    trace = httpx.get(f"{running.api}/v1/traces/{3:032x}").json()
    assert trace["items"][0]["service"] == "cart"


def test_the_command_line_asks_it(running):
    ended = meshweir("graph", "--url", running.api)
    assert ended.returncode == 0, ended.stderr
    assert b"clients" in ended.stdout


def test_its_data_directory_is_in_use_and_says_where_to_ask(running):
    data = Path(running.process.args[running.process.args.index("--data") + 1])
    ended = meshweir("graph", "--data", data)
    assert ended.returncode == 1
    assert f"--url {running.api}".encode() in ended.stderr
    assert orjson.loads((data / "running.json").read_bytes())["pid"] == running.process.pid


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_it_stops_cleanly_and_keeps_what_it_took(tmp_path, number, code):
    data = tmp_path / "data"
    first = Running(data)
    answer = httpx.post(f"{first.otlp_http}/v1/traces", json=otlp_request(7))
    assert answer.status_code == 200
    assert first.stop(number) == code, (tmp_path / "stderr").read_text()
    assert "Traceback" not in (tmp_path / "stderr").read_text()
    assert not (data / "running.json").exists()
    again = Running(data)
    try:
        until(
            lambda: len(httpx.get(f"{again.api}/v1/graph").json()["edges"]),
            1,
        )
    finally:
        again.stop()


def test_a_port_in_use_ends_with_1_and_the_reason(running, tmp_path):
    taken = running.api.removeprefix("http://")
    ended = meshweir("up", "--data", tmp_path / "data", "--api-address", taken)
    assert ended.returncode == 1
    assert taken.encode() in ended.stderr
    assert b"Address already in use" in ended.stderr
    assert ended.stdout == b""


def test_its_own_telemetry_may_come_to_itself_without_a_loop(tmp_path):
    """What exports bring to its own receiver is a bounded trickle, not a growing stream."""
    port = free_port()
    made = Running(
        tmp_path / "data", "--otlp-http-address", f"127.0.0.1:{port}",
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}",
        OTEL_BSP_SCHEDULE_DELAY="100", OTEL_METRIC_EXPORT_INTERVAL="200",
    )  # fmt: skip
    try:
        httpx.get(f"{made.api}/v1/services")

        def spans():
            # asked of the metrics: every request to the API makes a span of its own
            text = httpx.get(f"{made.api}/metrics").text
            found = re.search(r'signal="(?:spans|traces)",outcome="received"} (\d+)', text)
            return int(found[1]) if found else 0

        end = time.monotonic() + PATIENCE
        while not spans() and time.monotonic() < end:
            time.sleep(0.1)
        time.sleep(0.5)
        before = spans()
        time.sleep(1.5)
        assert 0 < before <= spans() <= before + 3
    finally:
        made.stop()


def free_port():
    """A port that is free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
