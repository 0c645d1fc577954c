"""The whole path through a real Kafka beside the embedded bus: throughput, side by side.

Run ``python -m tests.benchmarks.kafka [seconds] [rounds]``. Rounds alternate, so that both meet the
same machine; the broker, a JVM, runs on the same processors, and what it uses is stated beside.
"""

import asyncio
import json
import statistics
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from api.demo.broker import Broker
from tests.benchmarks.ingest import Measured, cpu_seconds, measure

CONNECTIONS = 8


def through_kafka(seconds: float) -> tuple[Measured, float]:
    """One round through a broker of its own; its CPU-seconds per million spans beside."""
    with tempfile.TemporaryDirectory() as name, Broker(Path(name)) as broker:
        before = cpu_seconds(broker.pid)
        measured = asyncio.run(measure(seconds, CONNECTIONS, "--kafka", broker.bootstrap))
        used = cpu_seconds(broker.pid) - before
    return measured, round(used / measured.spans * 1e6, 2)


def main() -> None:
    """Measure and print the answer as JSON."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 15.0
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    embedded: list[Measured] = []
    kafka: list[tuple[Measured, float]] = []
    for _ in range(rounds):
        embedded.append(asyncio.run(measure(seconds, CONNECTIONS)))
        kafka.append(through_kafka(seconds))
    ratios = [
        there.stored_and_on_the_graph_per_second / here.stored_and_on_the_graph_per_second
        for here, (there, _) in zip(embedded, kafka, strict=True)
    ]
    print(
        json.dumps(
            {
                "ratio_median": round(statistics.median(ratios), 3),
                "ratios": [round(ratio, 3) for ratio in ratios],
                "embedded": [asdict(measured) for measured in embedded],
                "kafka": [
                    asdict(measured) | {"broker_cpu_seconds_per_million": cpu}
                    for measured, cpu in kafka
                ],
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
