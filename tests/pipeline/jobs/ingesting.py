"""A bus with messages on it and a job that ingests them, for tests."""

import asyncio
from contextlib import asynccontextmanager

from pipeline.bus.embedded import EmbeddedBus
from pipeline.bus.settings import EmbeddedBusSettings
from pipeline.jobs.ingest import IngestJob
from pipeline.model.ledger import Ledger
from tests.collectors.payloads import traces


class WatchedBus(EmbeddedBus):
    """An embedded bus that remembers what was set aside, and fails as it is told to."""

    def __init__(self, directory, *, troubles=(), away=()):
        super().__init__(directory, EmbeddedBusSettings(min_free_bytes=0))
        self.troubles = list(troubles)
        self.away = list(away)
        self.aside = []

    async def read(self, positions, *, max_bytes, wait):
        """As usual, but not for as long."""
        if self.troubles:
            raise self.troubles.pop(0)
        return await super().read(positions, max_bytes=max_bytes, wait=wait / 20)

    async def set_aside(self, messages):
        """Remember them."""
        if self.away:
            raise self.away.pop(0)
        self.aside += messages


@asynccontextmanager
async def published(tmp_path, *messages, **how):
    """A bus with messages of (topic, bytes, headers) on it."""
    bus = WatchedBus(tmp_path / "bus", **how)
    await bus.start()
    try:
        for topic, value, headers in messages:
            await bus.publish(topic, value, headers)
        yield bus
    finally:
        await bus.stop()


async def settle(job):
    while await job.run():
        pass


def ingested(tmp_path, store, *messages, masked=None):
    """Publish messages and ingest them; the counts by flow."""
    ledger = Ledger()

    async def run():
        async with published(tmp_path, *messages) as bus:
            await settle(IngestJob(bus, store, ledger, masked=masked))

    asyncio.run(run())
    return ledger.snapshot()


def told(records, rejected=0):
    return {
        "source": "otlp_http",
        "records": str(records),
        "rejected": str(rejected),
        "received_at": "1790000000000000000",
    }


def with_secret(secret: str):
    request = traces(1)
    span = request.resource_spans[0].scope_spans[0].spans[0]
    span.attributes.add(key="password").value.string_value = secret
    return request
