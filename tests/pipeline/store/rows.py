"""Small batches of rows for the tests of the store."""

from collections.abc import Sequence

import pyarrow as pa

from pipeline.model.tables import ACCESS_LOGS, EDGE_MINUTES, QUARANTINE, RESOURCES, SPANS

MINUTE = 60_000_000_000


def spans(traces: Sequence[int], **columns: object) -> pa.Table:
    """One server span per trace id (its low half); ``columns`` are the same for all."""
    rows = [
        {
            "trace_id_high": 1,
            "trace_id_low": trace,
            "span_id": trace + 1_000,
            "resource_id": "resource-a-",
            "kind": 2,
            "start_time": trace * 1_000,
            "duration_ns": 5,
            **columns,
        }
        for trace in traces
    ]
    return pa.Table.from_pylist(rows, schema=SPANS.arrow)


def access_logs(requests: Sequence[str], **columns: object) -> pa.Table:
    """One HTTP access log per request id."""
    rows = [
        {
            "start_time": 1_000,
            "resource_id": "resource-a-",
            "log_type": 0,
            "protocol": "http",
            "request_id": request,
            **columns,
        }
        for request in requests
    ]
    return pa.Table.from_pylist(rows, schema=ACCESS_LOGS.arrow)


def resources(*ids: str, **columns: object) -> pa.Table:
    """One resource per id."""
    rows = [{"resource_id": key, "service_name": f"service {key}", **columns} for key in ids]
    return pa.Table.from_pylist(rows, schema=RESOURCES.arrow)


def quarantined(*positions: int, received_at: int = 0) -> pa.Table:
    """One quarantined message per bus position."""
    rows = [
        {"received_at": received_at, "topic": "t", "partition": 0, "position": position,
         "reason": "torn", "records": 1}
        for position in positions
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=QUARANTINE.arrow)


def edges(*rows: tuple[int, str, dict[int, int]], minute: int = 0) -> pa.Table:
    """Derived rows: slice, server and histogram; the counted requests are the histogram's."""
    made = [
        {
            "slice": number,
            "minute": minute,
            "client": "clients",
            "server": server,
            "reporter": "server",
            "signal": "spans",
            "rows": 1,
            "requests": sum(histogram.values()),
            "duration_ns": 7,
            "buckets": sorted(histogram),
            "counts": [histogram[bucket] for bucket in sorted(histogram)],
        }
        for number, server, histogram in rows
    ]
    return pa.Table.from_pylist(made, schema=EDGE_MINUTES.arrow)
