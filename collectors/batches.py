"""Lines of many senders that cannot be answered, brought to the bus together.

While the bus takes nothing a batch fills up, and then whoever adds to it waits: so senders are not
read on, and their own buffers fill.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Final

from collectors.channel import Channel
from collectors.intake import Intake
from collectors.room import Claim
from pipeline.errors import Permanent

_LAST_TRY_SECONDS: Final = 3.0


class GivenUp(Permanent):
    """The bus took nothing until this collector had to stop."""

    reason = "collector stopped"


@dataclass(slots=True)
class _Batch:
    lines: list[bytes] = field(default_factory=list)
    size: int = 0


class Batches:
    """Gathers lines and publishes them, one batch after the other.

    Args:
        intake: where batches go.
        channel: what they are; its patience should have no end.
        seconds: how long a first line waits for others.
        size: bytes of a batch, about.
    """

    def __init__(self, intake: Intake, channel: Channel, *, seconds: float, size: int) -> None:
        self._intake = intake
        self._channel = channel
        self._seconds = seconds
        self._size = size
        self._batch = _Batch()
        self._changed = asyncio.Condition()
        self._closing = False
        self._given_up = False
        self._publishing: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to publish."""
        self._closing = self._given_up = False
        self._publishing = asyncio.create_task(self._publish())

    async def add(self, line: bytes) -> None:
        """Put a line into the batch; returns once there is room, however long that takes.

        Args:
            line: without its end.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: self._batch.size < self._size or self._given_up)
            self._batch.lines.append(line)
            self._batch.size += len(line) + 1
            self._changed.notify_all()

    async def give_up(self) -> None:
        """Wait for the bus no longer: what it does not take now is counted as lost."""
        if self._publishing is None:
            return
        async with self._changed:
            self._given_up = True
            self._changed.notify_all()
        await asyncio.wait({self._publishing}, timeout=_LAST_TRY_SECONDS)
        self._publishing.cancel()

    async def close(self) -> None:
        """Publish what is there, and end. Idempotent."""
        if self._publishing is None:
            return
        async with self._changed:
            self._closing = True
            self._changed.notify_all()
        await asyncio.wait({self._publishing})
        self._publishing = None
        if left := len(self._batch.lines):
            self._intake.dropped(self._channel, left, GivenUp.reason)
            self._batch = _Batch()

    async def _publish(self) -> None:
        while batch := await self._next():
            if self._given_up:
                self._intake.dropped(self._channel, len(batch.lines), GivenUp.reason)
                continue
            text = b"\n".join((*batch.lines, b""))

            async def body(claim: Claim, text: bytes = text) -> bytes:
                if self._given_up:
                    raise GivenUp("this collector had to stop before the bus took what it held")
                claim.grow(len(text))
                return text

            await self._intake.take(self._channel, body)

    async def _next(self) -> _Batch | None:
        """The next batch, once it is full or its time is over; None at the end."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._batch.lines or self._closing)
        if not self._closing:
            await self._fill()
        async with self._changed:
            batch, self._batch = self._batch, _Batch()
            self._changed.notify_all()
        return batch if batch.lines else None

    async def _fill(self) -> None:
        try:
            async with asyncio.timeout(self._seconds), self._changed:
                await self._changed.wait_for(
                    lambda: self._batch.size >= self._size or self._closing
                )
        except TimeoutError:
            return
