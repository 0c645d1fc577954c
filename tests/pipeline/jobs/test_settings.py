"""What the settings of ingest change: the size of a slice, and the bound on services."""

from pathlib import Path

import pytest

from pipeline.bus.embedded import EmbeddedBus
from pipeline.bus.settings import EmbeddedBusSettings
from pipeline.jobs.ingest import IngestJob
from pipeline.jobs.settings import IngestSettings
from pipeline.model.ledger import Ledger
from pipeline.model.messages import Partition
from pipeline.model.topics import OTLP_SPANS
from pipeline.store import open_store
from pipeline.store.settings import StoreSettings
from tests.collectors.payloads import traces

pytestmark = pytest.mark.anyio

KIB = 1024


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def named(service: str, spans: int) -> bytes:
    """A request of one service."""
    request = traces(spans)
    (resource,) = request.resource_spans
    del resource.resource.attributes[:]
    resource.resource.attributes.add(key="service.name").value.string_value = service
    return request.SerializeToString()


async def test_slices_and_services_are_as_the_settings_say(tmp_path: Path) -> None:
    bus = EmbeddedBus(tmp_path / "bus", EmbeddedBusSettings(min_free_bytes=0))
    store = open_store(tmp_path, StoreSettings())
    settings = IngestSettings(batch_bytes=64 * KIB, max_services=2)
    job = IngestJob(bus, store, Ledger(), settings)
    await bus.start()
    try:
        bodies = [named(name, 600) for name in ("a", "b", "c", "d")]
        assert all(32 * KIB < len(body) < 64 * KIB for body in bodies)
        for body in bodies:
            await bus.publish(OTLP_SPANS, body, {})
        for taken in (1, 2, 3, 4):
            assert await job.run()
            assert store.positions()[Partition(OTLP_SPANS)] == taken
        assert not await job.run()
        names = set(store.ask("resources")["service_name"])
        assert names == {"a", "b", "overflow"}
    finally:
        await bus.stop()
        store.close()
