"""What the analysis costs while one minute fills, and how long ten million spans take from scratch.

Run ``python -m tests.benchmarks.minutes [millions]``. All spans begin in one minute; each slice
holds the first half of its traces and the second half of those of the slice before, so that every
slice is dirtied once more by its successor.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.jobs.minutes import MinutesJob
from pipeline.model.tables import RESOURCES, SPANS
from pipeline.store import open_store

ROWS = 75_000
SERVICES = 20
BEGIN = 1_790_000_040 * 10**9
MINUTE = 60 * 10**9


def resources() -> pa.Table:
    """One resource per service."""
    rows = [
        dict.fromkeys(RESOURCES.names)
        | {"resource_id": f"resource{n:03}", "service_namespace": "shop",
           "service_name": f"s{n}", "system": "otel", "attributes": "{}"}
        for n in range(SERVICES)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=RESOURCES.arrow)


def halves(seed: int) -> tuple[pa.Table, pa.Table]:
    """The two halves of some traces of ten spans: five calls, server and client in turn."""
    rng = np.random.default_rng(seed)
    traces = ROWS // 10
    place = np.tile(np.arange(10), traces)
    high, low = (np.repeat(rng.integers(1, 2**63, traces, dtype=np.uint64), 10) for _ in range(2))
    ids = rng.integers(1, 2**63, ROWS, dtype=np.uint64)
    first = np.repeat(rng.integers(0, SERVICES, traces), 10)
    service = (first + place // 2 * 3) % SERVICES
    begin = np.repeat(rng.integers(0, MINUTE, traces), 10) + place * 1000 + BEGIN
    columns = {
        "trace_id_high": high,
        "trace_id_low": low,
        "span_id": ids,
        "parent_span_id": pa.array(np.roll(ids, 1), mask=place == 0),
        "resource_id": pa.array([f"resource{n:03}" for n in service]),
        "kind": np.where(place % 2, 3, 2).astype(np.uint8),
        "start_time": pa.array(begin, pa.timestamp("ns")),
        "duration_ns": rng.integers(10**5, 10**8, ROWS),
        "status_code": np.zeros(ROWS, np.uint8),
        "is_proxy": np.zeros(ROWS, bool),
        "http_request_method": pa.array(["GET"] * ROWS),
        "http_response_status_code": np.full(ROWS, 200, np.uint16),
    }
    table = pa.table(
        {
            field.name: pa.array(columns[field.name], field.type)
            if field.name in columns
            else pa.nulls(ROWS, field.type)
            for field in SPANS.arrow
        },
        schema=SPANS.arrow,
    )
    return table.filter(pa.array(place < 5)), table.filter(pa.array(place >= 5))


def main(millions: float = 3.0) -> None:
    """Fill one minute, then recompute it."""
    slices = int(millions * 1e6 / ROWS)
    known = resources()
    with tempfile.TemporaryDirectory() as directory:
        store = open_store(Path(directory))
        job = MinutesJob(store)
        costs = []
        late = None
        for number in range(slices):
            early, following = halves(number)
            rows = early if late is None else pa.concat_tables([early, late])
            late = following
            store.write({"spans": rows, "resources": known}, expected={}, positions={})
            began, cpu = time.perf_counter(), time.process_time()
            while job._run():
                pass
            costs.append((time.perf_counter() - began, time.process_time() - cpu))
        third = len(costs) // 3
        for name, part in (("first", costs[1:third]), ("last", costs[-third:])):
            told = {
                "third of the minute": name,
                "wall_seconds_per_million": round(np.mean([w for w, _ in part]) * 1e6 / ROWS, 2),
                "cpu_seconds_per_million": round(np.mean([c for _, c in part]) * 1e6 / ROWS, 2),
            }
            print(json.dumps(told), flush=True)
        low, high = store.noticed()[0], store.noticed()[-1]
        began, cpu = time.perf_counter(), time.process_time()
        rows = job.recompute_all()
        seconds = time.perf_counter() - began
        told = {
            "recomputed_spans": rows,
            "slices": high - low + 1,
            "wall_seconds_per_10_million": round(seconds / rows * 1e7, 2),
            "cpu_seconds_per_million": round((time.process_time() - cpu) / rows * 1e6, 2),
        }
        print(json.dumps(told))
        store.close()


if __name__ == "__main__":
    main(*(float(word) for word in sys.argv[1:2]))
