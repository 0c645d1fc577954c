"""Bodies larger than a message of the bus are cut, wholly taken or refused, and counted."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from envoy.service.accesslog.v3.als_pb2 import StreamAccessLogsMessage
from hypothesis import given, settings, strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collectors.delivery import PartlyStored, parts_of
from collectors.intake import Channel, Intake
from collectors.room import Claim
from collectors.settings import IntakeSettings
from pipeline.bus.embedded import EmbeddedBus
from pipeline.bus.settings import EmbeddedBusSettings
from pipeline.decode.door import MaskedKeys, admit
from pipeline.errors import BusUnavailable, MessageTooLarge, Transient
from pipeline.model.ledger import Ledger, Outcome
from pipeline.model.messages import Message
from pipeline.model.topics import (
    ENVOY_ALS_FORMAT,
    OTLP_SPANS,
    OTLP_TRACES_FORMAT,
    RAW_TELEMETRY,
)
from tests.collectors.payloads import traces

pytestmark = pytest.mark.anyio

LIMIT = 2000
SPANS = Channel("otlp_http", OTLP_TRACES_FORMAT, OTLP_SPANS)
ENTRIES = Channel("envoy_als", ENVOY_ALS_FORMAT, RAW_TELEMETRY)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class SmallBus(EmbeddedBus):
    """A bus of small messages, which fails at certain publications as it is told to."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, EmbeddedBusSettings(min_free_bytes=0))
        self.published = 0
        self.troubles: dict[int, list[Transient]] = {}
        self.in_trouble = asyncio.Event()

    @property
    def max_message_bytes(self) -> int:
        """Few."""
        return LIMIT

    async def publish(self, topic: str, value: bytes, headers: Mapping[str, str]) -> int:
        """Fail when it is time to, else publish."""
        if self.troubles.get(self.published):
            self.in_trouble.set()
            raise self.troubles[self.published].pop(0)
        assert len(value) <= LIMIT
        self.published += 1
        return await super().publish(topic, value, headers)

    async def messages(self) -> list[Message]:
        """All messages."""
        return list(await self.read({}, max_bytes=1 << 40, wait=0))


class Bench:
    """An intake and what stands behind it."""

    def __init__(self, bus: SmallBus) -> None:
        self.bus = bus
        self.ledger = Ledger()
        self.intake = Intake(bus, self.ledger, IntakeSettings())

    async def take(self, body: bytes, channel: Channel = SPANS):
        """Take a body."""

        async def read(claim: Claim) -> bytes:
            claim.grow(len(body))
            return body

        return await self.intake.take(channel, read)

    def outcomes(self, channel: Channel = SPANS) -> dict[Outcome, int]:
        """What became of the records of a channel."""
        return self.ledger.snapshot()[channel.flow].outcomes


@asynccontextmanager
async def bench(directory: Path) -> AsyncIterator[Bench]:
    bus = SmallBus(directory)
    await bus.start()
    try:
        yield Bench(bus)
    finally:
        await bus.stop()


def total(messages: list[Message], header: str) -> int:
    return sum(int(message.headers[header]) for message in messages)


async def test_a_large_body_is_taken_in_parts_that_say_what_they_hold(tmp_path: Path) -> None:
    request = traces(30, wrong_ids=12, pad=100)
    async with bench(tmp_path) as at:
        receipt = await at.take(request.SerializeToString())
        messages = await at.bus.messages()
    assert (receipt.accepted, receipt.rejected, receipt.error) == (30, 12, None)
    assert len(messages) > 3
    assert (total(messages, "records"), total(messages, "rejected")) == (42, 12)
    for message in messages:
        told = admit(OTLP_TRACES_FORMAT, message.value, MaskedKeys())
        assert message.headers["records"] == str(told.records + told.rejected)
        assert message.headers["rejected"] == str(told.rejected)
    assert len({message.headers["received_at"] for message in messages}) == 1
    spans = [
        span
        for message in messages
        for span in _spans(ExportTraceServiceRequest.FromString(message.value))
    ]
    assert spans == _spans(request)
    assert at.outcomes() == {Outcome.RECEIVED: 42, Outcome.ACCEPTED: 30, Outcome.REJECTED: 12}
    assert at.intake.room.used == 0


def _spans(request: ExportTraceServiceRequest) -> list:
    return [
        span
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


async def test_secrets_are_masked_in_every_part(tmp_path: Path) -> None:
    request = traces(30, pad=100)
    for span in _spans(request):
        span.attributes.add(key="password").value.string_value = "hunter2"
    async with bench(tmp_path) as at:
        await at.take(request.SerializeToString())
        assert not any(b"hunter2" in message.value for message in await at.bus.messages())


async def test_a_record_larger_than_a_message_is_named_and_nothing_is_taken(
    tmp_path: Path,
) -> None:
    request = traces(30, pad=100)
    _spans(request)[24].attributes[0].value.string_value = "x" * LIMIT
    async with bench(tmp_path) as at:
        receipt = await at.take(request.SerializeToString())
        assert await at.bus.messages() == []
    assert isinstance(receipt.error, MessageTooLarge)
    assert "record 25 of the body" in str(receipt.error)
    assert at.outcomes() == {Outcome.RECEIVED: 30, Outcome.REJECTED: 30}
    assert at.ledger.snapshot()[SPANS.flow].reasons == {(Outcome.REJECTED, "too large"): 30}


async def test_a_body_that_would_grow_too_much_is_refused(tmp_path: Path) -> None:
    request = traces(30, pad=100)
    resource = request.resource_spans[0].resource
    resource.attributes.add(key="blob").value.string_value = "x" * (LIMIT - 400)
    async with bench(tmp_path) as at:
        receipt = await at.take(request.SerializeToString())
        assert await at.bus.messages() == []
    assert isinstance(receipt.error, MessageTooLarge)
    assert "each repeat a resource" in str(receipt.error)


async def test_a_part_that_meets_trouble_is_tried_again(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        at.bus.troubles[2] = [BusUnavailable("away", retry_after=0.01) for _ in range(3)]
        receipt = await at.take(traces(30, pad=100).SerializeToString())
        assert receipt.accepted == 30
        assert total(await at.bus.messages(), "records") == 30


async def test_a_bus_that_stays_away_in_the_middle_of_a_body_is_told(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        at.bus.troubles[2] = [BusUnavailable("away", retry_after=60)]
        receipt = await at.take(traces(30, pad=100).SerializeToString())
        stored = total(await at.bus.messages(), "records")
    assert isinstance(receipt.error, PartlyStored)
    assert "2 of the" in str(receipt.error)
    assert receipt.error.retry_after == 60
    assert 0 < stored < 30
    assert at.outcomes() == {
        Outcome.RECEIVED: 30, Outcome.ACCEPTED: stored, Outcome.REJECTED: 30 - stored,
    }  # fmt: skip
    assert (Outcome.REJECTED, "partly stored") in at.ledger.snapshot()[SPANS.flow].reasons


async def test_a_bus_that_is_away_from_the_beginning_has_taken_nothing(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        at.bus.troubles[0] = [BusUnavailable("away", retry_after=0.01)]
        receipt = await at.take(traces(30, pad=100).SerializeToString())
        assert isinstance(receipt.error, BusUnavailable)
        assert await at.bus.messages() == []
    assert at.outcomes() == {Outcome.RECEIVED: 30, Outcome.REJECTED: 30}


async def test_parts_of_a_sender_that_went_away_are_counted(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        away = [BusUnavailable("away", retry_after=0.05) for _ in range(2)]
        at.bus.troubles[2] = [*away, BusUnavailable("away", retry_after=60)]
        taking = asyncio.create_task(at.take(traces(30, pad=100).SerializeToString()))
        await at.bus.in_trouble.wait()
        taking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await taking
        while not at.ledger.snapshot():  # noqa: ASYNC110 - the ledger tells nobody that it counts
            await asyncio.sleep(0.01)
        stored = total(await at.bus.messages(), "records")
    assert at.outcomes()[Outcome.ACCEPTED] == stored
    assert at.outcomes()[Outcome.RECEIVED] == 30


async def test_access_logs_are_cut_between_entries_and_keep_their_sender(tmp_path: Path) -> None:
    message = StreamAccessLogsMessage()
    message.identifier.log_name = "outbound"
    message.identifier.node.id = "sidecar~cart"
    for number in range(50):
        message.http_logs.log_entry.add().request.path = f"/{number}?{'x' * 100}"
    async with bench(tmp_path) as at:
        receipt = await at.take(message.SerializeToString(), ENTRIES)
        found = [StreamAccessLogsMessage.FromString(one.value) for one in await at.bus.messages()]
    assert receipt.accepted == 50
    assert len(found) > 2
    assert all(one.identifier == message.identifier for one in found)
    entries = [entry for one in found for entry in one.http_logs.log_entry]
    assert entries == list(message.http_logs.log_entry)


@settings(deadline=None)
@given(
    spans=st.integers(1, 12), wrong=st.integers(0, 3), pad=st.integers(0, 200),
    limit=st.integers(1, 3000),
)  # fmt: skip
def test_parts_fit_or_the_body_is_refused(spans: int, wrong: int, pad: int, limit: int) -> None:
    body = traces(spans, wrong_ids=wrong, pad=pad).SerializeToString()
    whole = admit(OTLP_TRACES_FORMAT, body, MaskedKeys())
    try:
        parts = parts_of(OTLP_TRACES_FORMAT, whole, limit=limit)
    except MessageTooLarge:
        # one record with its resource, or what is repeated, is too much
        assert limit < 400 + pad
    else:
        assert all(len(part.body) <= limit for part in parts)
        assert sum(part.records for part in parts) == whole.records
        assert sum(part.rejected for part in parts) == whole.rejected
