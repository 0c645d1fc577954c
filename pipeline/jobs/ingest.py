"""From the bus into the store: rows, positions and quarantine in one transaction, exactly once."""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Final

from pipeline.bus.port import Bus
from pipeline.decode.door import MaskedKeys
from pipeline.errors import PartitionsMoved, Permanent, StoreBusy
from pipeline.jobs.counting import count_batch
from pipeline.jobs.dead_letters import dead_letters
from pipeline.jobs.decoding import (
    DecodedMessages,
    Refused,
    decode_messages,
    quarantine_rows,
    runs_of,
)
from pipeline.jobs.services import ServiceLimit
from pipeline.jobs.settings import IngestSettings
from pipeline.model.ledger import Ledger
from pipeline.model.messages import Message, Offsets, Partition, Positions
from pipeline.model.tables import QUARANTINE
from pipeline.store.port import Store

log = logging.getLogger(__name__)

WAIT: Final = 0.2
"""Seconds to wait for a first message."""

TELL_SECONDS: Final = 60.0
"""How often it is logged that other workers were faster."""


class IngestJob:
    """Reads messages, decodes them by format, and commits one slice at a time.

    Several jobs, in several processes, may fill one store; each reads the partitions that the bus
    gives it, and a job that was overtaken writes nothing.

    Args:
        bus: where messages are read, and set aside.
        store: where they go, and what knows how far they are read.
        ledger: where they are counted.
        settings: how much goes in at once.
        masked: what is hidden in messages of other writers; those of our collectors have passed it.
    """

    name = "ingest"
    cadence = 0.2

    def __init__(
        self,
        bus: Bus,
        store: Store,
        ledger: Ledger,
        settings: IngestSettings | None = None,
        *,
        masked: MaskedKeys | None = None,
    ) -> None:
        self._bus = bus
        self._store = store
        self._ledger = ledger
        self._settings = settings or IngestSettings()
        self._masked = masked or MaskedKeys()
        self._services = ServiceLimit(self._settings.max_services)
        self._positions: dict[Partition, int] | None = None
        self._told_at = -TELL_SECONDS

    async def run(self) -> bool:
        """Ingest one batch; True when more is likely due.

        That is so when the bus had a full batch, or gave this job other partitions.

        Raises:
            Transient: the bus or the store does not answer; nothing was written.
        """
        try:
            return await self._one_batch()
        except PartitionsMoved as moved:
            log.info("%s", moved)
            self._positions = None
            return True
        except StoreBusy as problem:
            self._positions = None
            self._overtaken(problem)
            return False
        except BaseException:
            self._positions = None  # ask the store again: it alone knows what was committed
            raise

    async def _one_batch(self) -> bool:
        if self._positions is None:
            self._positions = await asyncio.to_thread(self._start)
        size = self._settings.batch_bytes
        messages = await self._bus.read(self._positions, max_bytes=size, wait=WAIT)
        if not messages:
            return False
        decoded = await asyncio.to_thread(decode_messages, messages, self._masked)
        await self._set_aside(decoded.refused)
        # of partitions that are not in this batch other workers may know more
        consumed = runs_of(messages)
        before = {part: self._positions[part] for part in consumed if part in self._positions}
        await asyncio.to_thread(self._write, messages, decoded, before, consumed)
        following = _ends(consumed)
        self._positions |= following
        await self._bus.consumed(following)
        return sum(len(message.value) for message in messages) >= size // 2

    def _start(self) -> dict[Partition, int]:
        self._services.learn(self._store.ask("resources"))
        return self._store.positions()

    async def _set_aside(self, refused: Sequence[Refused]) -> None:
        """Tell other programs what was refused, before the batch is committed.

        When that fails for now the batch is read again; so a message may be set aside twice.
        """
        if not refused:
            return
        try:
            await self._bus.set_aside(dead_letters(refused))
        except Permanent as problem:
            # trying again cannot help, and the partition must move on: quarantine has them all
            log.warning("kept in quarantine only, the bus cannot set them aside: %s", problem)

    def _write(
        self,
        messages: Sequence[Message],
        decoded: DecodedMessages,
        before: Positions,
        consumed: Offsets,
    ) -> None:
        batches, over_limit = self._services.apply(decoded.batches)
        if decoded.refused:
            batches[QUARANTINE.name] = quarantine_rows(decoded.refused)
        self._store.write(batches, expected=before, positions=_ends(consumed), consumed=consumed)
        count_batch(self._ledger, messages, decoded)
        if over_limit:
            log.warning(
                "%d records came from services past the limit on distinct names; "
                "they are counted under one name (ingest_max_services)",
                over_limit,
            )

    def _overtaken(self, problem: StoreBusy) -> None:
        self._ledger.count_overtaken()
        now = time.monotonic()
        if now - self._told_at >= TELL_SECONDS:
            self._told_at = now
            log.warning(
                "%s (%d batches so far were given up and read again)",
                problem,
                self._ledger.overtaken,
            )


def _ends(runs: Offsets) -> dict[Partition, int]:
    return {partition: run.until for partition, run in runs.items()}
