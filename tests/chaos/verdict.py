"""The books after the storm: what was acknowledged, what is stored, what was derived."""

import time
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from pipeline.jobs.minutes import MinutesJob
from pipeline.store import Store, StoreSettings, open_store
from tests.chaos.senders import SPANS

POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Verdict:
    """What was found.

    Attributes:
        acknowledged: spans whose senders were told yes.
        stored: spans in the store.
        lost: acknowledged spans that are not in the store.
        doubled: spans that are there more than once.
        torn: requests of which only a part is there.
        on_graph: requests that the derived rows count.
        recomputed_equal: whether computing everything anew from raw rows changes nothing.
    """

    acknowledged: int
    stored: int
    lost: int
    doubled: int
    torn: int
    on_graph: int
    recomputed_equal: bool

    @property
    def holds(self) -> bool:
        """Whether all promises were kept."""
        return (
            self.lost == self.doubled == self.torn == 0
            and self.on_graph == self.stored
            and self.recomputed_equal
        )


def wait_until_stored(data: Path, settings: StoreSettings, spans: int, *, seconds: float) -> float:
    """Seconds until the derived rows count at least so many spans; gives up after ``seconds``."""
    began = time.monotonic()
    store = open_store(data, settings)
    try:
        while _counted(store) < spans or not store.dirty().is_empty() or store.unnoticed():
            if time.monotonic() - began > seconds:
                raise AssertionError(
                    f"{_counted(store)} of {spans} spans are counted after {seconds:.0f} s"
                )
            time.sleep(POLL_SECONDS)
    finally:
        store.close()
    return time.monotonic() - began


def examine(data: Path, settings: StoreSettings, acknowledged: list[int]) -> Verdict:
    """Compare; nobody else may be writing."""
    store = open_store(data, settings)
    try:
        spans = store.ask("pair_spans", slices=[*store.noticed(), *store.unnoticed()])
        once = spans.group_by("trace_id_high", "trace_id_low", "span_id").len()
        requests = once.group_by("trace_id_high").len()
        before = _derived(store)
        job = MinutesJob(store)
        job.recompute_all()
        after = _derived(store)
        return Verdict(
            acknowledged=len(acknowledged) * SPANS,
            stored=spans.height,
            lost=len(set(acknowledged) - set(requests["trace_id_high"])) * SPANS,
            doubled=spans.height - once.height,
            torn=requests.filter(pl.col("len") != SPANS).height,
            on_graph=_counted(store),
            recomputed_equal=before.equals(after),
        )
    finally:
        store.close()


def _counted(store: Store) -> int:
    return int(_derived(store)["requests"].sum() // 1_000_000)


def _derived(store: Store) -> pl.DataFrame:
    """What is derived, added up over slices, which a recomputation may group differently."""
    minutes = store.ask("edge_minutes", start=0, end=2**62)
    measures = ["rows", "requests", "attempts", "server_errors", "duration_ns"]
    keys = ["minute", "client", "server", "reporter"]
    return minutes.group_by(keys).agg(pl.col(measures).sum()).sort(keys)
