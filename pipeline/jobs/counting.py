"""What became of the records of a batch that was committed, told to the ledger."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl
import pyarrow as pa

from pipeline.jobs.decoding import DecodedMessages, Refused, flow_of, is_foreign, number_of
from pipeline.model.ledger import Flow, Ledger, Outcome
from pipeline.model.messages import Message
from pipeline.model.topics import RECEIVED_AT_HEADER, RECORDS_HEADER, REJECTED_HEADER

FUTURE_NS: Final = 600 * 10**9
"""A start time this far ahead of its arrival is a wrong clock and moves no watermark."""

_TIME_COLUMN: Final = {
    "spans": "start_time",
    "access_logs": "start_time",
    "logs": "time",
    "metric_points": "time",
}


def count_batch(ledger: Ledger, messages: Sequence[Message], decoded: DecodedMessages) -> None:
    """Count records as stored or quarantined, and move the marks of their flows.

    Records of other writers' messages were never counted at a door: they are counted as received
    and, since nobody was told no, as accepted, too.
    """
    stored: defaultdict[Flow, int] = defaultdict(int, decoded.foreign)
    for message in messages:
        if is_foreign(message):
            ledger.count_bytes(flow_of(message), len(message.value))
        else:
            stored[flow_of(message)] += number_of(message, RECORDS_HEADER, default=1)
    for one in decoded.refused:
        _count_refused(ledger, one)
        if not is_foreign(one.message):
            stored[flow_of(one.message)] -= one.records
    for flow, records in decoded.foreign.items():
        _count_arrived(ledger, flow, records)
    for flow, records in stored.items():
        ledger.count(flow, Outcome.STORED, max(records, 0))
    _advance(ledger, messages, decoded.batches)


def _count_refused(ledger: Ledger, one: Refused) -> None:
    flow = flow_of(one.message)
    if is_foreign(one.message):
        _count_arrived(ledger, flow, one.records)
    # what was rejected at the door was counted there
    news = max(one.records - number_of(one.message, REJECTED_HEADER, default=0), 0)
    ledger.count(flow, Outcome.QUARANTINED, news, reason=one.refusal.reason)


def _count_arrived(ledger: Ledger, flow: Flow, records: int) -> None:
    ledger.count(flow, Outcome.RECEIVED, records)
    ledger.count(flow, Outcome.ACCEPTED, records)


def _advance(ledger: Ledger, messages: Sequence[Message], batches: Mapping[str, pa.Table]) -> None:
    """Move the marks of each flow; who sends no header ``received_at`` has no age."""
    received: dict[Flow, int | None] = {}
    for message in messages:
        flow = flow_of(message)
        at = number_of(message, RECEIVED_AT_HEADER, default=0)
        received[flow] = max(received.get(flow) or 0, at) or None
    now = time.time_ns()
    for flow, at_ns in received.items():
        youngest = _youngest(batches, flow.signal, now)
        ledger.advance(flow, watermark_ns=youngest, received_at_ns=at_ns)


def _youngest(batches: Mapping[str, pa.Table], signal: str, now_ns: int) -> int | None:
    """The youngest time in a table that is not ahead of the clock, Unix nanoseconds."""
    rows = batches.get(signal)
    if rows is None or not rows.num_rows:
        return None
    times = pl.Series(rows[_TIME_COLUMN[signal]].cast(pa.int64()))
    return times.filter(times <= now_ns + FUTURE_NS).max()  # type: ignore[return-value]
