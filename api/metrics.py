"""The metrics of the process, as Prometheus scrapes them."""

import os
import platform
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

from api.context import HealthContext
from api.exposition import MEDIA_TYPE, Family, write
from api.ingest import NANOSECONDS, Standing, lag_seconds, standing
from pipeline.model.ledger import Flow

__all__ = ["MEDIA_TYPE", "exposition", "families"]


async def exposition(context: HealthContext) -> str:
    """Everything ``GET /metrics`` answers."""
    return write(families(context, await standing(context)))


def families(context: HealthContext, now: Standing) -> Iterator[Family]:
    """All metrics; ``docs/api.md`` lists them."""
    yield from _ingest(now)
    yield from _bus(now)
    yield Family(
        "meshweir_ready",
        "gauge",
        "1 when telemetry is accepted and questions are answered.",
        [({}, int(context.unready() is None))],
    )
    yield Family(
        "meshweir_build_info",
        "gauge",
        "Always 1; the labels tell the version.",
        [({"version": context.version, "python": platform.python_version()}, 1)],
    )
    yield from _process(context)


def _ingest(now: Standing) -> Iterator[Family]:
    yield Family(
        "meshweir_ingest_records_total",
        "counter",
        "Records by what became of them.",
        [
            (_of(flow) | {"outcome": outcome.value}, records)
            for flow, counts in now.flows.items()
            for outcome, records in sorted(counts.outcomes.items())
        ],
    )
    yield Family(
        "meshweir_ingest_reasons_total",
        "counter",
        "Records by why they were rejected, dropped or quarantined.",
        [
            (_of(flow) | {"outcome": outcome.value, "reason": reason}, records)
            for flow, counts in now.flows.items()
            for (outcome, reason), records in sorted(counts.reasons.items())
        ],
    )
    yield Family(
        "meshweir_ingest_received_bytes_total",
        "counter",
        "Bytes taken from the wire.",
        [(_of(flow), counts.received_bytes) for flow, counts in now.flows.items()],
    )
    yield Family(
        "meshweir_ingest_overtaken_batches_total",
        "counter",
        "Batches given up because another writer was faster; each was read again.",
        [({}, now.overtaken)],
    )
    yield Family(
        "meshweir_ingest_lag_seconds",
        "gauge",
        "Age of the youngest stored message while others wait on the bus.",
        [(_of(flow), lag_seconds(counts, now)) for flow, counts in now.flows.items()],
    )
    yield Family(
        "meshweir_ingest_watermark_seconds",
        "gauge",
        "When the youngest stored record began, Unix seconds.",
        [(_of(flow), _seconds(counts.watermark_ns)) for flow, counts in now.flows.items()],
    )


def _of(flow: Flow) -> dict[str, str]:
    return {"source": flow.source, "signal": flow.signal}


def _seconds(unix_ns: int | None) -> float | None:
    return None if unix_ns is None else unix_ns / NANOSECONDS


def _bus(now: Standing) -> Iterator[Family]:
    bus = now.bus
    yield Family(
        "meshweir_bus_paced_seconds_total",
        "counter",
        "Seconds by which answers were held back to slow senders, of all of them together.",
        [] if bus is None else [({}, bus.paced_seconds)],
    )
    yield Family(
        "meshweir_bus_bytes_held",
        "gauge",
        "Bytes of messages on the bus that were not read.",
        [] if bus is None else [({}, bus.bytes_held)],
    )
    yield Family(
        "meshweir_bus_bytes_allowed",
        "gauge",
        "Bytes at which the bus refuses more.",
        [] if bus is None else [({}, bus.bytes_allowed)],
    )
    yield Family(
        "meshweir_bus_lag_messages",
        "gauge",
        "Messages on the bus that are not in the store.",
        [
            ({"topic": partition.topic, "partition": str(partition.number)}, messages)
            for partition, messages in (now.waiting or {}).items()
        ],
    )
    yield Family(
        "meshweir_bus_lost_messages_total",
        "counter",
        "Messages that this process never got: deleted by age before, or not readable.",
        [] if bus is None else [({}, bus.lost_messages)],
    )


def _process(context: HealthContext) -> Iterator[Family]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    yield Family(
        "process_cpu_seconds_total",
        "counter",
        "Processor time used, user and system.",
        [({}, used.ru_utime + used.ru_stime)],
    )
    yield Family(
        "process_resident_memory_bytes",
        "gauge",
        "Memory held now.",
        [({}, _resident_bytes())],
    )
    yield Family(
        "process_max_resident_memory_bytes",
        "gauge",
        "Most memory held so far.",
        [({}, used.ru_maxrss * (1 if sys.platform == "darwin" else 1024))],
    )
    yield Family(
        "process_start_time_seconds",
        "gauge",
        "When the process started, Unix seconds.",
        [({}, context.started.timestamp())],
    )


def _resident_bytes() -> int | None:
    """Resident memory; None where the system has no ``/proc``."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
