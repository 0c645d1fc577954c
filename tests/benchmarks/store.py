"""What the store costs: rows a second, processor seconds and bytes per span, on the DuckDB file.

Run ``python -m tests.benchmarks.store``. Spans are like those of a mesh: random ids, five spans a
trace that arrive sorted by sender, nine attributes a span.
"""

import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.model.messages import Partition
from pipeline.model.tables import RESOURCES, SPANS
from pipeline.model.topics import OTLP_SPANS
from pipeline.store import Backend, StoreSettings, open_store

ROWS = 75_000
BATCHES = 16
SPANS_A_TRACE = 5
SERVICES = 40
SECOND = 1_000_000_000
BEGIN = 1_790_000_000 * SECOND


@dataclass(frozen=True)
class Measured:
    """The answer; times in seconds, sizes in bytes."""

    spans: int
    spans_per_second: float
    cpu_seconds_per_million: float
    bytes_per_span: float
    slowest_write_seconds: float
    pair_read_seconds_per_million: float
    trace_seconds: float


def resources() -> pa.Table:
    """One row per service and pod."""
    rows = [
        {
            "resource_id": f"resource{number:03d}",
            "service_namespace": "shop",
            "service_name": f"service-{number // 4}",
            "service_instance_id": f"service-{number // 4}-7d9f8b6c5-{number:05x}",
            "attributes": json.dumps({"service.name": f"service-{number // 4}"}),
        }
        for number in range(SERVICES * 4)
    ]
    return pa.Table.from_pylist(rows, schema=RESOURCES.arrow)


def spans(seed: int, rows: int = ROWS) -> pa.Table:
    """One batch of spans as the decoder gives them."""
    rng = np.random.default_rng(seed)
    traces = rows // SPANS_A_TRACE
    trace = np.repeat(np.arange(traces), SPANS_A_TRACE)
    place = np.tile(np.arange(SPANS_A_TRACE), traces)
    ids = _ids(rng, rows)
    parents = np.where(place == 0, 0, np.roll(ids, 1))
    service = (np.repeat(rng.integers(0, SERVICES, traces), SPANS_A_TRACE) + place) % SERVICES
    began = np.repeat(rng.integers(0, SECOND, traces), SPANS_A_TRACE) + place * 150_000
    client = place % 2 == 1
    route = service * 3 + rng.integers(0, 3, rows)
    columns: dict[str, pa.Array] = {
        "trace_id_high": pa.array(_ids(rng, traces)[trace]),
        "trace_id_low": pa.array(_ids(rng, traces)[trace]),
        "span_id": pa.array(ids),
        "parent_span_id": pa.array(parents, mask=place == 0),
        "resource_id": _picked("resource{:03d}", service * 4 + rng.integers(0, 4, rows)),
        "scope_id": _picked("scope{:06d}", np.zeros(rows, np.int64)),
        "name": _picked("GET /api/v1/things{}/:id", route),
        "kind": pa.array(np.where(client, 3, 2).astype(np.uint8)),
        "start_time": pa.array(BEGIN + seed * SECOND + began).cast(pa.timestamp("ns")),
        "duration_ns": pa.array(rng.lognormal(15.5, 1.2, rows).astype(np.int64)),
        "status_code": pa.array((rng.random(rows) < 0.01).astype(np.uint8) * np.uint8(2)),
        "http_request_method": _picked("GET", np.zeros(rows, np.int64)),
        "http_response_status_code": pa.array(
            rng.choice(np.array([200, 201, 404, 503], np.uint16), rows, p=[0.9, 0.06, 0.03, 0.01])
        ),
        "http_route": _picked("/api/v1/things{}/:id", route),
        "url_path": _picked("/api/v1/things/{}", rng.integers(0, 10_000, rows)),
        "server_address": _picked("service-{}.shop.svc.cluster.local", service),
        "server_port": pa.array(np.full(rows, 8080, np.uint32)),
        "is_proxy": pa.array(np.zeros(rows, bool)),
        "attributes": _picked(
            '{{"user_agent.original":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",'
            '"network.protocol.version":"1.1","http.response.body.size":{}}}',
            rng.integers(0, 50_000, rows),
        ),
    }
    full = [
        columns.get(name, pa.nulls(rows)).cast(SPANS.arrow.field(name).type) for name in SPANS.names
    ]
    # a sender exports its own spans together
    return pa.table(full, schema=SPANS.arrow).take(np.argsort(service, kind="stable"))


def _ids(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.integers(1, 2**64, count, dtype=np.uint64)


def _picked(text: str, numbers: np.ndarray) -> pa.Array:
    """Text with a number in it, built from a dictionary."""
    distinct, index = np.unique(numbers, return_inverse=True)
    words = pa.array([text.format(number) for number in distinct.tolist()])
    return words.take(pa.array(index))


def measure(directory: Path, settings: StoreSettings, *, batches: int = BATCHES) -> Measured:
    """Write ``batches`` slices, then read them as the analysis and a person would."""
    made = [spans(seed) for seed in range(batches)]
    store = open_store(directory, settings)
    partition = Partition(OTLP_SPANS)
    slowest = 0.0
    wall, cpu = time.perf_counter(), time.process_time()
    for offset, batch in enumerate(made):
        began = time.perf_counter()
        store.write(
            {"spans": batch, "resources": resources()},
            expected={partition: offset},
            positions={partition: offset + 1},
        )
        slowest = max(slowest, time.perf_counter() - began)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    closing, closing_cpu = time.perf_counter(), time.process_time()
    store.close()
    wall += time.perf_counter() - closing
    cpu += time.process_time() - closing_cpu
    rows = batches * ROWS
    size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    store = open_store(directory, settings)
    read, read_seconds = _timed(lambda: store.ask("pair_spans", slices=[1, batches // 2]).height)
    high, low = made[3]["trace_id_high"][0].as_py(), made[3]["trace_id_low"][0].as_py()
    found, trace_seconds = _timed(
        lambda: store.ask("trace_spans", trace_id_high=high, trace_id_low=low).height
    )
    assert (read, found) == (2 * ROWS, SPANS_A_TRACE)
    store.close()
    return Measured(
        rows, rows / wall, cpu * 1e6 / rows, size / rows, slowest,
        read_seconds * 1e6 / read, trace_seconds,
    )  # fmt: skip


def _timed(work):
    began = time.perf_counter()
    answer = work()
    return answer, time.perf_counter() - began


def main(backend: str = "file") -> None:
    """Measure one backend and print the answer as JSON."""
    with tempfile.TemporaryDirectory() as directory:
        measured = measure(Path(directory), StoreSettings(backend=Backend(backend)))
    print(json.dumps({key: round(value, 4) for key, value in asdict(measured).items()}, indent=2))


if __name__ == "__main__":
    main(*sys.argv[1:])
