"""A body on its way to the bus, in as many messages as the bus makes it.

A body larger than a message is cut between its records. All of it is checked before anything is
published, so that nothing is half taken but by a bus that fails in between; then the part at hand
is tried again for a while, and after that the sender hears of it. When it sends the body again, the
parts that were stored are stored twice, as they are after any answer that was lost on the way.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from collectors.channel import Channel, Part
from collectors.cut.body import smaller
from pipeline.bus.port import Bus
from pipeline.decode.door import Admission, MaskedKeys, admit
from pipeline.errors import MessageTooLarge, Transient
from pipeline.model.topics import (
    FORMAT_HEADER,
    ORIGIN_HEADER,
    RECEIVED_AT_HEADER,
    RECORDS_HEADER,
    REJECTED_HEADER,
    SOURCE_HEADER,
)

PATIENCE_SECONDS: Final = 5.0
"""How long a part is tried again, when other parts of its body are stored already."""

MAX_GROWTH: Final = 2
"""How many times its size a body may grow by what every part of it repeats."""

_MASKED_ALREADY: Final = MaskedKeys(())


class PartlyStored(Transient):
    """The bus failed in the middle of a body that was cut.

    Attributes:
        accepted: by channel the records in the parts that are durable.
    """

    reason = "partly stored"

    def __init__(
        self, error: Transient, *, stored: int, parts: int, accepted: Mapping[Channel, int]
    ) -> None:
        super().__init__(
            f"{error}; {stored} of the {parts} parts of this body are stored, and will be stored"
            " twice when it is sent again",
            retry_after=error.retry_after,
        )
        self.accepted = accepted


def parts_of(format_name: str, whole: Admission, *, limit: int) -> list[Admission]:
    """An admitted body as messages of at most ``limit`` bytes; each knows its own records.

    Raises:
        MessageTooLarge: a single record is larger, or what would be repeated is too much; names it.
    """
    if len(whole.body) <= limit:
        return [whole]
    return list(_cut(format_name, whole, limit))


def _cut(format_name: str, whole: Admission, limit: int) -> Iterator[Admission]:
    before = size = 0
    for body in smaller(format_name, whole.body, size=limit):
        part = admit(format_name, body, _MASKED_ALREADY)
        records = part.records + part.rejected
        if records and len(body) > limit:
            which = f"{before + 1}" if records == 1 else f"{before + 1} to {before + records}"
            raise MessageTooLarge(
                size=len(body),
                limit=limit,
                what=f"record {which} of the body, with its resource and scope,",
            )
        size += len(body)
        if size > MAX_GROWTH * len(whole.body):
            raise MessageTooLarge(
                size=size,
                limit=MAX_GROWTH * len(whole.body),
                what="the body, cut into messages that each repeat a resource and scope,",
            )
        before += records
        if records:
            yield part


class Delivery:
    """Publishes the parts of one body in order, and knows how far it came.

    Args:
        bus: where they go.
        parts: of one channel or several.
        received_at: when the body came in, Unix nanoseconds.
        patience: seconds for which a part is tried again, once another is stored.
    """

    def __init__(
        self,
        bus: Bus,
        parts: Sequence[Part],
        *,
        received_at: int,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._bus = bus
        self._parts = parts
        self._received_at = received_at
        self._patience = patience
        self._stored = 0

    def hurry(self) -> None:
        """Try no part again: nobody waits for the answer any more."""
        self._patience = 0.0

    async def run(self) -> None:
        """Publish all parts; returns when they are durable.

        Raises:
            PartlyStored: the bus failed after some of them were stored.
            Transient: the bus took nothing.
            MessageTooLarge: the bus can never take the first one.
        """
        for part in self._parts:
            await self._publish(part)
            self._stored += 1

    async def _publish(self, part: Part) -> None:
        headers = {
            FORMAT_HEADER: part.channel.format,
            SOURCE_HEADER: part.channel.source,
            RECEIVED_AT_HEADER: str(self._received_at),
            RECORDS_HEADER: str(part.records),
            REJECTED_HEADER: str(part.records - part.accepted),
        }
        if part.channel.origin and len(self._parts) == 1:
            headers[ORIGIN_HEADER] = part.channel.origin
        began = time.monotonic()
        while True:
            try:
                await self._bus.publish(part.channel.topic, part.admission.body, headers)
            except Transient as error:
                if not self._stored:
                    raise
                if time.monotonic() + error.retry_after >= began + self._patience:
                    raise self._partly(error) from error
                await asyncio.sleep(error.retry_after)
            else:
                return

    def _partly(self, error: Transient) -> PartlyStored:
        accepted: Counter[Channel] = Counter()
        for part in self._parts[: self._stored]:
            accepted[part.channel] += part.accepted
        return PartlyStored(error, stored=self._stored, parts=len(self._parts), accepted=accepted)
