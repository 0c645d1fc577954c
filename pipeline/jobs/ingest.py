"""From the bus into the store: rows, positions and quarantine in one transaction, exactly once."""

import asyncio
import base64
import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import polars as pl
import pyarrow as pa

from pipeline.bus.port import Bus
from pipeline.decode import DECODERS
from pipeline.errors import DecodeError
from pipeline.jobs.services import ServiceLimit
from pipeline.jobs.settings import IngestSettings
from pipeline.model.decoded import Decoded, Refusal
from pipeline.model.ledger import Flow, Ledger, Outcome
from pipeline.model.messages import Message, Partition
from pipeline.model.tables import QUARANTINE
from pipeline.model.topics import (
    FORMAT_HEADER,
    FORMAT_SIGNAL,
    RECEIVED_AT_HEADER,
    RECORDS_HEADER,
    REJECTED_HEADER,
    SOURCE_HEADER,
    TOPIC_FORMAT,
)
from pipeline.store.port import Store

log = logging.getLogger(__name__)

WAIT: Final = 0.2
"""Seconds to wait for a first message."""

KEPT_PAYLOAD: Final = 64 * 2**10
"""Bytes of an undecodable message that are kept beside its reason."""

FUTURE_NS: Final = 600 * 10**9
"""A start time this far ahead of its arrival is a wrong clock and moves no watermark."""

UNKNOWN_FORMAT: Final = "unknown format"


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
        parts: defaultdict[str, list[pa.Table]] = defaultdict(list)
        refused: list[tuple[Message, str, Refusal]] = []
        for format_name, group in _by_format(messages).items():
            decoded = _decode(format_name, [message.value for message in group])
            for table, rows in decoded.batches.items():
                parts[table].append(rows)
            refused += [
                (group[refusal.message], format_name, refusal) for refusal in decoded.refused
            ]
        batches = {name: pa.concat_tables(tables) for name, tables in parts.items()}
        batches, over_limit = self._services.apply(batches)
        if refused:
            batches[QUARANTINE.name] = _quarantine(refused)
        self._store.write(batches, expected=expected, positions=following)
        self._positions = following
        self._count(messages, refused, over_limit)
        self._advance(messages, batches)

    def _count(
        self,
        messages: Sequence[Message],
        refused: Sequence[tuple[Message, str, Refusal]],
        over_limit: int,
    ) -> None:
        stored: defaultdict[Flow, int] = defaultdict(int)
        for message in messages:
            stored[_flow(message)] += _number(message, RECORDS_HEADER, default=1)
        for message, _, refusal in refused:
            records = _refused_records(message, refusal)
            stored[_flow(message)] -= records
            # what was rejected at the door was counted there
            news = max(records - _number(message, REJECTED_HEADER, default=0), 0)
            self._ledger.count(_flow(message), Outcome.QUARANTINED, news, reason=refusal.reason)
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
                flow = _flow(message)
                received[flow] = max(received.get(flow, 0), int(at))
        now = time.time_ns()
        for flow, at_ns in received.items():
            self._ledger.advance(
                flow, watermark_ns=_youngest(batches, flow.signal, now), received_at_ns=at_ns
            )


def _by_format(messages: Sequence[Message]) -> dict[str, list[Message]]:
    groups: defaultdict[str, list[Message]] = defaultdict(list)
    for message in messages:
        groups[_format(message)].append(message)
    return groups


def _format(message: Message) -> str:
    return message.headers.get(FORMAT_HEADER) or TOPIC_FORMAT.get(message.partition.topic, "")


def _decode(format_name: str, values: list[bytes]) -> Decoded:
    decoder = DECODERS.get(format_name)
    if decoder is None:
        return Decoded(
            refused=tuple(
                Refusal(index, UNKNOWN_FORMAT, whole=True) for index in range(len(values))
            )
        )
    try:
        return decoder(values)
    except DecodeError as problem:
        if len(values) == 1:
            return Decoded(refused=(Refusal(0, problem.reason, problem.offset, whole=True),))
        # a decoder that gives up on the lot is asked one by one, so that one message costs itself
        return _merged([_decode(format_name, [value]) for value in values])


def _merged(answers: Sequence[Decoded]) -> Decoded:
    parts: defaultdict[str, list[pa.Table]] = defaultdict(list)
    refused: list[Refusal] = []
    for index, answer in enumerate(answers):
        for table, rows in answer.batches.items():
            parts[table].append(rows)
        refused += [
            Refusal(index, refusal.reason, refusal.offset, refusal.records, refusal.whole)
            for refusal in answer.refused
        ]
    return Decoded({name: pa.concat_tables(rows) for name, rows in parts.items()}, tuple(refused))


def _flow(message: Message) -> Flow:
    format_name = _format(message)
    return Flow(
        message.headers.get(SOURCE_HEADER, "kafka"), FORMAT_SIGNAL.get(format_name, "unknown")
    )


def _number(message: Message, header: str, *, default: int) -> int:
    told = message.headers.get(header, "")
    return int(told) if told.isdecimal() else default


def _refused_records(message: Message, refusal: Refusal) -> int:
    if refusal.whole:
        return _number(message, RECORDS_HEADER, default=1)
    return refusal.records


def _quarantine(refused: Sequence[tuple[Message, str, Refusal]]) -> pa.Table:
    rows = [
        {
            "received_at": _received_at(message),
            "topic": message.partition.topic,
            "partition": message.partition.number,
            "position": message.offset,
            "format": format_name,
            "source": message.headers.get(SOURCE_HEADER),
            "reason": refusal.reason,
            "byte_offset": refusal.offset,
            "records": _refused_records(message, refusal),
            "payload": base64.b64encode(message.value[:KEPT_PAYLOAD]).decode()
            if refusal.whole
            else None,
        }
        for message, format_name, refusal in refused
    ]
    return pa.Table.from_pylist(rows, schema=QUARANTINE.arrow)


def _received_at(message: Message) -> datetime:
    told = message.headers.get(RECEIVED_AT_HEADER, "")
    at = int(told) / 1e9 if told.isdecimal() else time.time()
    return datetime.fromtimestamp(at, UTC).replace(tzinfo=None)


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
