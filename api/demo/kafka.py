"""The demo's Kafka: a real broker of its own, or one that is already there."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from api.demo.broker import Broker


@dataclass(frozen=True, slots=True)
class Kafka:
    """Where telemetry of the demo goes.

    Attributes:
        servers: brokers to ask first, ``HOST:PORT[,...]``.
        prefix: what the names of its topics and its consumer group begin with.
        own: whether the demo has started it.
    """

    servers: str
    prefix: str
    own: bool

    @property
    def arguments(self) -> tuple[str, ...]:
        """Flags that point a process of Meshweir at it."""
        return (
            *("--kafka", self.servers),
            *("--kafka-topic-prefix", self.prefix),
            *("--kafka-group", f"{self.prefix}meshweir"),
        )


@asynccontextmanager
async def running_kafka(servers: str, data: Path) -> AsyncIterator[Kafka]:
    """A Kafka for the demo; one that it started is stopped at the end.

    Args:
        servers: brokers that are there already, ``HOST:PORT[,...]``; empty starts one.
        data: where Meshweir keeps what it stores. A broker of the demo's own keeps its messages
            beside that, since the positions in the store are of this Kafka and of no other.

    Raises:
        BrokerMissing: there is no Java, no Maven or no Kafka to fetch.
        BrokerFailed: the broker did not start.
    """
    prefix = _prefix(data)
    if servers:
        yield Kafka(servers, prefix, own=False)
        return
    broker = Broker(data.with_name(f"{data.name}-kafka"))
    loop = asyncio.get_running_loop()
    # the kernel ends a broker with the thread that started it, so that thread must last
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="broker") as thread:
        try:
            await loop.run_in_executor(thread, broker.start)
            yield Kafka(broker.bootstrap, prefix, own=True)
        except asyncio.CancelledError:
            broker.kill()  # whoever still waits for it to start need not
            raise
        finally:
            await loop.run_in_executor(thread, broker.stop)


def _prefix(data: Path) -> str:
    """One for each data directory: these brokers may have other topics, or another demo's."""
    return f"demo-{hashlib.sha256(str(data.absolute()).encode()).hexdigest()[:8]}-"
