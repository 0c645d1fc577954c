"""Puts the parts of one process together, and takes them apart in the opposite order."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import uvicorn
from fastapi import FastAPI

from api.app import create_app
from api.cache import AnswerCache
from api.context import Context
from api.listen import bound_address
from api.running import announced
from api.settings import Settings
from api.telemetry import Telemetry
from api.version import program_version
from collectors.listen import bind, split_address
from collectors.runner import Collectors
from pipeline.bus.embedded import EmbeddedBus
from pipeline.errors import MeshweirError
from pipeline.jobs.ingest import IngestJob
from pipeline.jobs.job import Job
from pipeline.jobs.minutes import MinutesJob
from pipeline.jobs.retire import RetireJob
from pipeline.jobs.scheduler import Scheduler
from pipeline.model.ledger import Ledger
from pipeline.store import open_store
from pipeline.store.port import Store

BUS_DIRECTORY: Final = "bus"


@dataclass(frozen=True, slots=True)
class Parts:
    """What every process has: where telemetry waits, where it is kept, where it is counted."""

    settings: Settings
    store: Store
    bus: EmbeddedBus
    ledger: Ledger


@asynccontextmanager
async def open_parts(settings: Settings) -> AsyncIterator[Parts]:
    """Open store and bus; close them in the opposite order.

    Raises:
        StoreBusy: another process holds the data directory.
        StoreIncompatible: the store is not of this version.
        BusUnavailable: the bus cannot be opened.
    """
    store = await asyncio.to_thread(open_store, settings.data, settings.store)
    try:
        bus = EmbeddedBus(settings.data / BUS_DIRECTORY, settings.bus)
        await bus.start()
        try:
            # a bus that was emptied goes on where the store stands, so that no offset comes twice
            await bus.consumed(await asyncio.to_thread(store.positions))
            yield Parts(settings, store, bus, Ledger())
        finally:
            await bus.stop()
    finally:
        await asyncio.to_thread(store.close)


def make_jobs(parts: Parts) -> list[Job]:
    """Everything that runs again and again."""
    return [
        IngestJob(
            parts.bus,
            parts.store,
            parts.ledger,
            parts.settings.ingest,
            masked_keys=parts.settings.collectors.intake.masked_keys,
        ),
        MinutesJob(parts.store),
        RetireJob(parts.store),
    ]


class Readiness:
    """Why the process does not serve; None once it does."""

    def __init__(self) -> None:
        self.reason: str | None = "starting"

    def __call__(self) -> str | None:
        """The reason, or None."""
        return self.reason


def make_context(parts: Parts, unready: Readiness) -> Context:
    """What the HTTP interface works with."""
    return Context(
        store=parts.store,
        ledger=parts.ledger,
        bus=parts.bus,
        clock=lambda: datetime.now(UTC),
        unready=unready,
        cache=AnswerCache(parts.settings.api.cache_bytes),
        slots=asyncio.Semaphore(parts.settings.api.concurrent_questions),
        version=program_version(),
        started=datetime.now(UTC),
    )


@asynccontextmanager
async def everything(settings: Settings) -> AsyncIterator[Mapping[str, str]]:
    """Collectors, jobs and API in this process; yields each listener's name and address.

    Raises:
        InvalidInput: an address cannot be had.
        MeshweirError: a part cannot be opened.
    """
    token = settings.api.bearer_token()
    host, port = split_address(settings.api.address, field="api_address")
    with contextlib.closing(bind(host, port, field="api_address")) as listener:
        async with open_parts(settings) as parts:
            unready = Readiness()
            async with _telling(parts.ledger) as telemetry:
                app = create_app(
                    make_context(parts, unready), token=token, middleware=telemetry.middleware()
                )
                api = f"http://{bound_address(listener)}"
                async with (
                    _jobs(telemetry.observed(make_jobs(parts))),
                    _served(app, listener, settings.api.drain_seconds),
                    _collecting(parts) as addresses,
                ):
                    with announced(settings.data, api):
                        unready.reason = None
                        try:
                            yield {"api": api, **addresses}
                        finally:
                            unready.reason = "stopping"


@asynccontextmanager
async def _telling(ledger: Ledger) -> AsyncIterator[Telemetry]:
    telemetry = Telemetry.from_environment(ledger, program_version())
    try:
        yield telemetry
    finally:
        await asyncio.to_thread(telemetry.close)


@asynccontextmanager
async def _jobs(jobs: list[Job]) -> AsyncIterator[None]:
    scheduler = Scheduler(jobs)
    running = asyncio.create_task(scheduler.run())
    try:
        yield
    finally:
        scheduler.stop()
        await running


@asynccontextmanager
async def _collecting(parts: Parts) -> AsyncIterator[Mapping[str, str]]:
    collectors = Collectors(parts.settings.collectors, parts.bus, parts.ledger)
    await collectors.start()
    try:
        yield collectors.addresses
    finally:
        await collectors.stop()


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: the command line has them."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def _served(app: FastAPI, listener: socket.socket, drain: float) -> AsyncIterator[None]:
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=max(1, round(drain)),
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            if serving.done():
                raise MeshweirError("the HTTP server did not start; the log on stderr says why")
            await asyncio.sleep(0.005)
        yield
    finally:
        server.should_exit = True
        await serving
