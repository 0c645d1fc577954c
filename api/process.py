"""Puts the parts of one process together by its role, and takes them apart again."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial

from api.app import create_app
from api.cache import AnswerCache
from api.configured import Configured
from api.context import Context, HealthContext
from api.feeding import Feed
from api.listen import bound_address
from api.parts import (
    claimed,
    collecting,
    embedded_bus,
    kafka_bus,
    repeating,
    telling,
)
from api.pseudonyms import of_role
from api.readiness import Readiness
from api.role import Role
from api.running import announced
from api.serving import Front, served
from api.settings import Settings
from api.stores import opened_store
from api.targets import Targets
from api.version import program_version
from api.watched import WatchedJob
from collectors.listen import bind, split_address
from collectors.redaction import redaction
from pipeline.bus.port import Bus
from pipeline.jobs.compact import CompactJob
from pipeline.jobs.ingest import IngestJob
from pipeline.jobs.job import Job
from pipeline.jobs.metric_minutes import MetricMinutesJob
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
        configured: what the files say that were set.
        ready: what it lacks.
        ledger: where telemetry is counted.
        store: where telemetry is kept; None where the role needs none, and before it is open.
        bus: where it waits; likewise.
        targets: whom it asks for telemetry.
    """

    role: Role
    settings: Settings
    configured: Configured
    ready: Readiness
    ledger: Ledger
    store: Store | None = None
    bus: Bus | None = None
    targets: Targets = field(default_factory=Targets)


@asynccontextmanager
async def running(
    role: Role, settings: Settings, configured: Configured
) -> AsyncIterator[Mapping[str, str]]:
    """What a role does, in this process; yields each listener's name and address.

    All listen from then on; what is not there yet ``/readyz`` tells.

    Args:
        role: what it does.
        settings: what was set.
        configured: what the files say that were set.

    Raises:
        InvalidInput: an address, or the key of pseudonyms, cannot be had.
        MeshweirError: a part cannot be opened.
    """
    settings = of_role(settings, role)
    token = settings.api.bearer_token()
    host, port = split_address(settings.api.address, field="api_address")
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        listener = stack.enter_context(contextlib.closing(bind(host, port, field="api_address")))
        api = f"http://{bound_address(listener)}"
        parts = Opened(role, settings, configured, Readiness(), Ledger())
        telemetry = await enter(telling(parts.ledger))
        make_app = partial(create_app, token=token, middleware=telemetry.middleware())
        front = Front(make_app(make_context(parts)), parts.ready)
        serving = await enter(served(front, listener, settings.api.drain_seconds))
        parts = await _open(parts, stack)
        await enter(repeating(telemetry.observed(make_jobs(parts))))
        front.open(make_app(make_context(parts)))
        # requests under way are answered before the parts that answer them are taken away
        stack.push_async_callback(serving.drain)
        addresses = await enter(_collecting(parts))
        if role.answers:
            stack.enter_context(announced(settings.data, api))
        parts.ready.started()
        stack.callback(parts.ready.stopping)
        yield {"api": api, **addresses}


async def _open(parts: Opened, stack: AsyncExitStack) -> Opened:
    """The same process with its store and bus."""
    role, settings, store, bus = parts.role, parts.settings, parts.store, parts.bus
    if role.stores:
        prefer = Backend.DUCKLAKE if role.shares else Backend.FILE
        opening = opened_store(settings, parts.ready, prefer=prefer, writes=role.works)
        store = await stack.enter_async_context(opening)
    if settings.kafka.bootstrap_servers:
        if store is not None and role.works:
            await claimed(settings, Feed.KAFKA, store)
        group = settings.kafka.group if role.works else None
        bus = await stack.enter_async_context(kafka_bus(settings, parts.ready, group=group))
    elif store is not None and role.works:
        bus = await stack.enter_async_context(embedded_bus(settings, store))
    return replace(parts, store=store, bus=bus)


@asynccontextmanager
async def _collecting(parts: Opened) -> AsyncIterator[Mapping[str, str]]:
    if not parts.role.receives or parts.bus is None:
        yield {}
        return
    receiving = collecting(parts.settings, parts.bus, parts.ledger, parts.targets)
    async with receiving as addresses:
        yield addresses


def make_jobs(parts: Opened) -> list[Job]:
    """Everything that runs again and again."""
    if not parts.role.works or parts.store is None or parts.bus is None:
        return []
    ingest: Job = IngestJob(
        parts.bus,
        parts.store,
        parts.ledger,
        parts.settings.ingest,
        masked=redaction(parts.settings.collectors.intake),
    )
    if parts.settings.kafka.bootstrap_servers:
        ingest = WatchedJob(ingest, parts.ready)
    pauses = parts.settings.store
    return [
        ingest,
        MinutesJob(parts.store, parts.configured.documents),
        MetricMinutesJob(parts.store),
        RetireJob(parts.store, cadence=pauses.retire_seconds),
        CompactJob(parts.store, cadence=pauses.compact_seconds),
    ]


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
        targets=parts.targets,
    )
    if not parts.role.answers or parts.store is None:
        return health
    cache = AnswerCache(api.cache_bytes)
    return Context.answering(health, parts.store, cache, parts.configured.aliases)
