"""The intake: what every receiver does with a body, once - check, cut to size, publish, count.

Receivers know their transport; the intake knows none. It answers with a receipt, in which an error
of ``pipeline/errors.py`` says what went wrong; each receiver spells that in its own codes.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from collectors.channel import Channel, Parcel, Part
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
from pipeline.model.decoded import Refusal
from pipeline.model.ledger import Ledger, Outcome
from pipeline.model.topics import ORIGIN_HEADER

__all__ = ["Body", "Bring", "Channel", "Intake", "Parcel", "Receipt", "reason_of"]

T = TypeVar("T")

Body = Callable[[Claim], Awaitable[bytes]]
"""Brings the body: reads, inflates, converts; grows the claim by what it holds in memory."""


Bring = Callable[[Claim], Awaitable[Sequence[Parcel]]]
"""Brings a body that holds several things; at most one parcel for each channel."""

_LOOK_BACK_BYTES: Final = 4 * 1024 * 1024

_UNREAD: Final = Admission(b"", 0, (Refusal(0, "not read"),))
"""What is known of a body that could not be read: nobody knows how many records it had."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one body.

    Attributes:
        accepted: good records that are durable now.
        rejected: records refused for a reason of their own, while the others were accepted; of a
            channel that keeps them they are durable, too, and will be quarantined.
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

        async def bring(claim: Claim) -> Sequence[Parcel]:
            return (Parcel(channel, await body(claim)),)

        return await self.take_parcels(channel, bring)

    async def take_parcels(self, channel: Channel, bring: Bring) -> Receipt:
        """The same of a body that holds several things: all of them are checked, then published.

        Args:
            channel: whose patience counts, and as what a body is counted that cannot be read.
            bring: brings the body.
        """
        receipt = await self._take(channel, bring)
        if receipt.accepted:
            # here nothing of the body is held any more, neither its bytes nor its room
            await self._bus.ease()
        return receipt

    def dropped(self, channel: Channel, records: int, reason: str) -> None:
        """Count records that go nowhere: nothing to say, or a scrape that was skipped."""
        self._ledger.count(channel.flow, Outcome.RECEIVED, records)
        self._ledger.count(channel.flow, Outcome.DROPPED, records, reason=reason)

    async def has(self, origin: str, *, since_ns: int, until_ns: int) -> bool:
        """Whether the bus keeps a message of that origin, stored in that time.

        Raises:
            Transient: the bus does not answer.
        """
        for partition, run in (await self._bus.span(since_ns, until_ns)).items():
            at = run.first
            while at < run.until:
                messages = await self._bus.fetch(
                    partition, at, run.until, max_bytes=_LOOK_BACK_BYTES
                )
                if any(message.headers.get(ORIGIN_HEADER) == origin for message in messages):
                    return True
                if not messages:
                    break
                at = messages[-1].offset + 1
        return False

    async def warm_up(self, *formats: str) -> None:
        """Have the check compiled before the first sender waits for it."""
        for format_name in formats:
            await asyncio.to_thread(admit, format_name, b"", self._masked)

    async def _take(self, channel: Channel, bring: Bring) -> Receipt:
        seen = [_Seen(channel)]
        give_up = time.monotonic() + channel.patience
        while True:
            try:
                with self.room.claim() as claim:
                    parcels = await bring(claim)
                    seen = [_Seen(parcel.channel, len(parcel.body)) for parcel in parcels]
                    for number, parcel in enumerate(parcels):
                        seen[number] = await self._checked(parcel)
                    await self._deliver(seen, claim)
            except PartlyStored as error:
                # from the beginning it would only be stored twice, and the part was tried again
                return self._refused(seen, error)
            except Transient as error:
                if time.monotonic() + error.retry_after >= give_up:
                    return self._refused(seen, error)
                await asyncio.sleep(error.retry_after)
            except MeshweirError as error:
                return self._refused(seen, error)
            else:
                return self._taken(seen)

    async def _checked(self, parcel: Parcel) -> "_Seen":
        check = partial(admit, parcel.channel.format, parcel.body, self._masked)
        whole = await _worked(parcel.channel, len(parcel.body), check)
        return _Seen(parcel.channel, len(parcel.body), whole)

    async def _deliver(self, seen: Sequence["_Seen"], claim: Claim) -> None:
        parts = [part for one in seen if one.goes_on for part in await self._parts(one, claim)]
        if not parts:
            return
        patience = max(PATIENCE_SECONDS, *(part.channel.patience for part in parts))
        delivery = Delivery(self._bus, parts, received_at=self._clock(), patience=patience)
        publishing = asyncio.ensure_future(delivery.run())
        try:
            await asyncio.shield(publishing)
        except asyncio.CancelledError:
            # the sender went away; the bus has the message all the same, so it must be counted
            delivery.hurry()
            publishing.add_done_callback(partial(self._count_alone, seen))
            raise

    async def _parts(self, one: "_Seen", claim: Claim) -> list[Part]:
        size, limit = len(one.whole.body), self._bus.max_message_bytes
        if size > limit:
            claim.grow(size)  # the parts, beside the whole
        cut = partial(parts_of, one.channel.format, one.whole, limit=limit)
        return [Part(one.channel, admission) for admission in await _worked(one.channel, size, cut)]

    def _count_alone(self, seen: Sequence["_Seen"], publishing: asyncio.Future[None]) -> None:
        error = None if publishing.cancelled() else publishing.exception()
        if isinstance(error, MeshweirError):
            self._refused(seen, error)
        else:
            self._taken(seen)

    def _taken(self, seen: Sequence["_Seen"]) -> Receipt:
        count = self._ledger.count
        for one in seen:
            flow, admission = one.channel.flow, one.whole
            self._ledger.count_bytes(flow, one.size)
            count(flow, Outcome.RECEIVED, one.part.records)
            count(flow, Outcome.ACCEPTED, one.part.accepted)
            lost = one.part.records - one.part.accepted
            count(flow, one.channel.lost, lost, reason=admission.reason)
        return Receipt(
            sum(one.whole.records for one in seen),
            sum(one.whole.rejected for one in seen),
            next((one.whole.reason for one in seen if one.whole.rejected), ""),
        )

    def _refused(self, seen: Sequence["_Seen"], error: MeshweirError) -> Receipt:
        count = self._ledger.count
        stored = error.accepted if isinstance(error, PartlyStored) else {}
        for one in seen:
            flow, accepted = one.channel.flow, stored.get(one.channel, 0)
            self._ledger.count_bytes(flow, one.size)
            count(flow, Outcome.RECEIVED, one.part.records)
            count(flow, Outcome.ACCEPTED, accepted)
            count(flow, one.channel.lost, one.part.records - accepted, reason=reason_of(error))
        return Receipt(error=error)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is known of a parcel by now: its size once it was read, the rest once it was checked."""

    channel: Channel
    size: int = 0
    whole: Admission = _UNREAD

    @property
    def part(self) -> Part:
        """The parcel as one message."""
        return Part(self.channel, self.whole)

    @property
    def goes_on(self) -> bool:
        """Whether anything of it belongs on the bus."""
        return self.part.accepted > 0


async def _worked(channel: Channel, size: int, work: Callable[[], T]) -> T:
    return work() if size < channel.off_loop_bytes else await asyncio.to_thread(work)


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
