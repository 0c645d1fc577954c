"""What receiving costs: from a sender's bytes to an acknowledgement that is synced to disk.

Run ``python -m tests.benchmarks.receive``. The sender is another process, and its processor time is
told apart. At low load one sender waits for each answer and rests in between; at full load eight
connections send as fast as they are answered. Requests carry 512 spans of about 370 bytes with nine
attributes, uncompressed. A consumer that only moves its position keeps the bus from filling.
"""

import asyncio
import json
import random
import resource
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import grpc
import uvloop
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collectors.runner import Collectors
from collectors.settings import CollectorSettings
from pipeline.bus.embedded import EmbeddedBus
from pipeline.bus.settings import EmbeddedBusSettings
from pipeline.model.ledger import Flow, Ledger, Outcome

SPANS = 512
CONNECTIONS = 8
LOW_REQUESTS = 150
LOW_REST_SECONDS = 0.01
FULL_SECONDS = 3.0
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

Exchange = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Sent:
    """What a sender tells: the seconds each request took, and its own processor seconds."""

    latencies: list[float]
    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class Measured:
    """One way in at one load; latencies in milliseconds, processor time per million spans."""

    transport: str
    load: str
    spans_per_second: int
    p50_ms: float
    p99_ms: float
    receiver_cpu_seconds_per_million: float
    sender_cpu_seconds_per_million: float
    peak_memory_mb: int


def payload() -> bytes:
    """One request as an instrumented service sends it."""
    rng = random.Random(1)
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    for key, value in (("service.name", "cart"), ("service.namespace", "shop")):
        resource_spans.resource.attributes.add(key=key).value.string_value = value
    scope = resource_spans.scope_spans.add()
    scope.scope.name = "http"
    for number in range(SPANS):
        span = scope.spans.add(
            trace_id=rng.randbytes(16),
            span_id=rng.randbytes(8),
            parent_span_id=rng.randbytes(8),
            name="GET /api/v1/things/:id",
            kind=2,
            start_time_unix_nano=1_790_000_000_000_000_000 + number,
            end_time_unix_nano=1_790_000_000_010_000_000 + number,
        )
        for key, text in (
            ("http.request.method", "GET"),
            ("http.route", "/api/v1/things/:id"),
            ("url.path", f"/api/v1/things/{number}"),
            ("server.address", "cart.shop.svc.cluster.local"),
            ("network.peer.address", "10.0.3.17"),
            ("user_agent.original", "frontend/1.2.3"),
            ("guid:x-request-id", rng.randbytes(16).hex()),
        ):
            span.attributes.add(key=key).value.string_value = text
        span.attributes.add(key="http.response.status_code").value.int_value = 200
        span.attributes.add(key="server.port").value.int_value = 8080
    return request.SerializeToString()


async def http_exchange(address: str, body: bytes) -> Exchange:
    """A connection that posts the request and waits for its answer."""
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    request = (
        b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n"
        b"content-length: %d\r\n\r\n%s" % (len(body), body)
    )

    async def exchange() -> None:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(head.decode())

    return exchange


async def grpc_exchange(address: str, body: bytes) -> Exchange:
    """A channel of its own connection that exports the request and waits for its answer."""
    channel = grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
    export = channel.unary_unary(EXPORT)

    async def exchange() -> None:
        await export(body)

    return exchange


EXCHANGES = {"otlp_http": http_exchange, "otlp_grpc": grpc_exchange}


async def send(transport: str, load: str, address: str) -> Sent:
    """Send one load and tell what it took."""
    body = payload()
    connections = 1 if load == "low" else CONNECTIONS
    exchanges = [await EXCHANGES[transport](address, body) for _ in range(connections)]
    for exchange in exchanges:
        await exchange()
    latencies: list[float] = []
    begun = time.monotonic()
    cpu = time.process_time()

    async def lane(exchange: Exchange) -> None:
        while time.monotonic() - begun < FULL_SECONDS and (
            load == "full" or len(latencies) < LOW_REQUESTS
        ):
            at = time.perf_counter()
            await exchange()
            latencies.append(time.perf_counter() - at)
            if load == "low":
                await asyncio.sleep(LOW_REST_SECONDS)

    await asyncio.gather(*map(lane, exchanges))
    return Sent(latencies, time.monotonic() - begun, time.process_time() - cpu)


async def consume(bus: EmbeddedBus) -> None:
    """Stand for a store that keeps up, so that senders are not slowed for its sake."""
    while True:
        await bus.consumed(bus.status().ends)
        await asyncio.sleep(0.02)


async def measure(transport: str, load: str) -> Measured:
    """Receive one load from a sender in another process."""
    with tempfile.TemporaryDirectory() as directory:
        bus = EmbeddedBus(Path(directory), EmbeddedBusSettings())
        await bus.start()
        ledger = Ledger()
        settings = {name: {"address": "127.0.0.1:0"} for name in EXCHANGES}
        collectors = Collectors(CollectorSettings.model_validate(settings), bus, ledger)
        await collectors.start()
        consuming = asyncio.create_task(consume(bus))
        cpu = time.process_time()
        sender = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.benchmarks.receive",
            transport,
            load,
            collectors.addresses[transport],
            stdout=asyncio.subprocess.PIPE,
        )
        told, _ = await sender.communicate()
        cpu = time.process_time() - cpu
        sent = Sent(**json.loads(told))
        consuming.cancel()
        await collectors.stop()
        await bus.stop()
    accepted = ledger.snapshot()[Flow(transport, "spans")].outcomes[Outcome.ACCEPTED]
    spans = len(sent.latencies) * SPANS
    in_order = sorted(sent.latencies)
    return Measured(
        transport,
        load,
        int(spans / sent.seconds),
        round(1e3 * in_order[len(in_order) // 2], 2),
        round(1e3 * in_order[int(len(in_order) * 0.99)], 2),
        round(cpu / accepted * 1e6, 2),
        round(sent.cpu_seconds / spans * 1e6, 2),
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    )


def main() -> None:
    """Measure everything and print one JSON object a line; or be the sender."""
    if len(sys.argv) == 4:
        print(json.dumps(asdict(uvloop.run(send(*sys.argv[1:])))))
        return
    for transport in EXCHANGES:
        for load in ("low", "full"):
            print(json.dumps(asdict(uvloop.run(measure(transport, load)))), flush=True)


if __name__ == "__main__":
    main()
