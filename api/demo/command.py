"""The demo from beginning to end: start everything, show the edges, settle, stop everything."""

import asyncio
import logging
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.live import Live

from api.demo.broker import BrokerFailed
from api.demo.envoy import Address
from api.demo.kafka import Kafka, running_kafka
from api.demo.mesh import MESH, Ends, Truth, truth, unplanned
from api.demo.meshweir import Meshweir, running_meshweir, seen
from api.demo.running import DemoFailed, RunningMesh, envoy_program, running_mesh
from api.demo.scraping import INTERVAL_SECONDS
from api.demo.view import edges_table, verdict

SETTLE_SECONDS: Final = 30.0
"""How long the last telemetry may take to show on the graph; proxies flush within a second."""

SETTLE_STEP_SECONDS: Final = 0.3

SCRAPE_SECONDS: Final = 30.0
"""How long the first scrape of the proxies may take."""

FLUSH_SECONDS: Final = 3.0
"""How long the proxies are left to tell of their last requests, where nobody can be asked whether
these were seen."""

INTERRUPTED: Final = 130
"""Exit code after Ctrl-C."""


@dataclass(frozen=True, slots=True)
class Demo:
    """The mesh and Meshweir, both running; ``kafka`` is what Meshweir's processes share, if any."""

    mesh: RunningMesh
    meshweir: Meshweir
    kafka: Kafka | None

    def check(self) -> None:
        """Raise DemoFailed when a process has ended."""
        self.mesh.check()
        self.meshweir.check()

    def truth(self, *, by_version: bool = False) -> dict[Ends, Truth]:
        """What the load generator counted, as edges."""
        return truth(self.mesh.load.mesh, self.mesh.load.asked, by_version=by_version)

    @property
    def unplanned(self) -> int:
        """How many requests failed that the mesh does not declare to fail."""
        load = self.mesh.load
        return unplanned(load.mesh, load.asked, load.failed.total())

    async def settle(self) -> bool:
        """Wait until the graph is the truth; false when it is not after ``SETTLE_SECONDS``."""
        for _ in range(round(SETTLE_SECONDS / SETTLE_STEP_SECONDS)):
            if seen(await self.meshweir.graph()) == self.truth():
                return True
            await asyncio.sleep(SETTLE_STEP_SECONDS)
        return False


@asynccontextmanager
async def running_demo(
    data: Path | None = None,
    *,
    api: Address,
    telemetry: Address,
    kafka: str | None = None,
    limit: int | None = None,
    pace: float = 1.0,
) -> AsyncIterator[Demo]:
    """Start Meshweir, then the mesh; stop them in the opposite order.

    Args:
        data: where Meshweir keeps what it stores; None for a directory that is removed.
        api: where the API shall listen; another port is taken when this one is in use.
        telemetry: where Meshweir shall take OTLP/gRPC; likewise.
        kafka: None runs Meshweir in one process; else it runs in three, with these brokers between
            them, ``HOST:PORT[,...]``, or one that is started when this is empty.
        limit: how many requests each consumer sends; None for no end.
        pace: factor on the consumers' rates.

    Raises:
        DemoFailed: something did not start, or ended.
        BrokerMissing: there is no Kafka to start.
    """
    envoy_program()
    async with AsyncExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="meshweir-demo-"))
        directory = Path(name)
        data = data or directory / "data"
        bus = None
        if kafka is not None:
            bus = await stack.enter_async_context(running_kafka(kafka, data))
        meshweir = await stack.enter_async_context(
            running_meshweir(data, directory=directory, api=api, telemetry=telemetry, kafka=bus)
        )
        mesh = await stack.enter_async_context(
            running_mesh(
                MESH, telemetry=meshweir.telemetry, directory=directory, limit=limit, pace=pace
            )
        )
        await _first_scrape(meshweir)
        yield Demo(mesh, meshweir, bus)


async def _first_scrape(meshweir: Meshweir) -> None:
    """Wait until every proxy was scraped once: counters tell what happens from then on."""
    for _ in range(round(SCRAPE_SECONDS / SETTLE_STEP_SECONDS)):
        if await meshweir.scrapes():
            # each proxy has its own moment in the interval
            await asyncio.sleep(INTERVAL_SECONDS)
            return
        await asyncio.sleep(SETTLE_STEP_SECONDS)
    raise DemoFailed(f"the proxies were not scraped within {SCRAPE_SECONDS:.0f} s")


async def run_demo(
    data: Path | None,
    *,
    api: Address,
    telemetry: Address,
    kafka: str | None = None,
    duration: float | None,
) -> int:
    """Run the demo until Ctrl-C, or for a while; ``api.demo.run`` says what it answers."""
    console = Console()
    # a line for each of many requests would bury the table
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        if kafka == "":
            console.print("starting a Kafka broker for the demo", highlight=False)
        async with running_demo(data, api=api, telemetry=telemetry, kafka=kafka) as demo:
            with _stop_on_signals() as stop:
                _greet(console, demo)
                await _show(demo, console, stop, duration)
                exact = await _settle(demo, console)
    except (DemoFailed, BrokerFailed) as error:
        print(f"meshweir demo: {error}", file=sys.stderr)  # noqa: T201 - a command's answer
        return 1
    if stop.interrupted:
        return INTERRUPTED
    return 0 if exact else 1


@dataclass(slots=True)
class _Stop:
    """Says when to stop, and whether a person said so."""

    event: asyncio.Event
    interrupted: bool = False


async def run_mesh(*, telemetry: Address, duration: float | None) -> int:
    """Run the mesh alone, beside a Meshweir that is there already, until Ctrl-C or for a while.

    Args:
        telemetry: where that Meshweir takes OTLP/gRPC without a token.
        duration: seconds of load; None for no end.

    Returns:
        The exit code: 0 when every request had an answer, 1, with the reason, when not; 130 after
        Ctrl-C.
    """
    console = Console()
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        with tempfile.TemporaryDirectory(prefix="meshweir-demo-") as name:
            async with running_mesh(MESH, telemetry=telemetry, directory=Path(name)) as mesh:
                with _stop_on_signals() as stop:
                    said = f"gateway  http://{mesh.gateway}, telemetry to {telemetry}"
                    console.print(said, soft_wrap=True, highlight=False)
                    await _send(mesh, stop, duration)
                    await asyncio.sleep(FLUSH_SECONDS)
    except DemoFailed as error:
        print(f"meshweir demo: {error}", file=sys.stderr)  # noqa: T201 - a command's answer
        return 1
    lost = mesh.load.unanswered
    console.print(f"{mesh.load.sent} requests, {lost} without an answer", highlight=False)
    if stop.interrupted:
        return INTERRUPTED
    return 1 if lost else 0


async def _send(mesh: RunningMesh, stop: _Stop, duration: float | None) -> None:
    """Send load until Ctrl-C or the time's end; raises DemoFailed when a proxy ends."""
    load = asyncio.create_task(mesh.load.run(stop.event))
    try:
        async with asyncio.timeout(duration):
            while not stop.event.is_set():
                mesh.check()
                await asyncio.wait({load}, timeout=1.0)
    except TimeoutError:
        pass
    finally:
        stop.event.set()
        await load


@contextmanager
def _stop_on_signals() -> Iterator[_Stop]:
    """The first Ctrl-C or SIGTERM stops in order; the next ends at once, as without this."""
    loop = asyncio.get_running_loop()
    stop = _Stop(asyncio.Event())
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)

    def take(number: signal.Signals) -> None:
        stop.interrupted = number == signal.SIGINT
        stop.event.set()
        restore()

    for number in before:
        loop.add_signal_handler(number, take, number)
    try:
        yield stop
    finally:
        restore()


def _greet(console: Console, demo: Demo) -> None:
    sidecars = len(demo.mesh.envoys) - 1
    url = demo.meshweir.url
    for line in (
        f"API      {url}/v1/graph",
        f"openapi  {url}/openapi.json",
        *_greet_kafka(demo.kafka),
        f"gateway  http://{demo.mesh.gateway} with {sidecars} sidecars behind it; Ctrl-C ends it",
    ):
        console.print(line, soft_wrap=True, highlight=False)


def _greet_kafka(kafka: Kafka | None) -> Iterator[str]:
    if kafka is not None:
        whose = "started for the demo" if kafka.own else "not started by the demo"
        yield f"kafka    {kafka.servers} ({whose}), topics {kafka.prefix}*"
        yield "         between meshweir collect, process and serve, each a process of its own"


async def _show(demo: Demo, console: Console, stop: _Stop, duration: float | None) -> None:
    """Send load and draw the table each second, until the load's end, the time's, or Ctrl-C."""
    load = asyncio.create_task(demo.mesh.load.run(stop.event))
    clock = asyncio.get_running_loop().time
    end = None if duration is None else clock() + duration
    try:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            while not load.done() and not stop.event.is_set():
                demo.check()
                live.update(edges_table(await demo.meshweir.graph(), demo.truth()), refresh=True)
                if end is not None and clock() >= end:
                    break
                await asyncio.wait({load}, timeout=1.0)
    finally:
        stop.event.set()
        await load


async def _settle(demo: Demo, console: Console) -> bool:
    """Wait for the last telemetry, then draw the edges and say whether they are true."""
    exact = await demo.settle()
    graph = await demo.meshweir.graph()
    console.print(edges_table(graph, demo.truth()))
    lost = demo.mesh.load.unanswered
    said = f"{verdict(seen(graph), demo.truth())}; {lost} requests without an answer"
    if unplanned_failures := demo.unplanned:
        said += f"; {unplanned_failures} failed that should not have: is this machine too busy?"
    console.print(said, soft_wrap=True, highlight=False)
    return exact and lost == 0
