"""How fast the graph is answered: 1,000 services, 10,000 edges, 60 minutes, in a real store.

Run ``python -m tests.benchmarks.graph``. The first answer of all reads and builds; the next ones,
until something changes, come out of memory. Live answers are asked for five times a second, and the
store changes before each. All go through the application and its cache, without a network.
"""

import asyncio
import json
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from starlette.types import ASGIApp, Message

from api.app import create_app
from api.cache import AnswerCache
from api.context import Context
from pipeline.model.ledger import Ledger
from pipeline.model.tables import EDGE_MINUTES, SPANS
from pipeline.store import Unit, open_store
from pipeline.store.port import Store

SERVICES = 1_000
EDGES = 10_000
MINUTES = 60
REPORTERS = ("client", "server")
BUCKETS = 8
BEGIN = datetime(2026, 11, 23, 10, tzinfo=UTC)
PATH = "/v1/graph?start=2026-11-23T10:00:00Z&end=2026-11-23T11:00:00Z"
FIRST_ANSWERS = 8
CACHED_ANSWERS = 200
LIVE_ANSWERS = 40
LIVE_SECONDS = 0.2


@dataclass(frozen=True)
class Measured:
    """The answer; times in milliseconds."""

    edges: int
    rows: int
    body_bytes: int
    first_p50_ms: float
    first_p95_ms: float
    cached_p50_ms: float
    cached_p95_ms: float
    live_p50_ms: float
    live_p95_ms: float


def minutes_of(reporter: str) -> pl.DataFrame:
    """Rows of ``edge_minutes`` as one reporter tells them: each edge in each minute."""
    rng = np.random.default_rng(len(reporter))
    rows = EDGES * MINUTES
    edge = np.repeat(np.arange(EDGES), MINUTES)
    client, server = edge % SERVICES, (edge * 7 + edge // SERVICES + 1) % SERVICES
    minute = np.tile(np.arange(MINUTES), EDGES) * 60_000_000_000
    requests = rng.integers(1, 200, rows) * 1_000_000
    first = rng.integers(-300, -100, rows).astype(np.int16)
    lists = pl.DataFrame(
        {"buckets": (first[:, None] + np.arange(BUCKETS)).astype(np.int16)},
        schema={"buckets": pl.Array(pl.Int16, BUCKETS)},
    )
    counts = np.repeat(requests[:, None] // BUCKETS, BUCKETS, axis=1)
    names = pl.Series([f"shop-{number % 20}/service-{number}" for number in range(SERVICES)])
    return pl.DataFrame(
        {
            "slice": pl.repeat(1, rows, dtype=pl.Int64, eager=True),
            "minute": pl.Series(minute + int(BEGIN.timestamp()) * 10**9).cast(pl.Datetime("ns")),
            "client": names.gather(client),
            "server": names.gather(server),
            "requests": requests,
            "attempts": requests,
            "rows": requests // 1_000_000,
            "server_errors": requests // 100,
            "buckets": lists["buckets"].cast(pl.List(pl.Int16)),
            "counts": pl.Series(counts).cast(pl.List(pl.Int64)),
        }
    ).with_columns(
        *(pl.lit("service").alias(f"{end}_kind") for end in ("client", "server")),
        *(pl.lit(0, pl.Int64).alias(name) for name in _ZEROS),
        protocol=pl.lit("http"),
        reporter=pl.lit(reporter),
        signal=pl.lit("spans"),
        system=pl.lit("otel"),
    )


_ZEROS = (
    "unpaired", "sampled", "client_errors", "connection_errors", "tls_known", "tls_mutual",
    "duration_ns",
)  # fmt: skip


def conforming(frame: pl.DataFrame) -> pa.Table:
    """The frame with exactly the columns of the table."""
    missing = [name for name in EDGE_MINUTES.names if name not in frame.columns]
    whole = frame.with_columns(pl.lit(None, pl.String).alias(name) for name in missing)
    return whole.select(EDGE_MINUTES.names).to_arrow().cast(EDGE_MINUTES.arrow)


def one_more_slice(store: Store) -> int:
    """Change the store by one span; returns the number of its slice."""
    span = {"trace_id_low": 1, "span_id": 1, "start_time": BEGIN.replace(tzinfo=None)}
    raw = pa.Table.from_pylist([dict.fromkeys(SPANS.names) | span], schema=SPANS.arrow)
    positions = store.positions()
    number = store.write({SPANS.name: raw}, expected=positions, positions=positions)
    assert number is not None
    store.notice([number], pl.DataFrame(schema={"home": pl.Int64, "slice": pl.Int64}))
    return number


def fill(store: Store) -> int:
    """Put the graph into a store; returns its rows."""
    number = one_more_slice(store)
    tables = [conforming(minutes_of(reporter)) for reporter in REPORTERS]
    store.replace(
        [Unit(number, number)], {EDGE_MINUTES.name: pa.concat_tables(tables)}, cause=number
    )
    return sum(table.num_rows for table in tables)


async def ask(app: ASGIApp) -> tuple[float, int]:
    """Ask for the graph once; milliseconds, and bytes of the body."""
    path, _, query = PATH.partition("?")
    scope = {
        "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "path": path,
        "raw_path": path.encode(), "query_string": query.encode(), "headers": [],
        "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1), "root_path": "",
    }  # fmt: skip
    size = 0

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        nonlocal size
        assert message.get("status", 200) == 200, message
        size += len(message.get("body", b""))

    began = time.perf_counter()
    await app(scope, receive, send)
    return (time.perf_counter() - began) * 1000, size


async def ask_live(app: ASGIApp, store: Store) -> tuple[float, int]:
    """Ask after a change and a pause; see ``ask``."""
    await asyncio.to_thread(one_more_slice, store)
    await asyncio.sleep(LIVE_SECONDS)
    return await ask(app)


async def measure(directory: Path) -> Measured:
    """Fill a store and ask."""
    store = open_store(directory)
    rows = fill(store)
    cache = AnswerCache(64 * 2**20)
    context = Context(
        store=store, ledger=Ledger(), bus=None, clock=lambda: BEGIN, unready=lambda: None,
        cache=cache, slots=asyncio.Semaphore(4), version="0", started=BEGIN,
    )  # fmt: skip
    app = create_app(context)
    fresh = [create_app(_with_new_cache(context)) for _ in range(FIRST_ANSWERS)]
    first = [await ask(one) for one in fresh]
    await ask(app)
    cached = [await ask(app) for _ in range(CACHED_ANSWERS)]
    live = [await ask_live(app, store) for _ in range(LIVE_ANSWERS)]
    store.close()
    return Measured(
        EDGES,
        rows,
        first[0][1],
        *(float(np.percentile([ms for ms, _ in first], share)) for share in (50, 95)),
        *(float(np.percentile([ms for ms, _ in cached], share)) for share in (50, 95)),
        *(float(np.percentile([ms for ms, _ in live], share)) for share in (50, 95)),
    )


def _with_new_cache(context: Context) -> Context:
    return Context(
        store=context.store, ledger=context.ledger, bus=None, clock=context.clock,
        unready=context.unready, cache=AnswerCache(0), slots=context.slots, version="0",
        started=context.started,
    )  # fmt: skip


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        print(json.dumps(asdict(asyncio.run(measure(Path(made)))), indent=2))
