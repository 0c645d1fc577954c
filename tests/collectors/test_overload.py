"""Senders faster than the machine, and kill -9: everything told yes is there, once."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from pipeline.bus.embedded import EmbeddedBus
from pipeline.model.ledger import Outcome
from pipeline.model.messages import Partition
from pipeline.model.topics import OTLP_SPANS
from tests.collectors.bench import Bench, running
from tests.collectors.payloads import traces

pytestmark = pytest.mark.anyio

PROTOBUF = {"content-type": "application/x-protobuf"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class SlowReader:
    """Takes messages off the bus, a few at a time with a rest, and notes each once."""

    at: Bench
    max_bytes: int
    stored: set[int] = field(default_factory=set)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Read until told to be done, and then what is left."""
        spans, position = Partition(OTLP_SPANS), 0
        while not self.done.is_set() or self.at.bus.status().bytes_held:
            for message in await self.at.bus.read(
                {spans: position}, max_bytes=self.max_bytes, wait=0.05
            ):
                assert message.offset not in self.stored
                self.stored.add(message.offset)
                position = message.offset + 1
            await self.at.bus.consumed({spans: position})
            await asyncio.sleep(0.01)


async def send_ten(at: Bench, client: httpx.AsyncClient, body: bytes) -> int:
    """Send until ten were told yes; how often the answer was no."""
    yes = no = 0
    while yes < 10:
        answer = await client.post(at.http + "/v1/traces", content=body, headers=PROTOBUF)
        if answer.status_code == 200:
            yes += 1
        else:
            assert answer.status_code == 429
            no += 1
            await asyncio.sleep(float(answer.headers["retry-after"]) / 20)
    return no


async def test_overload_slows_or_refuses_and_loses_nothing(tmp_path: Path) -> None:
    """The bus holds a twentieth of what 20 senders bring, and a slow reader empties it."""
    body = traces(50, pad=100).SerializeToString()
    bus = {"max_bytes": 10 * len(body), "retry_after_seconds": 0.1, "retention_bytes": 0}
    limits = {"max_in_flight_bytes": 8 * len(body), "retry_after_seconds": 0.05}
    async with running(tmp_path, bus=bus, intake=limits) as at:
        reader = SlowReader(at, 3 * len(body))
        reading = asyncio.create_task(reader.run())
        async with httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=20)) as client:
            refused = sum(await asyncio.gather(*(send_ten(at, client, body) for _ in range(20))))
        reader.done.set()
        await reading
        assert refused > 0
        assert len(reader.stored) == 200
        assert at.count("otlp_http", "spans", Outcome.ACCEPTED) == 200 * 50
        received = at.count("otlp_http", "spans", Outcome.RECEIVED)
        assert received == 200 * 50 + at.count("otlp_http", "spans", Outcome.REJECTED)
        reasons = {reason for _, reason in at.reasons("otlp_http", "spans")}
        assert reasons <= {"bus full", "too much under way"}


COLLECTOR = textwrap.dedent("""
    import asyncio, sys
    from pathlib import Path
    from collectors.runner import Collectors
    from collectors.settings import CollectorSettings
    from pipeline.bus.embedded import EmbeddedBus
    from pipeline.model.ledger import Ledger

    async def main():
        bus = EmbeddedBus(Path(sys.argv[1]))
        await bus.start()
        anywhere = {"address": "127.0.0.1:0"}
        settings = CollectorSettings.model_validate({"otlp_http": anywhere, "otlp_grpc": anywhere})
        collectors = Collectors(settings, bus, Ledger())
        await collectors.start()
        print(collectors.addresses["otlp_http"], flush=True)
        await asyncio.Event().wait()

    asyncio.run(main())
""")


@pytest.mark.parametrize("yeses", [1, 30, 150])
def test_everything_told_yes_outlives_kill_9(tmp_path: Path, yeses: int) -> None:
    collector = subprocess.Popen(
        [sys.executable, "-c", COLLECTOR, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert collector.stdout is not None
    address = collector.stdout.readline().strip()
    told = asyncio.run(send_until_dead(address, collector, yeses))
    collector.wait()
    collector.stdout.close()
    assert len(told) >= yeses
    assert told <= asyncio.run(sizes_on(tmp_path))


async def send_until_dead(address: str, collector: "subprocess.Popen[str]", yeses: int) -> set[int]:
    """The number of spans of each request told yes, each number used once; kills in the middle."""
    told: set[int] = set()
    numbers = iter(range(1, 10_000))

    async def sender(client: httpx.AsyncClient) -> None:
        for number in numbers:
            body = traces(number).SerializeToString()
            try:
                answer = await client.post(
                    f"http://{address}/v1/traces", content=body, headers=PROTOBUF
                )
            except httpx.TransportError:
                return
            assert answer.status_code == 200
            told.add(number)
            if len(told) == yeses:
                collector.send_signal(signal.SIGKILL)

    async with httpx.AsyncClient(timeout=30) as client:
        await asyncio.gather(*(sender(client) for _ in range(8)))
    return told


async def sizes_on(directory: Path) -> set[int]:
    bus = EmbeddedBus(directory)
    await bus.start()
    try:
        messages = await bus.read({}, max_bytes=1 << 40, wait=0)
    finally:
        await bus.stop()
    numbers = [int(message.headers["records"]) for message in messages]
    assert len(numbers) == len(set(numbers))
    return set(numbers)
