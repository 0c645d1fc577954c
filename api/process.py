"""Puts the parts of one process together by its role, and takes them apart again."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from api.app import create_app
from api.cache import AnswerCache
from api.context import Context, HealthContext
from api.feeding import Feed
from api.listen import bound_address
from api.parts import (
    claimed,
    collecting,
    embedded_bus,
    kafka_bus,
    opened_store,
    repeating,
    telling,
)
from api.readiness import Readiness
from api.role import Role
from api.running import announced
from api.serving import served
from api.settings import Settings
from api.version import program_version
from api.watched import WatchedJob
from collectors.listen import bind, split_address
from pipeline.bus.port import Bus
from pipeline.jobs.ingest import IngestJob
from pipeline.jobs.job import Job
from pipeline.jobs.minutes import MinutesJob
from pipeline.jobs.retire import RetireJob
from pipeline.model.ledger import Ledger
from pipeline.store import Backend
from pipeline.store.port import Store


@dataclass(frozen=True, slots=True)
class Opened:
    """The parts that one process has, by its role.

    Attributes:
        role: what it does.
        settings: what was set.
        ready: what it lacks.
        ledger: where telemetry is counted.
        store: where telemetry is kept; None where the role needs none.
        bus: where it waits; likewise.
    """

    role: Role
    settings: Settings
    ready: Readiness
    ledger: Ledger
    store: Store | None
    bus: Bus | None


@asynccontextmanager
async def running(role: Role, settings: Settings) -> AsyncIterator[Mapping[str, str]]:
    """What a role does, in this process; yields each listener's name and address.

    All listen from then on; what is not there yet ``/readyz`` tells.

    Raises:
        InvalidInput: an address cannot be had.
        MeshweirError: a part cannot be opened.
    """
    token = settings.api.bearer_token()
    host, port = split_address(settings.api.address, field="api_address")
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(contextlib.closing(bind(host, port, field="api_address")))
        api = f"http://{bound_address(listener)}"
        parts = await _opened(role, settings, stack)
        telemetry = await stack.enter_async_context(telling(parts.ledger))
        await stack.enter_async_context(repeating(telemetry.observed(make_jobs(parts))))
        app = create_app(make_context(parts), token=token, middleware=telemetry.middleware())
        await stack.enter_async_context(served(app, listener, settings.api.drain_seconds))
        addresses: Mapping[str, str] = {}
        if role.receives and parts.bus is not None:
            receivers = collecting(settings, parts.bus, parts.ledger)
            addresses = await stack.enter_async_context(receivers)
        if role.answers:
            stack.enter_context(announced(settings.data, api))
        parts.ready.started()
        stack.callback(parts.ready.stopping)
        yield {"api": api, **addresses}


async def _opened(role: Role, settings: Settings, stack: AsyncExitStack) -> Opened:
    ready, store, bus = Readiness(), None, None
    if role.stores:
        prefer = Backend.DUCKLAKE if role.shares else Backend.FILE
        store = await stack.enter_async_context(opened_store(settings, prefer=prefer))
    if settings.kafka.bootstrap_servers:
        if store is not None and role.works:
            await claimed(settings, Feed.KAFKA, store)
        group = settings.kafka.group if role.works else None
        bus = await stack.enter_async_context(kafka_bus(settings, ready, group=group))
    elif store is not None and role.works:
        bus = await stack.enter_async_context(embedded_bus(settings, store))
    return Opened(role, settings, ready, Ledger(), store, bus)


def make_jobs(parts: Opened) -> list[Job]:
    """Everything that runs again and again."""
    if not parts.role.works or parts.store is None or parts.bus is None:
        return []
    ingest: Job = IngestJob(
        parts.bus,
        parts.store,
        parts.ledger,
        parts.settings.ingest,
        masked_keys=parts.settings.collectors.intake.masked_keys,
    )
    if parts.settings.kafka.bootstrap_servers:
        ingest = WatchedJob(ingest, parts.ready)
    return [ingest, MinutesJob(parts.store), RetireJob(parts.store)]


def make_context(parts: Opened) -> HealthContext:
    """What the HTTP interface works with."""
    api, now = parts.settings.api, datetime.now(UTC)
    health = HealthContext(
        ledger=parts.ledger,
        store=parts.store,
        bus=parts.bus,
        clock=lambda: datetime.now(UTC),
        unready=parts.ready,
        slots=asyncio.Semaphore(api.concurrent_questions),
        version=program_version(),
        started=now,
    )
    if not parts.role.answers or parts.store is None:
        return health
    return Context.answering(health, parts.store, AnswerCache(api.cache_bytes))
