"""Small files of a real lake become few, where the process analyses."""

import asyncio
from collections import Counter

import pytest

from pipeline.jobs.compact import CompactJob
from pipeline.store import Backend, StoreSettings, open_store
from pipeline.store.attach import LAKE_DATA_NAME
from tests.pipeline.store.rows import spans


@pytest.fixture
def stores(tmp_path):
    pytest.importorskip("duckdb_extension_sqlite_scanner", reason="the extra ducklake is missing")
    settings = StoreSettings(backend=Backend.DUCKLAKE, threads=1)
    opened = [open_store(tmp_path, settings) for _ in range(2)]
    for number in range(10):
        opened[0].write({"spans": spans([number])}, expected={}, positions={})
    yield opened
    for store in opened:
        store.close()


def sizes(directory):
    return Counter(path.stat().st_size for path in (directory / LAKE_DATA_NAME).rglob("spans/*"))


def test_only_the_process_that_analyses_compacts(stores, tmp_path):
    one, two = stores
    assert one.lead()
    assert asyncio.run(CompactJob(two).run()) is False
    assert sum(sizes(tmp_path).values()) == 10
    assert asyncio.run(CompactJob(one).run()) is False
    assert sum(sizes(tmp_path).values()) == 11
    assert two.ask("trace_keys", slices=list(range(1, 11))).height == 10


def test_a_file_has_nothing_to_compact(tmp_path):
    store = open_store(tmp_path, StoreSettings(backend=Backend.FILE))
    assert asyncio.run(CompactJob(store).run()) is False
    store.close()
