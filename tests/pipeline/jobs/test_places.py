"""Gateways' entries and the mesh behind them in a real store: however they come, one graph."""

import asyncio
import random
from functools import partial

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipeline.jobs import places
from pipeline.jobs.homes import Homes
from pipeline.jobs.minutes import MinutesJob
from pipeline.model.tables import ACCESS_LOGS, ALIASES, SPANS
from pipeline.store import open_store
from pipeline.store.settings import StoreSettings
from tests.pipeline.analyze.traffic import CLIENT, SERVER, resources
from tests.pipeline.jobs.test_minutes import numbers

GATEWAY = "edge/api-gateway"
NAMES = (GATEWAY, "shop/orders", "shop/stock")
SECOND = 1_000_000_000


def request(number):
    """One request: the gateway's entry, spans behind it, and access logs of the same proxies.

    Some entries have the trace id and the request id, some only one, some spans name the request,
    and some requests are told by access logs alone.
    """
    start = number * 7 * SECOND
    trace = {"trace_id_high": 0, "trace_id_low": number}
    named = {"request_id": f"request-{number}"}
    ids = named if number % 5 == 0 else [trace | named, trace, named][number % 3]
    entry = {"resource_id": GATEWAY, "log_type": 0, "start_time": start, "duration_ns": 9 * SECOND,
             "http_response_status_code": 200, "upstream_cluster": "orders-upstream",
             **ids}  # fmt: skip
    spans = [
        {"span_id": at + 1, "parent_span_id": parent, "kind": kind, "resource_id": name,
         "start_time": start + at + 1, "duration_ns": 1000 * number, "status_code": 0,
         "is_proxy": True, **trace, "request_id": named["request_id"] if at == 0 else None}
        for at, (parent, kind, name) in enumerate(
            [(99, SERVER, "shop/orders"), (1, CLIENT, "shop/orders"), (2, SERVER, "shop/stock")]
        )
    ]  # fmt: skip
    log = {"resource_id": "shop/orders", "log_type": 6, "log_name": "inbound", **named,
           "start_time": start + 1, "duration_ns": 1000 * number,
           "http_response_status_code": 200}  # fmt: skip
    if number % 5 == 0:
        spans = []
    return [("access_logs", entry), ("access_logs", log), *(("spans", span) for span in spans)]


def traffic(requests=40):
    return [row for number in range(1, requests + 1) for row in request(number)]


def write(store, rows):
    batches = {"resources": resources(*NAMES).to_arrow()}
    for table in (SPANS, ACCESS_LOGS):
        mine = [dict.fromkeys(table.names) | row for name, row in rows if name == table.name]
        if mine:
            frame = pl.DataFrame(mine, infer_schema_length=None)
            frame = frame.with_columns(pl.col("start_time").cast(pl.Datetime("ns")))
            batches[table.name] = frame.to_arrow().cast(table.arrow)
    store.write(batches, expected={}, positions={})


def store_of(directory, batches, *, often=0.5):
    store = open_store(directory)
    job = MinutesJob(store)
    for rows in batches:
        write(store, rows)
        if random.random() < often:
            asyncio.run(job.run())
    asyncio.run(job.settle())
    return store


def aliases(store):
    return store.ask("aliases").select(ALIASES.names[1:])


def in_batches(rows, size):
    rows = random.sample(rows, len(rows))
    late = [rows.pop() for _ in range(len(rows) // 5)]
    batches = []
    for part in (rows, late):
        while part:
            batches.append([part.pop() for _ in range(min(len(part), random.randint(1, size)))])
    return batches


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    store = store_of(tmp_path_factory.mktemp("whole"), [traffic()])
    yield store
    store.close()


def test_every_request_of_the_gateway_is_answered_by_the_mesh(whole):
    minutes = numbers(whole)
    edges = minutes.group_by("client", "server", "reporter", "signal").agg(
        pl.col("requests").sum() // 1_000_000
    )
    told = {tuple(row[:4]): row[4] for row in edges.rows()}
    assert told[(GATEWAY, "shop/orders", "gateway", "access_logs")] == 40
    assert told[(GATEWAY, "shop/orders", "server_proxy", "access_logs")] == 40
    assert told[(GATEWAY, "shop/orders", "server_proxy", "spans")] == 32
    assert told[("clients", GATEWAY, "gateway", "access_logs")] == 40
    assert not any(row[:2] == ("clients", "shop/orders") for row in told)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("generation", [None, 25])
def test_order_batches_and_lateness_change_no_number(
    tmp_path, whole, monkeypatch, seed, generation
):
    if generation:
        monkeypatch.setattr(places, "Homes", partial(Homes, generation=generation))
    random.seed(seed)
    store = store_of(tmp_path, in_batches(traffic(), 12))
    try:
        assert_frame_equal(numbers(store), numbers(whole))
        assert_frame_equal(aliases(store), aliases(whole))
        MinutesJob(store).recompute_all()
        assert_frame_equal(numbers(store), numbers(whole))
    finally:
        store.close()


def test_a_new_process_finds_the_groups_again(tmp_path, whole):
    random.seed(5)
    batches = in_batches(traffic(), 12)
    store_of(tmp_path, batches[::2]).close()
    store = store_of(tmp_path, batches[1::2], often=1)
    try:
        assert_frame_equal(numbers(store), numbers(whole))
    finally:
        store.close()


def test_requests_leave_whole_with_the_traces_they_are_one_with(tmp_path):
    entry, log, *spans = request(3)
    others = [row for number in (6, 7) for row in request(number)]
    now = 0
    store = open_store(tmp_path, StoreSettings(raw_age_seconds=100))
    store._clock = lambda: now
    job = MinutesJob(store)
    # the entry names the trace and the request, so that the log is at home where the spans are
    for rows in ([spans[0]], [log, *spans[1:]], [entry], others):
        now += 60 * SECOND
        write(store, rows)
        asyncio.run(job.settle())
    before = numbers(store)
    store.retire(now=now)
    try:
        left = store.ask("group_rows", low=0, high=9, traces=[3], requests=["request-3"])
        assert left.is_empty()
        assert not store.ask("group_rows", low=0, high=9, traces=[7], requests=[]).is_empty()
        job.recompute_all()
        assert_frame_equal(numbers(store), before)
    finally:
        store.close()


def test_a_failed_notice_loses_no_link(tmp_path, whole, monkeypatch):
    random.seed(6)
    store = open_store(tmp_path)
    job = MinutesJob(store)
    for rows in in_batches(traffic(), 12):
        write(store, rows)
        with monkeypatch.context() as broken:
            broken.setattr(store, "notice", _refuse)
            with pytest.raises(ConnectionError):
                asyncio.run(job.run())
        asyncio.run(job.run())
    asyncio.run(job.settle())
    try:
        assert_frame_equal(numbers(store), numbers(whole))
    finally:
        store.close()


def _refuse(*_args, **_more):
    raise ConnectionError
