"""Senders faster than the machine: the graph has what was acknowledged, and nothing else."""

import http.client
import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.mesh_spans import SERVICES, SPANS, TRACES, Template
from tests.e2e.up import Up

SECONDS = 10.0
SENDERS = 6
BUS_BYTES = 8 * 1024 * 1024
MEMORY_BYTES = 1536 * 1024 * 1024


class Sender(threading.Thread):
    """Sends traces of its own without rest; what is refused is not sent again."""

    def __init__(self, address: str, number: int) -> None:
        super().__init__(daemon=True)
        host, port = address.rsplit("/", 1)[-1].split(":")
        self.connection = http.client.HTTPConnection(host, int(port), timeout=60)
        self.bodies = requests(number)
        self.acknowledged = 0
        self.refused = 0
        self.waits: set[str | None] = set()
        self.others: list[tuple[int, bytes]] = []

    def run(self) -> None:
        """Send for a while."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            body = next(self.bodies)
            self.connection.request(
                "POST", "/v1/traces", body, {"content-type": "application/x-protobuf"}
            )
            answer = self.connection.getresponse()
            text = answer.read()
            if answer.status == 200:
                self.acknowledged += 1
            elif answer.status in {429, 503}:
                self.refused += 1
                self.waits.add(answer.getheader("retry-after"))
            else:
                self.others.append((answer.status, text))
        self.connection.close()


def requests(sender: int) -> Iterator[bytes]:
    """Requests with the outer half of traces, each trace once."""
    template = Template(0)
    traces = np.arange(TRACES, dtype=np.uint64) + np.uint64(sender * 100_000_000 + 1)
    begins = np.uint64(time.time_ns() - 60 * 10**9) + np.arange(TRACES, dtype=np.uint64)
    while True:
        yield template.written(traces, begins)
        traces += np.uint64(TRACES)
        begins += np.uint64(TRACES)


def told_of_ingest(up: Up) -> dict:
    """The flow of spans over OTLP/HTTP, as ``GET /v1/ingest`` tells it."""
    with urllib.request.urlopen(f"{up.api}/v1/ingest", timeout=30) as answer:
        (flow,) = (one for one in json.load(answer)["items"] if one["source"] == "otlp_http")
    return flow


def peak_bytes(up: Up) -> int | None:
    """Most memory the process has held; None where the system does not tell."""
    try:
        status = Path(f"/proc/{up.process.pid}/status").read_text()
    except OSError:
        return None
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@pytest.mark.e2e
def test_what_was_acknowledged_is_on_the_graph_and_what_was_refused_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESHWEIR_BUS_MAX_BYTES", str(BUS_BYTES))
    up = Up(tmp_path)
    try:
        senders = [Sender(up.http, number) for number in range(SENDERS)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        assert [one for sender in senders for one in sender.others] == []
        acknowledged = sum(sender.acknowledged for sender in senders)
        refused = sum(sender.refused for sender in senders)
        waits = set[str | None]().union(*(sender.waits for sender in senders))
        assert acknowledged
        assert refused
        assert all(wait is not None and int(wait) >= 1 for wait in waits)

        # a caller outside, and the two calls whose both ends are in the outer half of a trace
        outer = ("clients", *(f"shop/{name}" for name in SERVICES[:3]))
        wanted = dict.fromkeys(pairwise(outer), acknowledged * TRACES)
        up.wait(lambda: up.edges("?start=-1h") == wanted, 60)
        assert up.edges("?start=-1h") == wanted

        flow = told_of_ingest(up)
        assert flow["accepted"] == flow["stored"] == acknowledged * SPANS
        assert flow["rejected"] == refused * SPANS
        assert flow["reasons"] == {"rejected": {"bus full": refused * SPANS}}
        peak = peak_bytes(up)
        assert peak is None or peak < MEMORY_BYTES
    finally:
        assert up.stop() == 130
