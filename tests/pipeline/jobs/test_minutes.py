"""The derived tables in a real store: whatever order rows come in, the same numbers come out."""

import asyncio
import random
from datetime import UTC, datetime

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipeline.errors import StoreBusy
from pipeline.jobs.minutes import MinutesJob, _mergeable
from pipeline.model.tables import CALL_KEY, MEASURES, SPANS
from pipeline.store import Backend, StoreSettings, open_store
from pipeline.store.port import Unit
from tests.pipeline.analyze.traffic import CLIENT, SERVER, resources

KEYS = [column.name for column in CALL_KEY]
SUMS = [column.name for column in MEASURES if column.name not in {"buckets", "counts", "widths"}]


def traffic(traces=60):
    rows = []
    for trace in range(1, traces + 1):
        start = trace * 7_000_000_000
        for hop in range(3):
            caller = {
                "trace_id_high": 0,
                "trace_id_low": trace,
                "status_code": 0,
                "is_proxy": False,
            }
            rows.append(
                caller
                | {"span_id": hop * 2 + 1, "parent_span_id": hop * 2 or None, "kind": SERVER,
                   "resource_id": f"s{hop}", "start_time": start + hop, "duration_ns": 1000 * trace,
                   "consumer": f"app:{trace % 4}" if trace % 4 and not hop else None}
            )  # fmt: skip
            rows.append(
                caller
                | {"span_id": hop * 2 + 2, "parent_span_id": hop * 2 + 1, "kind": CLIENT,
                   "resource_id": f"s{hop}", "start_time": start + hop, "duration_ns": 900 * trace}
            )  # fmt: skip
    return rows


def write(store, rows):
    frame = pl.DataFrame(
        [dict.fromkeys(SPANS.names) | row for row in rows], infer_schema_length=None
    ).with_columns(pl.col("start_time").cast(pl.Datetime("ns")))
    store.write(
        {
            "spans": frame.to_arrow().cast(SPANS.arrow),
            "resources": resources("s0", "s1", "s2").to_arrow(),
        },
        expected={},
        positions={},
    )


def store_of(directory, batches):
    store = open_store(directory)
    job = MinutesJob(store)
    for rows in batches:
        write(store, rows)
        if random.random() < 0.5:
            asyncio.run(job.run())
    asyncio.run(job.settle())
    return store


def numbers(store):
    minutes = store.ask("edge_minutes", start=START, end=END)
    return minutes.group_by(KEYS).agg(pl.col(SUMS).sum()).sort(KEYS)


def usage(store):
    told = store.ask("consumer_window", start=START, end=END)
    keys = [name for name in told.columns if name not in {*SUMS, "buckets", "counts", "minute"}]
    return told.select(*keys, *SUMS).sort(keys)


START, END = datetime(1970, 1, 1, tzinfo=UTC), datetime(1971, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("seed", range(4))
def test_random_order_random_batches_and_a_fifth_an_hour_late(tmp_path, seed):
    random.seed(seed)
    rows = traffic()
    on_time = random.sample(rows, len(rows))
    late = [on_time.pop() for _ in range(len(rows) // 5)]
    batches = []
    for part in (on_time, late):
        while part:
            batches.append([part.pop() for _ in range(min(len(part), random.randint(1, 60)))])
    shuffled = store_of(tmp_path / "shuffled", batches)
    plain = store_of(tmp_path / "plain", [rows])
    try:
        assert_frame_equal(numbers(shuffled), numbers(plain))
        assert_frame_equal(usage(shuffled), usage(plain))
        assert usage(plain)["requests"].sum() == 45 * 1_000_000
    finally:
        shuffled.close()
        plain.close()


def test_a_new_process_finds_the_homes_again(tmp_path):
    rows = traffic()
    first = store_of(tmp_path / "store", [rows[::2]])
    first.close()
    second = store_of(tmp_path / "store", [rows[1::2]])
    whole = store_of(tmp_path / "whole", [rows])
    try:
        assert_frame_equal(numbers(second), numbers(whole))
    finally:
        second.close()
        whole.close()


def test_two_processes_take_turns_and_learn_anew_each_time(tmp_path, monkeypatch):
    pytest.importorskip("duckdb_extension_sqlite_scanner", reason="the extra ducklake is missing")
    now = 0
    monkeypatch.setattr("pipeline.store.lease.LOOK_SECONDS", 0.0)
    rows = traffic()
    lake = StoreSettings(backend=Backend.DUCKLAKE, threads=1)
    stores = [open_store(tmp_path / "lake", lake) for _ in range(2)]
    for store in stores:
        store._lease._clock = lambda: now
    jobs = [MinutesJob(store) for store in stores]
    whole = store_of(tmp_path / "whole", [rows])
    try:
        # each turn sees rows of traces whose homes the other found
        for turn in range(4):
            job, other = jobs[turn % 2], jobs[1 - turn % 2]
            write(stores[0], rows[turn::4])
            asyncio.run(job.settle())
            assert stores[0].unnoticed() == []
            assert asyncio.run(other.run()) is False
            assert stores[turn % 2].leads
            assert not stores[1 - turn % 2].leads
            now += 10 * 10**9
        assert_frame_equal(numbers(stores[0]), numbers(whole))
        assert stores[0].lead()
        with pytest.raises(StoreBusy, match="another process analyses"):
            jobs[1].recompute_all()
    finally:
        for store in (*stores, whole):
            store.close()


def test_merging_changes_no_number(tmp_path):
    rows = traffic()
    store = store_of(tmp_path, [rows[n::16] for n in range(16)])
    before = numbers(store)
    for unit in _mergeable(store.quiet_units()):
        store.merge(unit)
    assert len(store.quiet_units()) < 16
    assert_frame_equal(numbers(store), before)
    store.close()


def test_units_of_one_size_merge_eight_at_a_time():
    ones = [Unit(n, n) for n in range(1, 20)]
    assert _mergeable(ones) == [Unit(1, 8), Unit(9, 16)]
    assert _mergeable([Unit(1, 8), *(Unit(n, n) for n in range(9, 16))]) == []


def test_recomputing_everything_changes_no_number(tmp_path):
    rows = traffic()
    store = store_of(tmp_path, [rows[n::20] for n in range(20)])
    before = numbers(store)
    assert MinutesJob(store).recompute_all() >= len(rows)
    assert_frame_equal(numbers(store), before)
    store.close()
