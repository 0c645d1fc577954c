"""The intake: what every receiver does with a body, once - check, cut to size, publish, count.

Receivers know their transport; the intake knows none. It answers with a receipt, in which an error
of ``pipeline/errors.py`` says what went wrong; each receiver spells that in its own codes.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from collectors.delivery import PATIENCE_SECONDS, Delivery, PartlyStored, parts_of
from collectors.redaction import redaction
from collectors.room import Claim, Room
from collectors.settings import IntakeSettings
from pipeline.bus.port import Bus
from pipeline.decode.door import Admission, admit
from pipeline.errors import (
    BusFull,
    BusUnavailable,
    DecodeError,
    MeshweirError,
    MessageTooLarge,
    Transient,
)
from pipeline.model.ledger import Flow, Ledger, Outcome
from pipeline.model.topics import (
    FORMAT_HEADER,
    FORMAT_SIGNAL,
    RECEIVED_AT_HEADER,
    SOURCE_HEADER,
)

T = TypeVar("T")

_OFF_LOOP_BYTES: Final = 2 * 1024 * 1024
"""Bodies of this size and more are checked in a thread, so that others do not wait for them."""

Body = Callable[[Claim], Awaitable[bytes]]
"""Brings the body: reads, inflates, converts; grows the claim by what it holds in memory."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One way in: where its records come from, what they are, where they go.

    Attributes:
        source: name of the receiver.
        format: name of the format of the bodies.
        topic: bus topic.
        patience: seconds to wait for a full bus, where the sender cannot be told to come back.
        lost: what becomes of records that are not taken: rejected, or dropped where the sender
            does not hear of it.
    """

    source: str
    format: str
    topic: str
    patience: float = 0.0
    lost: Outcome = Outcome.REJECTED

    @property
    def flow(self) -> Flow:
        """Under which name its records are counted."""
        return Flow(self.source, FORMAT_SIGNAL[self.format])


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one body.

    Attributes:
        accepted: records that are durable now.
        rejected: records refused for a reason of their own, while the others were accepted.
        reason: why; of the first such record.
        error: why the body was not accepted, or None. Nothing of it was, unless that is
            ``PartlyStored``.
    """

    accepted: int = 0
    rejected: int = 0
    reason: str = ""
    error: MeshweirError | None = None


class Intake:
    """Takes bodies to the bus; shared by all receivers.

    Args:
        bus: where bodies go.
        ledger: where they are counted.
        settings: room for requests under way, and what is hidden.
        clock: Unix nanoseconds.
    """

    def __init__(
        self,
        bus: Bus,
        ledger: Ledger,
        settings: IntakeSettings,
        *,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._bus = bus
        self._ledger = ledger
        self._masked = redaction(settings)
        self._clock = clock
        self.room = Room(settings.max_in_flight_bytes, retry_after=settings.retry_after_seconds)

    async def take(self, channel: Channel, body: Body) -> Receipt:
        """Bring a body to the bus; returns when it is durable, or refused.

        While the bus has much that waits to be stored, the answer is held back for a moment: what
        is accepted is durable by then, and its sender slows down.

        A body larger than a message of the bus is cut between its records; a single record that is
        larger refuses the whole body. A body in which no record is good is not published. One that
        could not be read or checked counts as one record, since nobody knows how many it had. A
        channel with patience waits for room and for the bus, and asks for the body again.
        """
        receipt = await self._take(channel, body)
        if receipt.accepted:
            # here nothing of the body is held any more, neither its bytes nor its room
            await self._bus.ease()
        return receipt

    async def warm_up(self, *formats: str) -> None:
        """Have the check compiled before the first sender waits for it."""
        for format_name in formats:
            await asyncio.to_thread(admit, format_name, b"", self._masked)

    async def _take(self, channel: Channel, body: Body) -> Receipt:
        records, size = 1, 0
        give_up = time.monotonic() + channel.patience
        while True:
            try:
                with self.room.claim() as claim:
                    value = await body(claim)
                    size = len(value)
                    whole = await self._off_loop(
                        size, partial(admit, channel.format, value, self._masked)
                    )
                    records = whole.records + whole.rejected
                    if whole.records:
                        await self._deliver(channel, whole, claim)
            except PartlyStored as error:
                # from the beginning it would only be stored twice, and the part was tried again
                return self._refused(channel, records, size, error)
            except Transient as error:
                if time.monotonic() + error.retry_after >= give_up:
                    return self._refused(channel, records, size, error)
                await asyncio.sleep(error.retry_after)
            except MeshweirError as error:
                return self._refused(channel, records, size, error)
            else:
                return self._taken(channel, whole, size)

    async def _off_loop(self, size: int, work: Callable[[], T]) -> T:
        return work() if size < _OFF_LOOP_BYTES else await asyncio.to_thread(work)

    async def _deliver(self, channel: Channel, whole: Admission, claim: Claim) -> None:
        size, limit = len(whole.body), self._bus.max_message_bytes
        if size > limit:
            claim.grow(size)  # the parts, beside the whole
        parts = await self._off_loop(size, partial(parts_of, channel.format, whole, limit=limit))
        headers = {
            FORMAT_HEADER: channel.format,
            SOURCE_HEADER: channel.source,
            RECEIVED_AT_HEADER: str(self._clock()),
        }
        patience = max(channel.patience, PATIENCE_SECONDS)
        delivery = Delivery(self._bus, channel.topic, parts, headers, patience=patience)
        publishing = asyncio.ensure_future(delivery.run())
        try:
            await asyncio.shield(publishing)
        except asyncio.CancelledError:
            # the sender went away; the bus has the message all the same, so it must be counted
            delivery.hurry()
            publishing.add_done_callback(partial(self._count_alone, channel, whole))
            raise

    def _count_alone(
        self, channel: Channel, whole: Admission, publishing: asyncio.Future[None]
    ) -> None:
        error = None if publishing.cancelled() else publishing.exception()
        size = len(whole.body)
        if isinstance(error, MeshweirError):
            self._refused(channel, whole.records + whole.rejected, size, error)
        else:
            self._taken(channel, whole, size)

    def _taken(self, channel: Channel, admission: Admission, size: int) -> Receipt:
        count, flow = self._ledger.count, channel.flow
        self._ledger.count_bytes(flow, size)
        count(flow, Outcome.RECEIVED, admission.records + admission.rejected)
        count(flow, Outcome.ACCEPTED, admission.records)
        count(flow, channel.lost, admission.rejected, reason=admission.reason)
        return Receipt(admission.records, admission.rejected, admission.reason)

    def _refused(self, channel: Channel, records: int, size: int, error: MeshweirError) -> Receipt:
        count, flow = self._ledger.count, channel.flow
        accepted = error.accepted if isinstance(error, PartlyStored) else 0
        self._ledger.count_bytes(flow, size)
        count(flow, Outcome.RECEIVED, records)
        count(flow, Outcome.ACCEPTED, accepted)
        count(flow, channel.lost, records - accepted, reason=reason_of(error))
        return Receipt(error=error)


def reason_of(error: MeshweirError) -> str:
    """Why something was refused, in words that can be counted."""
    if isinstance(error, DecodeError):
        return f"malformed: {error.reason}"
    names: dict[type[MeshweirError], str] = {
        MessageTooLarge: "too large",
        BusFull: "bus full",
        BusUnavailable: "bus unavailable",
    }
    return names.get(type(error)) or str(getattr(error, "reason", type(error).__name__))
