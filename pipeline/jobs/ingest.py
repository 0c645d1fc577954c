"""From the bus into the store: rows, positions and quarantine in one transaction, exactly once."""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl
import pyarrow as pa

from pipeline.bus.port import Bus
from pipeline.jobs.decoding import (
    Refused,
    decode_messages,
    flow_of,
    number_of,
    quarantine_rows,
    runs_of,
)
from pipeline.jobs.services import ServiceLimit
from pipeline.jobs.settings import IngestSettings
from pipeline.model.ledger import Flow, Ledger, Outcome
from pipeline.model.messages import Message, Partition
from pipeline.model.tables import QUARANTINE
from pipeline.model.topics import RECEIVED_AT_HEADER, RECORDS_HEADER, REJECTED_HEADER
from pipeline.store.port import Store

log = logging.getLogger(__name__)

WAIT: Final = 0.2
"""Seconds to wait for a first message."""

FUTURE_NS: Final = 600 * 10**9
"""A start time this far ahead of its arrival is a wrong clock and moves no watermark."""


class IngestJob:
    """Reads messages, decodes them by format, and commits one slice at a time."""

    name = "ingest"
    cadence = 0.2

    def __init__(
        self,
        bus: Bus,
        store: Store,
        ledger: Ledger,
        settings: IngestSettings | None = None,
    ) -> None:
        self._bus = bus
        self._store = store
        self._ledger = ledger
        self._settings = settings or IngestSettings()
        self._services = ServiceLimit(self._settings.max_services)
        self._positions: dict[Partition, int] | None = None

    async def run(self) -> bool:
        """Ingest one batch; True when the bus had a full batch, so that more is likely due."""
        if self._positions is None:
            self._positions = await asyncio.to_thread(self._start)
        size = self._settings.batch_bytes
        messages = await self._bus.read(self._positions, max_bytes=size, wait=WAIT)
        if not messages:
            return False
        try:
            await asyncio.to_thread(self._ingest, messages)
        except BaseException:
            self._positions = None  # ask the store again: it alone knows what was committed
            raise
        await self._bus.consumed(self._positions)
        return sum(len(message.value) for message in messages) >= size // 2

    def _start(self) -> dict[Partition, int]:
        self._services.learn(self._store.ask("resources"))
        return self._store.positions()

    def _ingest(self, messages: Sequence[Message]) -> None:
        assert self._positions is not None  # noqa: S101 - run() has just read with them
        expected = dict(self._positions)
        following = dict(expected)
        for message in messages:
            following[message.partition] = message.offset + 1
        decoded = decode_messages(messages)
        batches, over_limit = self._services.apply(decoded.batches)
        if decoded.refused:
            batches[QUARANTINE.name] = quarantine_rows(decoded.refused)
        self._store.write(
            batches, expected=expected, positions=following, consumed=runs_of(messages)
        )
        self._positions = following
        self._count(messages, decoded.refused, over_limit)
        self._advance(messages, batches)

    def _count(
        self,
        messages: Sequence[Message],
        refused: Sequence[Refused],
        over_limit: int,
    ) -> None:
        stored: defaultdict[Flow, int] = defaultdict(int)
        for message in messages:
            stored[flow_of(message)] += number_of(message, RECORDS_HEADER, default=1)
        for one in refused:
            stored[flow_of(one.message)] -= one.records
            # what was rejected at the door was counted there
            news = max(one.records - number_of(one.message, REJECTED_HEADER, default=0), 0)
            self._ledger.count(
                flow_of(one.message), Outcome.QUARANTINED, news, reason=one.refusal.reason
            )
        for flow, records in stored.items():
            self._ledger.count(flow, Outcome.STORED, max(records, 0))
        if over_limit:
            log.warning(
                "%d records came from services past the limit on distinct names; "
                "they are counted under one name (ingest_max_services)",
                over_limit,
            )

    def _advance(self, messages: Sequence[Message], batches: Mapping[str, pa.Table]) -> None:
        received: dict[Flow, int] = {}
        for message in messages:
            at = message.headers.get(RECEIVED_AT_HEADER, "")
            if at.isdecimal():
                flow = flow_of(message)
                received[flow] = max(received.get(flow, 0), int(at))
        now = time.time_ns()
        for flow, at_ns in received.items():
            self._ledger.advance(
                flow, watermark_ns=_youngest(batches, flow.signal, now), received_at_ns=at_ns
            )


_TIME_COLUMN: Final = {
    "spans": "start_time",
    "access_logs": "start_time",
    "logs": "time",
    "metric_points": "time",
}


def _youngest(batches: Mapping[str, pa.Table], signal: str, now_ns: int) -> int | None:
    """The youngest time in a table that is not ahead of the clock, Unix nanoseconds."""
    rows = batches.get(signal)
    if rows is None or not rows.num_rows:
        return None
    times = pl.Series(rows[_TIME_COLUMN[signal]].cast(pa.int64()))
    return times.filter(times <= now_ns + FUTURE_NS).max()  # type: ignore[return-value]
