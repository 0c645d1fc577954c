"""What only DuckLake does: several processes write, and files are tidied."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from pipeline.errors import StoreBusy
from pipeline.model.messages import Partition
from pipeline.store import Backend, Store, StoreSettings, Unit, open_store
from pipeline.store.connection import LAKE_DATA_NAME
from tests.pipeline.store.rows import resources, spans

pytest.importorskip("duckdb_extension_ducklake", reason="the extra ducklake is not installed")
pytest.importorskip("duckdb_extension_sqlite_scanner", reason="the extra ducklake is not installed")

P = Partition("otlp_spans")
SETTINGS = StoreSettings(backend=Backend.DUCKLAKE, threads=1, raw_age_seconds=1.0)


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[tuple[Store, Store]]:
    """Two stores on one lake, each with a DuckDB of its own, as two processes would have."""
    first, second = open_store(tmp_path, SETTINGS), open_store(tmp_path, SETTINGS)
    yield first, second
    first.close()
    second.close()


def write_eagerly(store: Store, writes: int) -> int:
    """Write slices from wherever the store stands, trying again when another was faster."""
    refused = 0
    while writes:
        stands = store.positions().get(P, 0)
        rows = {"spans": spans([stands]), "resources": resources("resource-a-")}
        try:
            store.write(rows, expected={P: stands}, positions={P: stands + 1})
            writes -= 1
        except StoreBusy:
            refused += 1
    return refused


def test_two_writers_never_both_succeed_from_one_position(stores: tuple[Store, Store]) -> None:
    with ThreadPoolExecutor(2) as writers:
        list(writers.map(lambda store: write_eagerly(store, 6), stores))
    for store in stores:
        assert store.positions() == {P: 12}
        keys = store.ask("trace_keys", slices=list(range(1, 20))).sort("slice")
        assert keys.select("slice", "trace_id_low").rows() == [(n + 1, n) for n in range(12)]
        assert store.ask("resources").height == 1


def test_files_of_retired_rows_are_deleted(stores: tuple[Store, Store], tmp_path: Path) -> None:
    store, _ = stores
    for number in range(3):
        batch = spans(range(number * 1_000, (number + 1) * 1_000))
        store.write({"spans": batch}, expected={}, positions={})
    files = sorted((tmp_path / LAKE_DATA_NAME).rglob("spans/*.parquet"))
    assert len(files) == 3
    links = pl.DataFrame(schema={"home": pl.Int64, "slice": pl.Int64})
    store.notice(store.unnoticed(), links)
    store.replace([Unit(n, n) for n in (1, 2, 3)], {}, cause=3)
    later = datetime.now(UTC) + timedelta(days=1)
    assert store.retire(now=int(later.timestamp()) * 1_000_000_000) == {"spans": 3_000}
    assert list((tmp_path / LAKE_DATA_NAME).rglob("spans/*.parquet")) == []
    assert store.noticed() == []
