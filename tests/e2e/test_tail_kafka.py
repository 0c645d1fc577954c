"""A pod's log is rotated and followed on to a real Kafka by a collector that is killed."""

import asyncio
import subprocess
import sys
import time
import uuid
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from pipeline.jobs.decoding import decode_messages
from pipeline.model.messages import Message, Partition
from pipeline.model.topics import RAW_TELEMETRY
from tests.e2e.kafka_topics import records
from tests.e2e.process import FREE, ROOT, Process, wait

pytestmark = pytest.mark.e2e

PER_FILE = 700
KILLS = 2
POD = "cart-6d5f8c7b9-x2x7q"


def test_every_line_of_a_pod_is_on_kafka_once_after_kills_and_rotations(
    tmp_path: Path, kafka: tuple[str, ...]
) -> None:
    log = tmp_path / f"pods/shop_{POD}_{uuid.uuid4()}/istio-proxy/0.log"
    log.parent.mkdir(parents=True)
    stop, prefix, chance = tmp_path / "stop", f"tail-{uuid.uuid4().hex}-", Random(11)
    writer = subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.log_writer", str(log), str(PER_FILE), str(stop), "cri"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    running = [writer]
    try:
        for _ in range(KILLS):
            collector = follow(tmp_path, kafka, prefix)
            running.append(collector.process)
            assert wait(lambda at=collector: at.ready().status == 200)
            time.sleep(chance.uniform(0.3, 1.5))
            collector.kill()
        collector = follow(tmp_path, kafka, prefix)
        running.append(collector.process)
        stop.touch()
        lines = int(writer.communicate(timeout=60)[0])
        wait(lambda: len(found(kafka, prefix)) >= lines, seconds=60)
        assert collector.stop() == 130
    finally:
        for process in running:
            process.kill()
            process.wait(30)
    assert lines > PER_FILE
    counts = Counter(found(kafka, prefix))
    assert counts == Counter({(f"r-{number}", "shop", "cart"): 1 for number in range(lines)})


def follow(tmp_path: Path, kafka: tuple[str, ...], prefix: str) -> Process:
    """A collector that follows the logs of all pods, on ports of its choice."""
    return Process(
        *("collect", "--kafka", ",".join(kafka), "--kafka-topic-prefix", prefix),
        *("--api-address", FREE, "--otlp-grpc-address", FREE, "--otlp-http-address", FREE),
        *("--tail", f"envoy_json:{tmp_path}/pods/*/*/*.log*", "--tail-poll-seconds", "0.05"),
        *("--tail-directory", tmp_path / "places", "--tail-rotated-seconds", "1"),
        listeners=3,
        log=tmp_path / "collector.log",
    )


def found(kafka: tuple[str, ...], prefix: str) -> list[tuple[str, str, str]]:
    """What Kafka has: of each request its id, and the service that told it."""
    messages = [
        Message(
            Partition(RAW_TELEMETRY, one.partition),
            one.offset,
            one.value,
            {name: value.decode() for name, value in one.headers},
        )
        for one in asyncio.run(records(kafka, [f"{prefix}{RAW_TELEMETRY}"]))
    ]
    decoded = decode_messages(messages)
    assert not decoded.refused
    if not decoded.batches:
        return []
    resources = {
        row["resource_id"]: (row["service_namespace"], row["service_name"])
        for row in decoded.batches["resources"].to_pylist()
    }
    rows = decoded.batches["access_logs"].select(["request_id", "resource_id"]).to_pylist()
    return [(row["request_id"], *resources[row["resource_id"]]) for row in rows]
