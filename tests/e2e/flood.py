"""Senders that send spans without rest, and what a process used meanwhile."""

import http.client
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.benchmarks.mesh_spans import TRACES, Template
from tests.e2e.process import Process

SECONDS = 10.0


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


def peak_bytes(process: Process) -> int | None:
    """Most memory the process has held; None where the system does not tell."""
    try:
        status = Path(f"/proc/{process.process.pid}/status").read_text()
    except OSError:
        return None
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024
