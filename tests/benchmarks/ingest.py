"""The whole path: OTLP/HTTP in, acknowledged, stored, on the graph; throughput, cost and freshness.

Run ``python -m tests.benchmarks.ingest [seconds] [connections]``. Meshweir runs as ``meshweir up``
in a process of its own, the sender in another; both share the machine's processors, so the
sender's cost is stated beside. The sender is a closed loop: every connection sends its next
request when the last was acknowledged. Freshness is the time from an acknowledgement to the moment
``/v1/graph`` counts what was acknowledged.
"""

import asyncio
import bisect
import contextlib
import json
import os
import re
import sys
import tempfile
import time
import urllib.request
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

from tests.benchmarks.mesh_spans import SPANS, TRACES, pairs

TICKS = os.sysconf("SC_CLK_TCK")
READY = re.compile(r"(API|OTLP/HTTP)\s+(\S+)")


@dataclass(frozen=True)
class Measured:
    """The answer; spans a second, seconds, CPU-seconds per million spans, bytes."""

    spans: int
    acknowledged_per_second: int
    stored_and_on_the_graph_per_second: int
    cpu_seconds_per_million: float
    sender_cpu_seconds_per_million: float
    acknowledge_p50_ms: float
    acknowledge_p99_ms: float
    visible_p50_seconds: float
    visible_p99_seconds: float
    bytes_per_span: float
    peak_memory_mb: int
    exact: bool


async def send(address: str, seconds: float, connections: int, rate: float | None = None) -> None:
    """Be the sender: print one JSON line with what was acknowledged when, and refused how often.

    With a ``rate``, requests a second, it is an open loop as far as its connections allow.
    """
    host, port = address.rsplit("/", 1)[-1].split(":")
    traffic = (body for pair in pairs(1, time.time_ns(), 20_000) for body in pair)
    stop = time.monotonic() + seconds
    done: list[float] = []
    latencies: list[float] = []
    refused = 0
    start, tickets = time.monotonic(), count()

    async def lane() -> None:
        nonlocal refused
        reader, writer = await asyncio.open_connection(host, int(port))
        while time.monotonic() < stop:
            if rate is not None:
                await asyncio.sleep(start + next(tickets) / rate - time.monotonic())
            body = next(traffic)
            head = (
                "POST /v1/traces HTTP/1.1\r\nhost: x\r\n"
                f"content-type: application/x-protobuf\r\ncontent-length: {len(body)}\r\n\r\n"
            )
            began = time.perf_counter()
            while True:
                writer.write(head.encode() + body)
                answer = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"(?i)content-length: (\d+)", answer)
                await reader.readexactly(int(length[1]) if length else 0)
                if answer.startswith(b"HTTP/1.1 200"):
                    break
                refused += 1
                await asyncio.sleep(0.2)  # told to come back: the same request again
            latencies.append(time.perf_counter() - began)
            done.append(time.time())
        writer.close()

    # the two halves of a pair go out one after the other, over different connections
    await asyncio.gather(*(lane() for _ in range(connections)))
    cpu = time.process_time()
    told = {"done": sorted(done), "latencies": sorted(latencies), "cpu": cpu, "refused": refused}
    print(json.dumps(told))


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used, user and system, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _peak(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) // 1024


def _size(data: Path) -> int:
    return sum(path.stat().st_size for path in data.glob("store*"))


def _on_graph(api: str) -> int:
    """Tellings of the first service on the graph: one per trace whose first half has come."""
    with urllib.request.urlopen(f"{api}/v1/graph") as answer:
        graph = json.load(answer)
    return sum(edge["requests"] for edge in graph["edges"] if edge["client"] == "clients")


async def measure(seconds: float, connections: int, *flags: str) -> Measured:
    """Run it once; ``flags`` are more words for ``meshweir up``."""
    with tempfile.TemporaryDirectory() as data:
        up = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "api", "up", "--data", data, "--api-address", "127.0.0.1:0",
            "--otlp-http-address", "127.0.0.1:0", "--otlp-grpc-address", "127.0.0.1:0", *flags,
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            return await _measured(up, Path(data), seconds, connections)
        finally:
            with contextlib.suppress(ProcessLookupError):
                up.terminate()
            await up.wait()


async def _measured(up, data: Path, seconds: float, connections: int) -> Measured:
    found: dict[str, str] = {}
    while len(found) < 2:
        line = (await up.stdout.readline()).decode()
        if not line:
            raise SystemExit("meshweir up ended before it was ready")
        if told := READY.search(line):
            found[told[1]] = told[2]
    api = found["API"]
    await _warm(found["OTLP/HTTP"], api)
    before, cpu = await asyncio.to_thread(_on_graph, api), cpu_seconds(up.pid)
    began = time.time()
    sender = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.benchmarks.ingest", "send", found["OTLP/HTTP"],
        str(seconds), str(connections), stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    seen: list[tuple[float, int]] = []
    told = asyncio.create_task(sender.communicate())
    while not told.done():
        seen.append((time.time(), await asyncio.to_thread(_on_graph, api) - before))
        await asyncio.sleep(0.2)
    sent = json.loads((await told)[0])
    requests = len(sent["done"])
    traces = (requests + 1) // 2 * TRACES
    for _ in count():
        now = await asyncio.to_thread(_on_graph, api) - before
        seen.append((time.time(), now))
        if now >= traces or time.time() > seen[0][0] + seconds + 120:
            break
        await asyncio.sleep(0.1)
    ended = seen[-1][0]
    lags = _lags(sent["done"], seen)
    spans = requests * SPANS
    used = cpu_seconds(up.pid) - cpu
    await asyncio.sleep(2)
    peak = _peak(up.pid)
    up.terminate()
    await up.wait()
    size = _size(data)
    latencies = sent["latencies"]
    return Measured(
        spans,
        int(spans / (sent["done"][-1] - began)),
        int(spans / (ended - began)),
        round(used / spans * 1e6, 2),
        round(sent["cpu"] / spans * 1e6, 2),
        round(latencies[len(latencies) // 2] * 1e3, 1),
        round(latencies[int(len(latencies) * 0.99)] * 1e3, 1),
        round(lags[len(lags) // 2], 2),
        round(lags[min(int(len(lags) * 0.99), len(lags) - 1)], 2),
        round(size / spans, 1),
        peak,
        seen[-1][1] == traces,
    )


async def _warm(address: str, api: str) -> None:
    """Let everything be compiled and loaded once."""
    for body in next(pairs(1 << 40, time.time_ns(), 20_000)):
        request = urllib.request.Request(
            f"{address}/v1/traces", body, {"content-type": "application/x-protobuf"}
        )
        await asyncio.to_thread(lambda r=request: urllib.request.urlopen(r).read())
    while await asyncio.to_thread(_on_graph, api) < TRACES:  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.2)


def _lags(done: list[float], seen: list[tuple[float, int]]) -> list[float]:
    """For each look at the graph: how long ago was the last acknowledged that it did not show."""
    lags = []
    for at, traces in seen:
        shown = traces // TRACES * 2  # requests that must have been acknowledged for this
        if shown < len(done) and done[shown] <= at:
            lags.append(at - done[shown])
        elif bisect.bisect(done, at) <= shown:
            lags.append(0.0)
    return sorted(lags) or [0.0]


def main() -> None:
    """Measure and print the answer as JSON; or be the sender."""
    if sys.argv[1:2] == ["send"]:
        rate = float(sys.argv[5]) if len(sys.argv) > 5 else None
        asyncio.run(send(sys.argv[2], float(sys.argv[3]), int(sys.argv[4]), rate))
        return
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    connections = int(sys.argv[2]) if len(sys.argv) > 2 else 8
    measured = asyncio.run(measure(seconds, connections))
    print(json.dumps(asdict(measured), indent=2))


if __name__ == "__main__":
    main()
