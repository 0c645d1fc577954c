"""Senders faster than the workers: the lag stays bounded, senders are told, nothing is lost."""

import signal
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from api.demo.broker import Broker, BrokerMissing
from tests.benchmarks.mesh_spans import SERVICES, TRACES
from tests.e2e.flood import Sender, peak_bytes
from tests.e2e.process import FREE, Process, ask, wait

SENDERS = 6
LAG_BYTES = 16 * 1024 * 1024
UNDER_WAY_BYTES = 8 * 1024 * 1024
"""What may be on its way to the broker when the bound is reached."""
MEMORY_BYTES = 1024 * 1024 * 1024


def lag_bytes(collector: Process) -> int:
    """What the collector knows of what waits to be read."""
    return int(ask(f"{collector.api}/v1/ingest").json["bus"]["bytes_held"])


class Installation:
    """A broker, a collector with a small bound, a worker and who answers."""

    def __init__(self, directory: Path) -> None:
        self.broker = Broker(directory / "kafka")
        self.broker.start()
        kafka = ("--kafka", self.broker.bootstrap, "--api-address", FREE)
        data = ("--data", directory / "data")
        self.worker = Process("process", *kafka, *data, listeners=1, log=directory / "worker.log")
        self.collector = Process(
            *("collect", *kafka, "--otlp-http-address", FREE, "--otlp-grpc-address", FREE),
            *("--kafka-max-lag-bytes", LAG_BYTES),
            listeners=3,
            log=directory / "collector.log",
        )
        self.shown = Process("serve", *kafka, *data, listeners=1, log=directory / "serve.log")
        self.running = (self.worker, self.collector, self.shown)

    def stop(self) -> None:
        """Stop everything."""
        for one in self.running:
            one.process.send_signal(signal.SIGCONT)
            one.kill()
        self.broker.stop()


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[Installation]:
    try:
        made = Installation(tmp_path)
    except BrokerMissing as missing:
        pytest.skip(str(missing))
    yield made
    made.stop()


@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_the_lag_is_bounded_while_workers_stand_still_and_what_was_taken_arrives(
    mesh: Installation,
) -> None:
    assert wait(lambda: all(one.ready().status == 200 for one in mesh.running))
    mesh.worker.process.send_signal(signal.SIGSTOP)
    senders = [Sender(mesh.collector.http, number) for number in range(SENDERS)]
    for sender in senders:
        sender.start()
    most = 0
    while any(sender.is_alive() for sender in senders):
        most = max(most, lag_bytes(mesh.collector))
    assert [one for sender in senders for one in sender.others] == []
    acknowledged = sum(sender.acknowledged for sender in senders)
    assert acknowledged
    assert sum(sender.refused for sender in senders)
    waits = set[str | None]().union(*(sender.waits for sender in senders))
    assert all(told is not None and int(told) >= 1 for told in waits)
    assert LAG_BYTES // 2 < most < LAG_BYTES + UNDER_WAY_BYTES

    mesh.worker.process.send_signal(signal.SIGCONT)
    outer = ("clients", *(f"shop/{name}" for name in SERVICES[:3]))
    wanted = dict.fromkeys(pairwise(outer), acknowledged * TRACES)
    wait(lambda: mesh.shown.edges("?start=-1h") == wanted)
    assert mesh.shown.edges("?start=-1h") == wanted
    peaks = [peak_bytes(one) for one in (mesh.worker, mesh.collector)]
    assert all(peak is None or peak < MEMORY_BYTES for peak in peaks), peaks
