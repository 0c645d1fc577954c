"""A bench for receivers: a real bus, a ledger, and receivers on free ports."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from collectors.runner import Collectors
from collectors.settings import CollectorSettings
from pipeline.bus.embedded import EmbeddedBus
from pipeline.bus.settings import EmbeddedBusSettings
from pipeline.model.ledger import Flow, Ledger, Outcome
from pipeline.model.messages import Message, Partition

ANYWHERE = {
    name: {"address": "127.0.0.1:0"}
    for name in ("otlp_grpc", "otlp_http", "zipkin", "remote_write")
}


class GatedBus(EmbeddedBus):
    """The embedded bus with a gate in front: while it is shut, publishing waits."""

    def __init__(self, directory: Path, settings: EmbeddedBusSettings) -> None:
        super().__init__(directory, settings)
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = 0

    async def publish(self, topic: str, value: bytes, headers: Mapping[str, str]) -> int:
        """Wait for the gate, then publish."""
        self.waiting += 1
        await self.gate.wait()
        self.waiting -= 1
        return await super().publish(topic, value, headers)


@dataclass
class Bench:
    """Running collectors, and what stands behind them."""

    collectors: Collectors
    bus: GatedBus
    ledger: Ledger

    @property
    def http(self) -> str:
        """The base of HTTP addresses."""
        return f"http://{self.collectors.addresses['otlp_http']}"

    @property
    def grpc(self) -> str:
        """The gRPC target."""
        return self.collectors.addresses["otlp_grpc"]

    async def messages(self, topic: str) -> list[Message]:
        """All messages of a topic."""
        found = await self.bus.read({}, max_bytes=1 << 40, wait=0)
        return [message for message in found if message.partition == Partition(topic)]

    def count(self, source: str, signal: str, outcome: Outcome) -> int:
        """Records of a flow by outcome."""
        flow = self.ledger.snapshot().get(Flow(source, signal))
        return flow.outcomes.get(outcome, 0) if flow else 0

    def reasons(self, source: str, signal: str) -> dict[tuple[Outcome, str], int]:
        """Records of a flow by outcome and reason."""
        return self.ledger.snapshot()[Flow(source, signal)].reasons


@asynccontextmanager
async def running(
    directory: Path, *, bus: dict[str, object] | None = None, **sections: dict[str, object]
) -> AsyncIterator[Bench]:
    """Collectors on free ports, with settings by section."""
    tree = {name: ANYWHERE.get(name, {}) | sections.get(name, {}) for name in ANYWHERE | sections}
    settings = CollectorSettings.model_validate(tree)
    gated = GatedBus(
        directory / "bus", EmbeddedBusSettings.model_validate({"min_free_bytes": 0} | (bus or {}))
    )
    await gated.start()
    ledger = Ledger()
    collectors = Collectors(settings, gated, ledger)
    try:
        await collectors.start()
        yield Bench(collectors, gated, ledger)
    finally:
        gated.gate.set()
        await collectors.stop()
        await gated.stop()
