"""Kafka at both ends of the load: answers while little comes, bounds while twice too much does.

Run ``python -m tests.benchmarks.kafka_load [seconds] [spans a second that the machine can do]``.
``collect``, ``process`` and ``serve`` run as processes of their own on a DuckLake, with a real
broker beside them, all on this machine.
"""

import asyncio
import json
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from api.demo.broker import Broker
from tests.benchmarks.ingest import send
from tests.benchmarks.mesh_spans import SPANS
from tests.e2e.flood import peak_bytes
from tests.e2e.process import FREE, Process, ask, wait

LOW_PER_SECOND = 20.0
CONNECTIONS = 64


def sent(address: str, seconds: float, connections: int, per_second: float) -> dict:
    """What a sender in a process of its own says."""
    process = asyncio.run(_sender(address, seconds, connections, per_second))
    return json.loads(process)


async def _sender(address: str, seconds: float, connections: int, per_second: float) -> bytes:
    words = ("send", address, str(seconds), str(connections), str(per_second))
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", send.__module__, *words, stdout=asyncio.subprocess.PIPE
    )
    return (await child.communicate())[0]


def quantile(values: list[float], share: float) -> float:
    """In milliseconds, of sorted seconds."""
    return round(values[min(int(len(values) * share), len(values) - 1)] * 1e3, 1)


def main() -> None:
    """Measure and print the answer as JSON."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 15.0
    capacity = float(sys.argv[2]) if len(sys.argv) > 2 else 80_000.0
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        broker = stack.enter_context(Broker(directory / "kafka"))
        kafka = ("--kafka", broker.bootstrap, "--api-address", FREE)
        data = ("--data", directory / "data")
        addresses = ("--otlp-http-address", FREE, "--otlp-grpc-address", FREE)
        worker = Process("process", *kafka, *data, listeners=1, log=directory / "worker.log")
        stack.callback(worker.kill)
        collector = Process("collect", *kafka, *addresses, listeners=3, log=directory / "c.log")
        stack.callback(collector.kill)
        served = Process("serve", *kafka, *data, listeners=1, log=directory / "serve.log")
        stack.callback(served.kill)
        everyone = (worker, collector, served)
        wait(lambda: all(one.ready().status == 200 for one in everyone))
        sent(collector.http, 3, 1, LOW_PER_SECOND)  # warm
        low = sent(collector.http, seconds, 1, LOW_PER_SECOND)
        high, held, asked = overload(collector, served, seconds, 2 * capacity)
        peaks = [round((peak_bytes(one) or 0) / 2**20) for one in (collector, worker)]
    done = high["done"]
    print(
        json.dumps(
            {
                "low_load": {
                    "requests_per_second": LOW_PER_SECOND,
                    "acknowledge_p50_ms": quantile(low["latencies"], 0.5),
                    "acknowledge_p99_ms": quantile(low["latencies"], 0.99),
                },
                "twice_too_much": {
                    "offered_per_second": round(2 * capacity),
                    "acknowledged_per_second": round(len(done) * SPANS / (done[-1] - done[0])),
                    "refused": high["refused"],
                    "acknowledge_p50_ms": quantile(high["latencies"], 0.5),
                    "acknowledge_p99_ms": quantile(high["latencies"], 0.99),
                    "most_waiting_mb": round(max(held) / 2**20),
                    "collector_peak_mb": peaks[0],
                    "worker_peak_mb": peaks[1],
                    "graph_p50_ms": quantile(asked, 0.5),
                    "graph_p95_ms": quantile(asked, 0.95),
                    "graph_mean_ms": round(statistics.mean(asked) * 1e3, 1),
                },
            },
            indent=2,
        )
    )


def overload(
    collector: Process, served: Process, seconds: float, spans_per_second: float
) -> tuple[dict, list[int], list[float]]:
    """Offer too much; what the sender says, bytes held while it did, seconds of ``/v1/graph``."""

    async def work() -> tuple[bytes, list[int], list[float]]:
        sending = asyncio.create_task(
            _sender(collector.http, seconds, CONNECTIONS, spans_per_second / SPANS)
        )
        held, asked = [0], []
        while not sending.done():
            told = await asyncio.to_thread(ask, f"{collector.api}/v1/ingest")
            held.append(told.json["bus"]["bytes_held"])
            began = time.perf_counter()
            await asyncio.to_thread(ask, f"{served.api}/v1/graph?start=-15m")
            asked.append(time.perf_counter() - began)
            await asyncio.sleep(0.2)
        return await sending, held, sorted(asked)

    told, held, asked = asyncio.run(work())
    return json.loads(told), held, asked


if __name__ == "__main__":
    main()
