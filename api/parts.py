"""The parts of a process, opened in order and let go of in the opposite order."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from api.beside import beside
from api.feeding import Feed, claim
from api.pseudonyms import with_key
from api.readiness import Readiness
from api.settings import Settings
from api.stores import opened_store
from api.targets import Targets
from api.telemetry import Telemetry
from api.version import program_version
from collectors.runner import Collectors
from collectors.settings import CollectorSettings
from pipeline.bus.embedded import EmbeddedBus
from pipeline.bus.port import Bus
from pipeline.errors import Transient
from pipeline.jobs.job import Job
from pipeline.jobs.repeated import Repeated
from pipeline.jobs.scheduler import Scheduler
from pipeline.model.ledger import Ledger
from pipeline.store.port import Store

log = logging.getLogger(__name__)

BUS_DIRECTORY: Final = "bus"
TAIL_DIRECTORY: Final = "tail"


@dataclass(frozen=True, slots=True)
class Parts:
    """What one process needs that reads telemetry into its store.

    Attributes:
        settings: what was set.
        store: where telemetry is kept.
        bus: where it waits; connected.
        ledger: where it is counted.
    """

    settings: Settings
    store: Store
    bus: Bus
    ledger: Ledger


@asynccontextmanager
async def open_parts(settings: Settings) -> AsyncIterator[Parts]:
    """Open store and bus; close them in the opposite order.

    With Kafka the bus reads any partition, without a consumer group.

    Raises:
        InvalidInput: another bus feeds the data directory, or the key of pseudonyms cannot be had.
        StoreBusy: another process holds the data directory.
        StoreIncompatible: the store is not of this version.
        BusUnavailable: the bus cannot be opened, or no broker answers.
    """
    settings = with_key(settings)
    async with opened_store(settings) as store:
        if settings.kafka.bootstrap_servers:
            await claimed(settings, Feed.KAFKA, store)
            bus = _kafka(settings)
            await bus.start()
            try:
                yield Parts(settings, store, bus, Ledger())
            finally:
                await bus.stop()
        else:
            async with embedded_bus(settings, store) as embedded:
                yield Parts(settings, store, embedded, Ledger())


@asynccontextmanager
async def embedded_bus(settings: Settings, store: Store) -> AsyncIterator[EmbeddedBus]:
    """Open the bus in the data directory; stop it at the end.

    Raises:
        BusUnavailable: another process holds it, or the disk is full.
        InvalidInput: another bus feeds the data directory.
    """
    await claimed(settings, Feed.EMBEDDED, store)
    bus = EmbeddedBus(settings.data / BUS_DIRECTORY, settings.bus)
    await bus.start()
    try:
        # a bus that was emptied goes on where the store stands, so that no offset comes twice
        await bus.consumed(await asyncio.to_thread(store.positions))
        yield bus
    finally:
        await bus.stop()


async def claimed(settings: Settings, feed: Feed, store: Store) -> None:
    """Let a bus feed the store; raises InvalidInput when another one does."""
    claim(settings.data, feed, await asyncio.to_thread(store.positions))


@asynccontextmanager
async def kafka_bus(
    settings: Settings, ready: Readiness, *, group: str | None
) -> AsyncIterator[Bus]:
    """Connect to Kafka beside the body, for as long as it takes; let go at the end.

    Until a broker has answered the bus takes nothing; ``ready`` lacks it then, and whenever it is
    away.
    """
    bus = _kafka(settings, group=group)
    try:
        async with beside(_connect(bus, settings, ready)):
            yield bus
    finally:
        await bus.stop()


def _kafka(settings: Settings, *, group: str | None = None) -> Bus:
    # half a second of imports that a process without Kafka need not pay
    from pipeline.bus.kafka import KafkaBus  # noqa: PLC0415

    return KafkaBus(settings.kafka, group=group)


async def _connect(bus: Bus, settings: Settings, ready: Readiness) -> None:
    servers = ",".join(settings.kafka.bootstrap_servers)
    troubles = Repeated()
    ready.lacks("kafka", f"Kafka has not answered yet ({servers})")
    while True:
        try:
            await bus.start()
        except Transient as problem:
            ready.lacks("kafka", f"Kafka does not answer: {problem}")
            if troubles.worth_saying(str(problem)):
                log.warning("waiting for Kafka: %s; trying again", problem)
            await asyncio.sleep(problem.retry_after)
        else:
            log.info("connected to Kafka (%s)", servers)
            ready.follows("kafka", lambda: bus.status().away)
            return


@asynccontextmanager
async def telling(ledger: Ledger) -> AsyncIterator[Telemetry]:
    """Self-observation, as the environment asks for it; sends what waits at the end."""
    telemetry = Telemetry.from_environment(ledger, program_version())
    try:
        yield telemetry
    finally:
        await asyncio.to_thread(telemetry.close)


@asynccontextmanager
async def repeating(jobs: Sequence[Job]) -> AsyncIterator[None]:
    """Run jobs again and again; let the runs under way finish at the end."""
    scheduler = Scheduler(jobs)
    running = asyncio.create_task(scheduler.run())
    try:
        yield
    finally:
        scheduler.stop()
        await running


@asynccontextmanager
async def collecting(
    settings: Settings, bus: Bus, ledger: Ledger, targets: Targets
) -> AsyncIterator[Mapping[str, str]]:
    """Run the receivers; yields each one's name and address, and drains them at the end.

    Whom they ask for telemetry ``targets`` tells from then on.
    """
    collectors = Collectors(_with_places(settings), bus, ledger)
    targets.follow(collectors.targets)
    await collectors.start()
    try:
        yield collectors.addresses
    finally:
        await collectors.stop()


def _with_places(settings: Settings) -> CollectorSettings:
    """The settings of the collectors; what they keep is in the data directory unless told."""
    collectors = settings.collectors
    kept = {"directory": collectors.tail.directory or settings.data / TAIL_DIRECTORY}
    return collectors.model_copy(update={"tail": collectors.tail.model_copy(update=kept)})
