"""How fast a second process answers from a DuckLake while a first writes, recomputes and compacts.

Run ``python -m tests.benchmarks.lake [sqlite|postgres] [SECONDS] [SPANS A SLICE]``. The first
writes a slice a second, as the ingest job does, and runs the jobs of the analysis; the second asks
what the API asks, and nothing else, at the pace of a few open dashboards.
"""

import asyncio
import json
import multiprocessing
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from pipeline.errors import StoreBusy
from pipeline.jobs.compact import CompactJob
from pipeline.jobs.job import Job
from pipeline.jobs.minutes import MinutesJob
from pipeline.jobs.scheduler import Scheduler
from pipeline.model.messages import Partition
from pipeline.model.topics import OTLP_SPANS
from pipeline.store import Backend, Store, StoreSettings, open_store
from tests import postgres
from tests.benchmarks.store import BEGIN, SECOND, resources, spans

PART = Partition(OTLP_SPANS)
PACE = 0.1
"""Seconds between two rounds of questions."""


class WriteJob:
    """Writes one slice a second, from rows made before."""

    name = "write"
    cadence = 0.01

    def __init__(self, store: Store, rows: int) -> None:
        self._store = store
        self._batches = [spans(seed, rows) for seed in range(8)]
        self._due = time.monotonic()
        self._offset = 0
        self.seconds: list[float] = []

    async def run(self) -> bool:
        """Write when a second has passed."""
        if time.monotonic() < self._due:
            return False
        self._due = max(self._due + 1, time.monotonic())
        began = time.perf_counter()
        await asyncio.to_thread(self._write)
        self.seconds.append(time.perf_counter() - began)
        return False

    def _write(self) -> None:
        batch = {"spans": self._batches[self._offset % 8], "resources": resources()}
        self._store.write(batch, expected={PART: self._offset}, positions={PART: self._offset + 1})
        self._offset += 1


class Timed:
    """A job, and how long its runs took that had something to do."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self.name, self.cadence = job.name, job.cadence
        self.seconds: list[float] = []

    async def run(self) -> bool:
        """Run the job."""
        began = time.perf_counter()
        more = await self._job.run()
        took = time.perf_counter() - began
        if took > 0.005:
            self.seconds.append(took)
        return more


def writer(
    directory: Path, settings: StoreSettings, seconds: float, rows: int, done: Connection
) -> None:
    """The first process."""
    store = open_store(directory, settings, prefer=Backend.DUCKLAKE)
    write = WriteJob(store, rows)
    jobs = [Timed(MinutesJob(store)), Timed(CompactJob(store, cadence=settings.compact_seconds))]
    done.send("ready")

    async def run() -> None:
        scheduler = Scheduler([write, *jobs])
        asyncio.get_running_loop().call_later(seconds, scheduler.stop)
        await scheduler.run()

    cpu = time.process_time()
    asyncio.run(run())
    cpu = time.process_time() - cpu
    unread = len(store.unnoticed())
    store.close()
    told = {"write": write.seconds, **{job.name: job.seconds for job in jobs}}
    done.send(
        ({name: quantiles(taken) for name, taken in told.items()}, len(write.seconds), cpu, unread)
    )


def quantiles(seconds: list[float]) -> dict[str, float]:
    """Milliseconds: median, 95th and 99th of 100, longest; and how many there were."""
    if not seconds:
        return {}
    p50, p95, p99 = np.quantile(np.array(seconds) * 1_000, [0.5, 0.95, 0.99])
    longest = max(seconds) * 1_000
    found = {"p50": p50, "p95": p95, "p99": p99, "max": longest, "n": len(seconds)}
    return {name: round(float(value), 1) for name, value in found.items()}


QUESTIONS: dict[str, Callable[[Store, int], object]] = {
    "state": lambda store, _: store.ask("state"),
    "edge_window": lambda store, now: store.ask(
        "edge_window", start=now - 3_600 * SECOND, end=now, young=now - 60 * SECOND
    ),
    "youngest_request": lambda store, now: store.ask("youngest_request", latest=now),
}


@dataclass(frozen=True)
class Measured:
    """The answer; all times are milliseconds."""

    questions: dict[str, dict[str, float]]
    last_third: dict[str, dict[str, float]]
    jobs: dict[str, dict[str, float]]
    slices: int
    writer_cpu_seconds: float
    not_noticed_at_end: int
    refused: int
    files: int


def measure(directory: Path, settings: StoreSettings, seconds: float, rows: int) -> Measured:
    """Ask from this process while another writes for some seconds."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    child = context.Process(target=writer, args=(directory, settings, seconds, rows, there))
    child.start()
    here.recv()
    store = open_store(directory, settings, prefer=Backend.DUCKLAKE, read_only=True)
    taken: defaultdict[str, list[float]] = defaultdict(list)
    refused = 0
    while not here.poll():
        for name, ask in QUESTIONS.items():
            began = time.perf_counter()
            try:
                ask(store, BEGIN + 3_600 * SECOND)
            except StoreBusy:
                refused += 1
            taken[name].append(time.perf_counter() - began)
        time.sleep(PACE)
    jobs, slices, cpu, unread = here.recv()
    child.join()
    store.close()
    last = {name: quantiles(times[-len(times) // 3 :]) for name, times in taken.items()}
    files = sum(1 for _ in directory.rglob("*.parquet"))
    every = {name: quantiles(times) for name, times in taken.items()}
    return Measured(every, last, jobs, slices, round(cpu, 1), unread, refused, files)


@contextmanager
def lake(catalog: str) -> Iterator[tuple[Path, StoreSettings]]:
    """A new lake with its catalog in SQLite or PostgreSQL."""
    with tempfile.TemporaryDirectory() as directory:
        if catalog == "sqlite":
            yield Path(directory), StoreSettings(backend=Backend.DUCKLAKE)
            return
        with postgres.running(("-c", "listen_addresses=")) as server:
            yield Path(directory), StoreSettings(catalog=server.database())


def main(catalog: str = "sqlite", seconds: str = "120", rows: str = "5000") -> None:
    """Measure one catalog and print the answer as JSON."""
    with lake(catalog) as (directory, settings):
        measured = measure(directory, settings, float(seconds), int(rows))
    print(json.dumps(asdict(measured), indent=2))


if __name__ == "__main__":
    main(*sys.argv[1:])
