"""What only DuckLake does: several processes write, and files are tidied."""

import contextlib
import itertools
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.errors import InvalidInput, StoreBusy, StoreIncompatible
from pipeline.model.messages import Partition
from pipeline.store import Backend, Store, StoreSettings, Unit, open_store, schema
from pipeline.store.attach import FILE_NAME, LAKE_CATALOG_NAME, LAKE_DATA_NAME
from pipeline.store.connection import Overtaken, connect
from tests.pipeline.store.lakes import LAKES, NO_LINKS, lake_settings
from tests.pipeline.store.rows import edges, quarantined, resources, spans

P = Partition("otlp_spans")
Q = Partition("otlp_spans", 1)


@pytest.fixture(params=LAKES)
def settings(request: pytest.FixtureRequest) -> StoreSettings:
    return lake_settings(request)


Opener = Callable[..., Store]


@pytest.fixture
def opener(tmp_path: Path, settings: StoreSettings) -> Iterator[Opener]:
    """Opens the lake once more, each time with a DuckDB of its own, as a process would."""
    opened: list[Store] = []

    def open_one(**options: bool) -> Store:
        opened.append(open_store(tmp_path, settings, **options))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def stores(opener: Opener) -> tuple[Store, Store]:
    return opener(), opener()


def write_eagerly(store: Store, writes: int, part: Partition = P) -> int:
    """Write slices from wherever the partition stands, and again when another was faster."""
    refused = 0
    while writes:
        stands = store.positions().get(part, 0)
        rows = {"spans": spans([stands]), "resources": resources("resource-a-")}
        try:
            store.write(rows, expected={part: stands}, positions={part: stands + 1})
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


def test_writers_of_two_partitions_are_never_refused(stores: tuple[Store, Store]) -> None:
    with ThreadPoolExecutor(2) as writers:
        refused = list(writers.map(write_eagerly, stores, (6, 6), (P, Q)))
    assert refused == [0, 0]
    assert stores[0].positions() == {P: 6, Q: 6}
    keys = stores[1].ask("trace_keys", slices=list(range(1, 20)))
    assert sorted(keys["slice"]) == list(range(1, 13))
    assert stores[0].ask("resources").height == 1


BATCHES = {
    "rows": lambda: {"spans": spans([1])},
    "nothing but a quarantined message": lambda: {"quarantine": quarantined(0)},
    "nothing but the position": dict,
    "an interned row": lambda: {"resources": resources("resource-a-")},
}


@pytest.mark.parametrize("known", [False, True], ids=["first write", "later write"])
@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES.keys())
def test_of_two_transactions_under_way_from_one_position_one_commits(
    tmp_path: Path,
    settings: StoreSettings,
    *,
    known: bool,
    batch: Callable[[], dict[str, pa.Table]],
) -> None:
    """One transaction is held open between its last statement and its commit."""
    slow, fast = (Held(tmp_path, settings) for _ in range(2))
    try:
        if known:
            fast.store.write({}, expected={}, positions={P: 0})
            fast.store.write({}, expected={}, positions={P: 1})
        stands = {P: int(known)}
        following = {P: stands[P] + 1}
        slow.before_commit = lambda: fast.store.write(batch(), expected=stands, positions=following)
        with pytest.raises(StoreBusy, match=f"stands at offset {following[P]}"):
            slow.store.write(batch(), expected=stands, positions=following)
        assert slow.attempts == 2
        assert slow.store.positions() == following
        assert slow.store.ask("quarantine", limit=9).height == ("quarantine" in batch())
        assert slow.store.ask("resources").height == ("resources" in batch())
        assert len(slow.store.unnoticed()) == ("spans" in batch())
    finally:
        slow.close()
        fast.close()


class Held:
    """A store whose next transaction does something else just before it commits."""

    def __init__(self, directory: Path, settings: StoreSettings) -> None:
        self.store = open_store(directory, settings)
        self.before_commit: Callable[[], object] = lambda: None
        self.attempts = 0
        database = self.store._database
        # what is proved here must hold without the lock that only saves work
        database._courtesy.close()
        database._courtesy = None
        commit = database.commit

        def counted(work):
            def held(session):
                self.attempts += 1
                done = work(session)
                act, self.before_commit = self.before_commit, lambda: None
                act()
                return done

            return commit(held)

        database.commit = counted

    def close(self) -> None:
        """Close the store."""
        self.store.close()


def test_a_conflict_that_leaves_the_position_alone_is_tried_again(
    tmp_path: Path, settings: StoreSettings
) -> None:
    slow, fast = (Held(tmp_path, settings) for _ in range(2))
    write = {"spans": spans([1]), "resources": resources("resource-a-")}
    slow.before_commit = lambda: fast.store.write(write, expected={}, positions={Q: 1})
    assert slow.store.write(write, expected={}, positions={P: 1}) == 2
    assert slow.attempts == 2
    assert fast.store.positions() == {P: 1, Q: 1}
    assert fast.store.ask("resources").height == 1
    slow.close()
    fast.close()


def test_a_transaction_that_is_not_tried_again_says_that_it_lost(
    tmp_path: Path, settings: StoreSettings
) -> None:
    one, two = connect(tmp_path, settings), connect(tmp_path, settings)
    schema.migrate(one)
    count = "UPDATE counters SET value = value + 1 WHERE name = 'slice'"
    one._courtesy = two._courtesy = None

    def overlap() -> None:
        with one.transaction() as slow:
            slow.run(count)
            with two.transaction() as fast:
                fast.run(count)

    with pytest.raises(Overtaken):
        overlap()
    with one.session() as session:
        assert session.rows("SELECT value FROM counters WHERE name = 'slice'") == [(1,)]
    one.close()
    two.close()


def test_files_of_retired_rows_are_deleted(
    tmp_path: Path, settings: StoreSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings.model_copy(update={"raw_age_seconds": 1.0, "snapshot_age_seconds": 60.0})
    store = open_store(tmp_path, settings)
    for number in range(3):
        batch = spans(range(number * 1_000, (number + 1) * 1_000))
        store.write({"spans": batch}, expected={}, positions={})
    files = sorted((tmp_path / LAKE_DATA_NAME).rglob("spans/*.parquet"))
    assert len(files) == 3
    store.notice(store.unnoticed(), NO_LINKS)
    store.replace([Unit(n, n) for n in (1, 2, 3)], {}, cause=3)
    later = int((datetime.now(UTC) + timedelta(days=1)).timestamp()) * 1_000_000_000
    assert store.retire(now=later) == {"spans": 3_000}
    store.compact(now=later)
    assert list((tmp_path / LAKE_DATA_NAME).rglob("spans/*.parquet")) == []
    assert store.noticed() == []
    store.close()


def test_small_files_are_merged_and_answers_stay(opener: Opener, tmp_path: Path) -> None:
    store, other = opener(), opener()
    for number in range(20):
        store.write({"spans": spans([number])}, expected={P: number}, positions={P: number + 1})
        store.notice(store.unnoticed(), NO_LINKS)
        lows = range(max(1, number - 1), number + 2)
        rows = edges(*((low, f"s{number}", {1: low}) for low in lows))
        store.replace([Unit(n, n) for n in lows], {"edge_minutes": rows}, cause=number + 1)
        expected = number + 1
    seen = answers(other)
    merged = store.compact(now=0)
    assert merged["spans"] == 20
    assert merged["slices"] >= 8
    assert answers(other) == seen == answers(store)
    assert store.compact(now=0).get("spans") is None
    store.write({"spans": spans([99])}, expected={P: expected}, positions={P: expected + 1})
    store.notice([21], NO_LINKS)
    assert store.noticed() == list(range(1, 22))


def test_a_reader_keeps_its_view_while_files_are_merged(
    tmp_path: Path, settings: StoreSettings
) -> None:
    # with one thread DuckDB scans the catalog as it should of itself
    settings = settings.model_copy(update={"threads": 2})
    store = open_store(tmp_path, settings)
    for number in range(20):
        store.write({"spans": spans([number])}, expected={P: number}, positions={P: number + 1})
    reading = connect(tmp_path, settings, read_only=True)
    counts = "SELECT (SELECT count(*) FROM spans), (SELECT count(*) FROM slices)"
    with reading.session() as session:
        session.run("BEGIN")
        assert session.rows("SELECT count(*) FROM resources") == [(0,)]
        assert store.compact(now=0)["spans"] == 20
        store.write({"spans": spans([20])}, expected={P: 20}, positions={P: 21})
        assert session.rows(counts) == [(20, 20)]
        session.run("ROLLBACK")
        assert session.rows(counts) == [(21, 21)]
    reading.close()
    store.close()


def answers(store: Store) -> list[object]:
    """What a reader sees, whatever the order."""
    found = store.ask("edge_minutes", start=0, end=1).sort("server", "counts")
    keys = store.ask("trace_keys", slices=list(range(30))).sort("slice")
    return [
        found.select("server", "buckets", "counts").rows(),
        keys.rows(),
        store.noticed(),
        store.quiet_units(),
        store.positions(),
    ]


def test_a_directory_may_be_moved(tmp_path: Path) -> None:
    settings = StoreSettings(backend=Backend.DUCKLAKE)
    before, after = tmp_path / "before", tmp_path / "after"
    with contextlib.closing(open_store(before, settings)) as store:
        store.write({"spans": spans([0])}, expected={}, positions={P: 1})
    before.rename(after)
    with contextlib.closing(open_store(after)) as store:
        store.write({"spans": spans([1])}, expected={P: 1}, positions={P: 2})
        assert store.ask("trace_keys", slices=[1, 2]).height == 2
    assert not before.exists()


def test_what_is_expired_leaves_files_and_catalog(opener: Opener, tmp_path: Path) -> None:
    store = opener()
    for number in range(12):
        store.write({"spans": spans([number])}, expected={P: number}, positions={P: number + 1})
    database = store._database
    versions = "SELECT table_name FROM __ducklake_metadata_meshweir.ducklake_inlined_data_tables"
    with database.session() as session:
        names = [name for (name,) in session.rows(versions)]
        count = "+".join(f"(SELECT count(*) FROM __ducklake_metadata_meshweir.{n})" for n in names)
        before = session.rows(f"SELECT {count}")[0][0]
    store.compact(now=int(datetime.now(UTC).timestamp() * 1e9) + 700 * 10**9)
    with database.session() as session:
        after = session.rows(f"SELECT {count}")[0][0]
        ((snapshots,),) = session.rows("SELECT count(*) FROM ducklake_snapshots('meshweir')")
        ((kept,),) = session.rows("SELECT count(*) FROM slice_offsets")
    assert before >= 24
    assert after - kept < 8
    assert snapshots < 8
    assert len(list((tmp_path / LAKE_DATA_NAME).rglob("spans/*.parquet"))) == 1
    assert store.positions() == {P: 12}
    assert store.write({"spans": spans([1])}, expected={P: 12}, positions={P: 13}) == 13


def test_what_is_young_stays_for_questions_under_way(opener: Opener, tmp_path: Path) -> None:
    store = opener()
    for number in range(10):
        store.write({"spans": spans([number])}, expected={P: number}, positions={P: number + 1})
    assert store.compact(now=time.time_ns())["spans"] == 10
    files = list((tmp_path / LAKE_DATA_NAME).rglob("spans/*.parquet"))
    assert len(files) == 11
    with store._database.session() as session:
        ((snapshots,),) = session.rows("SELECT count(*) FROM ducklake_snapshots('meshweir')")
    assert snapshots > 10


def test_files_of_broken_off_writes_are_deleted_when_they_are_old(
    opener: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.store.compaction.ORPHAN_SECONDS", 0.0)
    store = opener()
    store.write({"spans": spans([1])}, expected={}, positions={})
    (kept,) = (tmp_path / LAKE_DATA_NAME).rglob("spans/*.parquet")
    old, young = kept.with_name("old.parquet"), kept.with_name("young.parquet")
    for orphan in (old, young):
        orphan.write_bytes(kept.read_bytes())
    two_days_ago = time.time() - 2 * 86_400
    os.utime(old, (two_days_ago, two_days_ago))
    os.utime(kept, (two_days_ago, two_days_ago))
    store.compact(now=time.time_ns())
    assert [path.exists() for path in (kept, old, young)] == [True, False, True]


def test_several_open_a_new_store_at_once(opener: Opener) -> None:
    with ThreadPoolExecutor(4) as processes:
        stores = list(processes.map(lambda _: opener(), range(4)))
    numbers = [store.write({"spans": spans([1])}, expected={}, positions={}) for store in stores]
    assert numbers == [1, 2, 3, 4]


def test_a_reader_waits_for_the_store_and_never_writes(
    opener: Opener, tmp_path: Path, settings: StoreSettings
) -> None:
    with pytest.raises(StoreBusy, match=r"no store in .* yet.*start it, or wait"):
        opener(read_only=True)
    writer = opener()
    reader = opener(read_only=True)
    assert reader.positions() == {}
    writer.write({"spans": spans([1])}, expected={}, positions={P: 1})
    assert reader.positions() == {P: 1}
    assert reader.ask("state").row(0) == (1, 0)
    with pytest.raises(Exception, match="read-only"):
        reader.write({}, expected={P: 1}, positions={P: 2})
    assert writer.positions() == {P: 1}


def test_a_reader_does_not_upgrade(
    opener: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opener().close()
    newer = schema.Migration(schema.MIGRATIONS[-1].number + 1, "newer", lambda _: [])
    with monkeypatch.context() as future:
        future.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, newer))
        with pytest.raises(StoreIncompatible, match="start a process that writes"):
            opener(read_only=True)
    opener(read_only=True)


def test_a_store_half_made_is_waited_for(
    opener: Opener, tmp_path: Path, settings: StoreSettings
) -> None:
    connect(tmp_path, settings).close()
    with pytest.raises(StoreBusy, match="being made"):
        opener(read_only=True)


@pytest.mark.parametrize(
    ("holds", "prefer", "chosen"),
    [
        ((), Backend.FILE, FILE_NAME),
        ((), Backend.DUCKLAKE, LAKE_CATALOG_NAME),
        ((Backend.FILE,), Backend.DUCKLAKE, FILE_NAME),
        ((Backend.DUCKLAKE,), Backend.FILE, LAKE_CATALOG_NAME),
    ],
)
def test_a_directory_is_recognised_by_what_lies_in_it(
    tmp_path: Path, holds: tuple[Backend, ...], prefer: Backend, chosen: str
) -> None:
    pytest.importorskip("duckdb_extension_sqlite_scanner", reason="the extra ducklake is missing")
    for backend in holds:
        open_store(tmp_path, StoreSettings(backend=backend)).close()
    open_store(tmp_path, prefer=prefer).close()
    assert [name for name in (FILE_NAME, LAKE_CATALOG_NAME) if (tmp_path / name).exists()] == [
        chosen
    ]


def test_a_catalog_elsewhere_does_not_go_with_a_file(tmp_path: Path) -> None:
    settings = StoreSettings(backend=Backend.FILE, catalog="postgres:dbname=lake")
    with pytest.raises(InvalidInput, match="no store_catalog"):
        open_store(tmp_path, settings)


def test_a_stopped_holder_of_the_lock_is_waited_for_once(
    stores: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = stores
    monkeypatch.setattr("pipeline.store.courtesy.PATIENCE", 0.05)
    with one._database._courtesy.turn():
        for number in itertools.islice(itertools.count(), 3):
            two.write({"spans": spans([1])}, expected={P: number}, positions={P: number + 1})
        assert two._database._courtesy._stuck
    two.write({}, expected={P: 3}, positions={P: 4})
    assert not two._database._courtesy._stuck
