"""What came in and what became of it: the ledger, the bus and the store, seen together."""

from typing import NamedTuple

import orjson
import polars as pl

from api.context import HealthContext
from api.times import from_nanoseconds
from pipeline.bus.port import BusStatus
from pipeline.model.ledger import Flow, FlowCounts, Outcome
from pipeline.model.messages import Partition

NANOSECONDS = 1_000_000_000


class Standing(NamedTuple):
    """The process's ingest at one moment.

    Attributes:
        flows: counts by flow.
        bus: how full the bus is; None where there is none.
        waiting: for each partition the messages that are on the bus and not in the store; None
            where this process has no store to ask.
        now_ns: the moment, Unix nanoseconds.
        overtaken: batches given up because another writer was faster.
    """

    flows: dict[Flow, FlowCounts]
    bus: BusStatus | None
    waiting: dict[Partition, int] | None
    now_ns: int
    overtaken: int = 0


async def standing(context: HealthContext) -> Standing:
    """Look at ledger, bus and store."""
    status = None if context.bus is None else context.bus.status()
    store = context.store
    stored = None if store is None else await context.off_loop(store.positions)
    now_ns = int(context.clock().timestamp() * NANOSECONDS)
    ledger = context.ledger
    return Standing(
        ledger.snapshot(), status, _waiting(status, stored), now_ns, overtaken=ledger.overtaken
    )


def _waiting(
    status: BusStatus | None, stored: dict[Partition, int] | None
) -> dict[Partition, int] | None:
    if stored is None:
        return None
    if status is None:
        return {}
    return {
        partition: max(0, end - stored.get(partition, 0))
        for partition, end in sorted(status.ends.items())
    }


def lag_seconds(counts: FlowCounts, now: Standing) -> float | None:
    """Seconds since the youngest stored message came in, while others wait; 0 when none wait.

    None where this process does not know what waits, when messages wait and none of this flow was
    stored yet, or its messages do not tell when they were received. A process that only stores
    cannot tell whose messages wait: there they count for every flow.
    """
    if now.waiting is None:
        return None
    if not any(now.waiting.values()):
        return 0.0
    accepted = counts.outcomes.get(Outcome.ACCEPTED, 0)
    settled = counts.outcomes.get(Outcome.STORED, 0) + counts.outcomes.get(Outcome.QUARANTINED, 0)
    if counts.received_at_ns is None:
        return None if accepted or settled else 0.0
    # where another process collects, nothing was accepted here, and any of its flows may wait
    if 0 < accepted <= settled:
        return 0.0
    return max(0.0, (now.now_ns - counts.received_at_ns) / NANOSECONDS)


def flows_as_answered(now: Standing) -> pl.DataFrame:
    """One row per flow, in the shape of its JSON; ``reasons`` is JSON text."""
    rows = [_row(flow, counts, now) for flow, counts in now.flows.items()]
    return pl.DataFrame(rows, schema=FLOWS, orient="row")


FLOWS = pl.Schema(
    {
        "source": pl.String(),
        "signal": pl.String(),
        "received": pl.Int64(),
        "received_bytes": pl.Int64(),
        "accepted": pl.Int64(),
        "rejected": pl.Int64(),
        "dropped": pl.Int64(),
        "stored": pl.Int64(),
        "quarantined": pl.Int64(),
        "reasons": pl.String(),
        "lag_seconds": pl.Float64(),
        "watermark": pl.Datetime("us"),
    }
)
"""Columns of the list of flows."""


def _row(flow: Flow, counts: FlowCounts, now: Standing) -> dict[str, object]:
    mark = counts.watermark_ns
    by_outcome = {outcome.value: counts.outcomes.get(outcome, 0) for outcome in Outcome}
    return by_outcome | {
        "source": flow.source,
        "signal": flow.signal,
        "received_bytes": counts.received_bytes,
        "reasons": _reasons(counts),
        "lag_seconds": lag_seconds(counts, now),
        "watermark": None if mark is None else from_nanoseconds(mark).replace(tzinfo=None),
    }


def _reasons(counts: FlowCounts) -> str:
    nested: dict[str, dict[str, int]] = {}
    for (outcome, reason), records in sorted(counts.reasons.items()):
        nested.setdefault(outcome.value, {})[reason] = records
    return orjson.dumps(nested).decode()
