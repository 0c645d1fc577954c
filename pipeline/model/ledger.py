"""The ledger: what came in, what became of it, and why; the one place where ingest is counted.

Collectors and jobs write, ``GET /v1/ingest``, ``/metrics`` and the self-telemetry read. Counts are
of records (spans, log records, data points, access-log entries), since the process started.
"""

import threading
from collections import defaultdict
from dataclasses import dataclass, field
from enum import StrEnum


class Outcome(StrEnum):
    """What became of records.

    ``received`` is what senders brought in; each record of it ends in exactly one of ``accepted``
    (on the bus), ``rejected`` (refused with an answer to the sender) or ``dropped`` (lost for the
    stated reason). ``stored`` and ``quarantined`` follow later, from what was accepted. What other
    writers put on the bus passed no door: it counts as received and accepted when it is read.
    """

    RECEIVED = "received"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    DROPPED = "dropped"
    STORED = "stored"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True, order=True)
class Flow:
    """One stream of telemetry: which receiver took it, and which signal it is.

    A source that is no receiver: ``import``, and ``kafka`` for what others wrote on the bus.
    """

    source: str
    signal: str


@dataclass(slots=True)
class FlowCounts:
    """A snapshot of one flow.

    Attributes:
        outcomes: records by outcome.
        reasons: records by outcome and reason, for outcomes that have one.
        received_bytes: bytes taken from the wire.
        watermark_ns: start time of the youngest record in the store, Unix nanoseconds, or None.
        received_at_ns: when the youngest stored message was received, Unix nanoseconds, or None.
    """

    outcomes: dict[Outcome, int] = field(default_factory=dict)
    reasons: dict[tuple[Outcome, str], int] = field(default_factory=dict)
    received_bytes: int = 0
    watermark_ns: int | None = None
    received_at_ns: int | None = None


class Ledger:
    """Counts by flow, outcome and reason; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flows: defaultdict[Flow, FlowCounts] = defaultdict(FlowCounts)
        self._overtaken = 0

    def count(self, flow: Flow, outcome: Outcome, records: int, *, reason: str = "") -> None:
        """Add records to an outcome, and to its reason when one is given."""
        if records == 0:
            return
        with self._lock:
            counts = self._flows[flow]
            counts.outcomes[outcome] = counts.outcomes.get(outcome, 0) + records
            if reason:
                key = (outcome, reason)
                counts.reasons[key] = counts.reasons.get(key, 0) + records

    def count_bytes(self, flow: Flow, size: int) -> None:
        """Add bytes taken from the wire."""
        with self._lock:
            self._flows[flow].received_bytes += size

    def advance(self, flow: Flow, *, watermark_ns: int | None, received_at_ns: int | None) -> None:
        """Move the marks of a flow forward; never back."""
        with self._lock:
            counts = self._flows[flow]
            if watermark_ns is not None:
                counts.watermark_ns = max(watermark_ns, counts.watermark_ns or watermark_ns)
            if received_at_ns is not None:
                counts.received_at_ns = max(received_at_ns, counts.received_at_ns or received_at_ns)

    def count_overtaken(self) -> None:
        """Add a batch that was given up because the store was another writer's, and read again."""
        with self._lock:
            self._overtaken += 1

    @property
    def overtaken(self) -> int:
        """Batches given up because the store was another writer's; each was read again."""
        return self._overtaken

    def snapshot(self) -> dict[Flow, FlowCounts]:
        """A copy of all counts."""
        with self._lock:
            return {
                flow: FlowCounts(
                    dict(counts.outcomes),
                    dict(counts.reasons),
                    counts.received_bytes,
                    counts.watermark_ns,
                    counts.received_at_ns,
                )
                for flow, counts in sorted(self._flows.items())
            }
