"""What metrics say, in a real store: the same numbers however and whenever points came."""

import asyncio
import random
from collections import defaultdict

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipeline.jobs import metric_minutes as job_module
from pipeline.jobs.metric_minutes import MetricMinutesJob
from pipeline.jobs.minutes import MinutesJob
from pipeline.model.messages import Partition
from pipeline.model.runs import Run
from pipeline.model.tables import CALL_KEY, METRIC_POINTS
from pipeline.store import StoreSettings, open_store
from pipeline.store.duck import DuckStore
from tests.pipeline.analyze.points import MINUTE, histogram, point, table
from tests.pipeline.analyze.traffic import resources

KEYS = [column.name for column in CALL_KEY]
TARGETS = ("shop/frontend", "shop/cart", "shop/mail")
BOUNDS = [1.0, 5.0, 25.0]
FOREVER = {"start": 0, "end": 2**62}


def mesh(chance, *, readings=40, every=15.0):
    """Three Envoys that are scraped for ten minutes; each restarts once, and some reads fail.

    Returns the points, and how many requests each really sent to each cluster after it was first
    read. A process that restarts tells nothing of what it did since it was last read.
    """
    rows, true = [], defaultdict(int)
    for target in TARGETS:
        shown, times = defaultdict(int), [0] * (len(BOUNDS) + 1)
        offset = chance.random() * every
        read = False
        for reading in range(readings):
            at = offset + reading * every
            if reading == readings // 2:
                rows += [counter(target, at, None, *key) for key in shown]
                shown, times = defaultdict(int), [0] * (len(BOUNDS) + 1)
                rows.append(point("up", at, 1, {}, type="gauge", resource_id=target))
                continue
            for _ in range(chance.randint(0, 6)):
                key = chance.choice(["cart", "mail"]), chance.choice("2222245")
                shown[key] += 1
                times[chance.randrange(len(times))] += 1
                true[target, key[0]] += read
            if chance.random() < 0.1 and reading not in {readings - 1, readings // 2 - 1}:
                continue
            read = True
            rows.append(point("up", at, 1, {}, type="gauge", resource_id=target))
            rows += [counter(target, at, count, *key) for key, count in shown.items()]
            labels = {"envoy_cluster_name": "cart"}
            name = "envoy_cluster_upstream_rq_time"
            rows.append(histogram(name, at, BOUNDS, list(times), labels, resource_id=target))
            rows.append(point("process_cpu_seconds_total", at, at, {}, resource_id=target))
    return rows, true


def counter(target, at, count, cluster, status):
    labels = {"envoy_cluster_name": cluster, "envoy_response_code_class": status}
    return point("envoy_cluster_upstream_rq_xx", at, count, labels, resource_id=target)


def write(store, rows):
    store.write(
        {
            "metric_points": table(rows).to_arrow().cast(METRIC_POINTS.arrow),
            "resources": resources(*TARGETS).to_arrow(),
        },
        expected={},
        positions={},
    )


def store_of(directory, batches, chance=None):
    store = open_store(directory, StoreSettings(threads=1))
    job = MinutesJob(store)
    for rows in batches:
        write(store, rows)
        if chance is not None and chance.random() < 0.5:
            asyncio.run(job.run())
    asyncio.run(job.settle())
    return store


def told(store):
    """The derived rows, in the order of their keys."""
    edges = store.ask("edge_minutes", **FOREVER).sort(KEYS)
    nodes = store.ask("node_minutes", **FOREVER).sort("minute", "node")
    return edges, nodes


def assert_same(one, other):
    for mine, theirs in zip(told(one), told(other), strict=True):
        assert_frame_equal(mine, theirs)


@pytest.mark.parametrize("seed", range(3))
def test_random_order_random_batches_and_late_points_change_no_number(tmp_path, seed):
    chance = random.Random(seed)
    rows, _ = mesh(chance)
    on_time = chance.sample(rows, len(rows))
    late = [on_time.pop() for _ in range(len(rows) // 5)]
    again = chance.sample(rows, 20)
    batches = []
    for part in (on_time, late + again):
        while part:
            size = min(len(part), chance.randint(1, 250))
            batches.append([part.pop() for _ in range(size)])
    shuffled = store_of(tmp_path / "shuffled", batches, chance)
    plain = store_of(tmp_path / "plain", [rows])
    try:
        assert shuffled.stale_minutes().is_empty()
        assert_same(shuffled, plain)
        MinutesJob(shuffled).recompute_all()
        assert_same(shuffled, plain)
    finally:
        shuffled.close()
        plain.close()


@pytest.mark.parametrize("seed", range(3))
def test_every_request_after_the_first_reading_is_counted_once(tmp_path, seed):
    rows, true = mesh(random.Random(seed))
    store = store_of(tmp_path, [rows[n::7] for n in range(7)])
    counted = (
        store.ask("edge_minutes", **FOREVER)
        .group_by("client", "server_alias")
        .agg(pl.col("requests").sum() // 1_000_000, pl.col("rows").sum())
    )
    store.close()
    found = {(client, server): n for client, server, n, _ in counted.iter_rows()}
    assert found == {key: n for key, n in true.items() if n}
    assert counted["rows"].to_list() == counted["requests"].to_list()


def test_senders_are_read_in_parts_and_minutes_in_stretches_alike(tmp_path, monkeypatch):
    rows, _ = mesh(random.Random(5))
    plain = store_of(tmp_path / "plain", [rows])
    monkeypatch.setattr(job_module, "POINTS_TOGETHER", 50)
    monkeypatch.setattr(job_module, "MINUTES_TOGETHER", 2)
    monkeypatch.setattr(job_module, "MARKS_AT_ONCE", 3)
    pieces = store_of(tmp_path / "pieces", [rows])
    try:
        assert_same(pieces, plain)
    finally:
        pieces.close()
        plain.close()


def test_points_of_other_metrics_make_nothing_stale(tmp_path):
    store = open_store(tmp_path, StoreSettings(threads=1))
    write(store, [point("process_cpu_seconds_total", 5, 1, {})])
    assert MetricMinutesJob(store).stale_in([1]).is_empty()
    asyncio.run(MinutesJob(store).settle())
    assert store.ask("edge_minutes", **FOREVER).is_empty()
    store.close()


def test_what_retention_took_points_of_stays_as_it_was(tmp_path):
    day = 86_400 * 10**9
    now = 0
    ages = {"raw_age_seconds": 86_400, "derived_age_seconds": 30 * 86_400}
    store = DuckStore(tmp_path, StoreSettings(threads=1, **ages), clock=lambda: now)
    rows, _ = mesh(random.Random(1))
    half = [row for row in rows if row["time"] < 5 * MINUTE]
    write(store, half)
    job = MinutesJob(store)
    asyncio.run(job.settle())
    now = day + MINUTE
    write(store, [row for row in rows if row["time"] >= 5 * MINUTE])
    asyncio.run(job.settle())
    before = told(store)
    assert store.retire(now=now)["metric_points"] == len(half)
    write(store, rows[:50])
    asyncio.run(job.settle())
    job.recompute_all()
    for mine, theirs in zip(told(store), before, strict=True):
        assert_frame_equal(mine, theirs)
    assert store.retire(now=40 * day)["edge_minutes"] > 0
    store.close()


def test_a_rewritten_slice_makes_the_minutes_of_its_points_stale(tmp_path):
    rows, _ = mesh(random.Random(2))
    topic = Partition("otlp_metrics")
    store = open_store(tmp_path / "one", StoreSettings(threads=1))
    known = resources(*TARGETS).to_arrow()
    for number, some in enumerate((rows[::2], rows[1::2])):
        batch = {"metric_points": table(some).to_arrow().cast(METRIC_POINTS.arrow)}
        expected = {topic: number} if number else {}
        store.write(batch | {"resources": known}, expected=expected, positions={topic: number + 1})
    job = MinutesJob(store)
    asyncio.run(job.settle())
    fewer = [row for row in rows[::2] if row["resource_id"] != "shop/mail"]
    store.rewrite(
        [Run(topic, 0, 1, 1)],
        {"metric_points": table(fewer).to_arrow().cast(METRIC_POINTS.arrow), "resources": known},
    )
    asyncio.run(job.settle())
    plain = store_of(tmp_path / "plain", [fewer + rows[1::2]])
    try:
        assert_same(store, plain)
    finally:
        store.close()
        plain.close()


def test_the_job_derives_where_its_process_analyses_and_rests_after(tmp_path):
    rows, _ = mesh(random.Random(3))
    store = open_store(tmp_path, StoreSettings(threads=1))
    write(store, rows)
    asyncio.run(MinutesJob(store).run())
    assert not store.stale_minutes().is_empty()
    # it is made at 0, begins at 1, ends at 3, and rests for nine times the two seconds
    times = iter([0.0, 1.0, 3.0, 20.9, 21.0, 21.5])
    job = MetricMinutesJob(store, clock=lambda: next(times))
    assert asyncio.run(job.run()) is False
    assert store.stale_minutes().is_empty()
    assert not store.ask("edge_minutes", **FOREVER).is_empty()
    write(store, rows[:5])
    asyncio.run(MinutesJob(store).run())
    asyncio.run(job.run())
    assert not store.stale_minutes().is_empty()
    asyncio.run(job.run())
    assert store.stale_minutes().is_empty()
    store.close()
