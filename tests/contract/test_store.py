"""The promises of ``Store``: by a DuckDB file, and by DuckLake with a catalog in either place."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from pipeline.errors import InvalidInput, StoreBusy
from pipeline.model.messages import Partition
from pipeline.model.tables import EDGE_MINUTES, METRIC_POINTS
from pipeline.store import Backend, Store, StoreSettings, Unit, open_store, reader
from tests.pipeline.store.lakes import LAKES, lake_settings
from tests.pipeline.store.rows import MINUTE, access_logs, edges, quarantined, resources, spans

P = Partition("otlp_spans")
NO_LINKS = pl.DataFrame({"home": [], "slice": []}, schema={"home": pl.Int64, "slice": pl.Int64})

Opener = Callable[[], Store]


@pytest.fixture(params=["file", *LAKES])
def settings(request: pytest.FixtureRequest) -> StoreSettings:
    """A DuckDB file, DuckLake with its catalog in SQLite, and in PostgreSQL."""
    if request.param == "file":
        return StoreSettings(backend=Backend.FILE, threads=1)
    return lake_settings(request)


@pytest.fixture
def reopen(tmp_path: Path, settings: StoreSettings) -> Iterator[Opener]:
    """Opens the store of this test, closing the one opened before."""
    opened: list[Store] = []

    def open_again() -> Store:
        while opened:
            opened.pop().close()
        opened.append(open_store(tmp_path, settings))
        return opened[0]

    yield open_again
    while opened:
        opened.pop().close()


@pytest.fixture
def store(reopen: Opener) -> Store:
    return reopen()


def written(store: Store, *slices: list[int]) -> None:
    """Write one slice per list of traces and notice them without links."""
    for traces in slices:
        store.write({"spans": spans(traces)}, expected={}, positions={})
    store.notice(store.unnoticed(), NO_LINKS)


def traces(store: Store, *slices: int) -> list[tuple[int, int]]:
    """What is stored: slice and trace, sorted."""
    keys = store.ask("trace_keys", slices=list(slices) or list(range(1, 100)))
    return sorted(keys.select("slice", "trace_id_low").iter_rows())


def test_rows_and_positions_are_written_together(store: Store) -> None:
    assert store.positions() == {}
    first = store.write({"spans": spans([1, 2])}, expected={}, positions={P: 10})
    second = store.write({"spans": spans([2, 3])}, expected={P: 10}, positions={P: 12})
    assert (first, second) == (1, 2)
    assert store.positions() == {P: 12}
    assert traces(store) == [(1, 1), (1, 2), (2, 2), (2, 3)]


def test_everything_is_there_after_reopening(store: Store, reopen: Opener) -> None:
    store.write({"spans": spans([1])}, expected={}, positions={P: 1, Partition("logs", 3): 7})
    store.notice([1], NO_LINKS)
    again = reopen()
    assert again.positions() == {P: 1, Partition("logs", 3): 7}
    assert traces(again) == [(1, 1)]
    assert again.dirty().rows() == [(1, 1, 1, 1)]
    assert again.write({"spans": spans([1])}, expected={P: 1}, positions={P: 2}) == 2


def test_an_overtaken_writer_writes_nothing(store: Store) -> None:
    store.write({"spans": spans([1])}, expected={P: 0}, positions={P: 5})
    with pytest.raises(StoreBusy, match="stands at offset 5 of otlp_spans/0, not at 0"):
        store.write(
            {
                "spans": spans([2]),
                "resources": resources("late-------"),
                "quarantine": quarantined(1),
            },
            expected={},
            positions={P: 3},
        )
    assert store.positions() == {P: 5}
    assert traces(store) == [(1, 1)]
    assert store.ask("resources").is_empty()
    assert store.ask("quarantine", limit=5).is_empty()
    assert store.unnoticed() == [1]


def test_a_batch_that_does_not_fit_writes_nothing(store: Store) -> None:
    with pytest.raises(InvalidInput, match="no_such_table"):
        store.write({"no_such_table": spans([1])}, expected={}, positions={P: 1})
    assert store.positions() == {}


def test_positions_move_without_rows(store: Store) -> None:
    assert store.write({}, expected={}, positions={P: 4}) is None
    assert store.write({"spans": spans([])}, expected={P: 4}, positions={P: 6}) is None
    assert store.positions() == {P: 6}
    assert store.unnoticed() == []


def test_rows_come_back_as_they_were(store: Store) -> None:
    batch = spans(
        [2**64 - 1],
        span_id=2**64 - 2,
        parent_span_id=2**63,
        duration_ns=-3,
        http_route="/a/{b}",
        is_proxy=True,
        start_time=1_790_000_000_123_456_789,
        sampling_threshold=2**55,
        attributes='{"a":"é"}',
    )
    store.write(
        {"spans": batch, "resources": resources("resource-a-", service_namespace="shop")},
        expected={},
        positions={P: 1},
    )
    asked = store.ask("trace_spans", trace_id_high=1, trace_id_low=2**64 - 1)
    row = asked.row(0, named=True)
    assert (row["span_id"], row["parent_span_id"]) == (2**64 - 2, 2**63)
    assert (row["duration_ns"], row["http_route"], row["is_proxy"]) == (-3, "/a/{b}", True)
    assert row["attributes"] == '{"a":"é"}'
    assert row["service_namespace"] == "shop"
    paired = store.ask("pair_spans", slices=[1])
    assert paired["start_time"].to_list() == [1_790_000_000_123_456_789]
    assert paired["sampling_threshold"].to_list() == [2**55]


def test_interned_rows_are_stored_once(store: Store, reopen: Opener) -> None:
    rows = {
        "spans": spans([1]),
        "resources": resources("resource-a-", "resource-b-", "resource-a-"),
    }
    store.write(rows, expected={}, positions={})
    store.write(rows, expected={}, positions={})
    again = reopen()
    again.write({"resources": resources("resource-b-", "resource-c-")}, expected={}, positions={})
    found = again.ask("resources")["resource_id"].sort().to_list()
    assert found == ["resource-a-", "resource-b-", "resource-c-"]


def test_a_noticed_slice_dirties_itself_and_the_homes_it_adds_to(store: Store) -> None:
    for _ in range(3):
        store.write({"spans": spans([1, 2])}, expected={}, positions={})
    assert store.unnoticed() == [1, 2, 3]
    store.notice([1, 2], NO_LINKS)
    assert (store.noticed(), store.unnoticed()) == ([1, 2], [3])
    store.replace([Unit(1, 1), Unit(2, 2)], {}, cause=2)
    assert store.dirty().is_empty()
    store.notice([3], pl.DataFrame({"home": [1], "slice": [3]}))
    assert store.dirty().rows() == [(1, 1, 3, 2), (3, 3, 3, 2)]


def test_links_must_point_back_from_a_noticed_slice(store: Store) -> None:
    written(store, [1], [2])
    for home, number in ((2, 2), (3, 2), (1, 5)):
        with pytest.raises(InvalidInput, match="home < slice"):
            store.notice([2], pl.DataFrame({"home": [home], "slice": [number]}))


def test_a_unit_needs_its_slices_and_all_they_are_linked_to(store: Store) -> None:
    for _ in range(6):
        store.write({"spans": spans([1])}, expected={}, positions={})
    links = pl.DataFrame({"home": [1, 2, 3, 3], "slice": [3, 5, 4, 6]})
    store.notice(store.unnoticed(), links)
    assert store.linked([Unit(3, 3)]) == [1, 3, 4, 6]
    assert store.linked([Unit(2, 2), Unit(4, 4)]) == [2, 3, 4, 5]
    assert store.linked([]) == []


def test_replaced_rows_take_the_place_of_all_before(store: Store) -> None:
    written(store, [1], [2])
    units = [Unit(1, 1), Unit(2, 2)]
    for name in ("a", "b"):
        both = edges((1, name, {3: 5}), (2, name, {4: 6}))
        store.replace(units, {"edge_minutes": both}, cause=2)
    store.replace([Unit(2, 2)], {"edge_minutes": edges((2, "c", {}))}, cause=2)
    found = store.ask("edge_minutes", start=0, end=1).sort("server")
    assert found.select("server", "buckets", "counts").rows() == [("b", [3], [5]), ("c", [], [])]


def test_replacing_clears_only_the_marks_it_has_seen(store: Store) -> None:
    written(store, [1])
    seen = store.dirty()["cause"].max()
    store.write({"spans": spans([1])}, expected={}, positions={})
    store.notice([2], pl.DataFrame({"home": [1], "slice": [2]}))
    store.replace([Unit(1, 1)], {}, cause=seen)
    assert store.dirty().select("low", "high", "cause").rows() == [(1, 1, 2), (2, 2, 2)]


def test_units_inside_a_replaced_one_become_it(store: Store) -> None:
    written(store, [1], [2], [3])
    store.replace([Unit(n, n) for n in (1, 2, 3)], {}, cause=3)
    store.replace([Unit(1, 2)], {"edge_minutes": edges((1, "a", {1: 1}))}, cause=3)
    assert store.quiet_units() == [Unit(1, 2), Unit(3, 3)]
    assert store.quiet_units(before=3) == [Unit(1, 2)]


@pytest.mark.parametrize("units", [[Unit(2, 3)], [Unit(3, 4), Unit(4, 4)], [Unit(4, 3)]])
def test_units_never_overlap(store: Store, units: list[Unit]) -> None:
    written(store, [1], [2], [3], [4])
    store.replace([Unit(1, 2), Unit(3, 3)], {}, cause=3)
    with pytest.raises(InvalidInput, match="neither overlap nor cut"):
        store.replace(units, {}, cause=4)
    assert store.quiet_units() == [Unit(1, 2), Unit(3, 3)]


def test_derived_rows_must_belong_to_a_replaced_unit(store: Store) -> None:
    written(store, [1], [2])
    with pytest.raises(InvalidInput, match=r"edge_minutes\.slice"):
        store.replace([Unit(1, 1)], {"edge_minutes": edges((2, "a", {}))}, cause=2)
    with pytest.raises(InvalidInput, match="spans"):
        store.replace([Unit(1, 1)], {"spans": spans([1])}, cause=2)


def test_a_dirty_unit_is_not_quiet_and_not_merged(store: Store) -> None:
    written(store, [1], [2], [3])
    store.replace([Unit(1, 1), Unit(2, 2)], {}, cause=3)
    assert store.quiet_units() == [Unit(1, 1), Unit(2, 2)]
    with pytest.raises(StoreBusy, match="became dirty"):
        store.merge(Unit(1, 3))
    assert store.quiet_units() == [Unit(1, 1), Unit(2, 2)]


def test_merging_sums_rows_with_the_same_key(store: Store) -> None:
    written(store, [1], [2])
    rows = edges(
        (1, "a", {1: 5, 9: 1}), (2, "a", {-3: 2, 9: 4}), (1, "b", {2: 1}), (2, "c", {}),
    )  # fmt: skip
    store.replace([Unit(1, 1), Unit(2, 2)], {"edge_minutes": rows}, cause=2)
    store.merge(Unit(1, 2))
    assert store.quiet_units() == [Unit(1, 2)]
    found = store.ask("edge_minutes", start=0, end=1).sort("server")
    assert found.select(
        "server", "rows", "requests", "duration_ns", "buckets", "counts"
    ).rows() == [
        ("a", 2, 12, 14, [-3, 1, 9], [2, 5, 5]),
        ("b", 1, 1, 7, [2], [1]),
        ("c", 1, 0, 7, [], []),
    ]
    store.replace([Unit(1, 2)], {}, cause=2)
    assert store.ask("edge_minutes", start=0, end=1).is_empty()


def test_windows_hold_their_start_and_not_their_end(store: Store) -> None:
    written(store, [1])
    derived = edges((1, "a", {}), minute=5 * MINUTE)
    store.replace([Unit(1, 1)], {"edge_minutes": derived}, cause=1)
    at = datetime(1970, 1, 1, 0, 5, tzinfo=UTC)
    assert store.ask("edge_minutes", start=at, end=6 * MINUTE).height == 1
    assert store.ask("edge_minutes", start=4 * MINUTE, end=at).is_empty()
    assert store.ask("edge_rows", client="clients", server="a", start=at, end=6 * MINUTE)[
        "slice", "high"
    ].rows() == [(1, 1)]
    first, last = store.ask("extent").row(0)
    assert first == last == at.replace(tzinfo=None)


def test_questions_that_do_not_exist_are_refused_with_those_that_do(store: Store) -> None:
    with pytest.raises(InvalidInput, match="edge_minutes"):
        store.ask("nonsense")
    with pytest.raises(InvalidInput, match="time zone"):
        store.ask("edge_minutes", start=datetime(2026, 1, 1), end=0)  # noqa: DTZ001


@pytest.mark.parametrize("limit", [0.5, 0.0])
def test_a_question_past_its_time_is_interrupted_even_before_it_began(
    tmp_path: Path, settings: StoreSettings, monkeypatch: pytest.MonkeyPatch, limit: float
) -> None:
    endless = "SELECT count(*) FROM range(1000000000) a, range(1000000000) b, spans"
    monkeypatch.setattr(reader, "questions", lambda: {"endless": endless})
    store = open_store(tmp_path, settings.model_copy(update={"time_limit_seconds": limit}))
    try:
        store.write({"spans": spans([1])}, expected={}, positions={})
        with pytest.raises(StoreBusy, match="time limit"):
            store.ask("endless")
        assert store.unnoticed() == [1]
    finally:
        store.close()


def test_requests_tell_who_reported_them(store: Store) -> None:
    store.write(
        {
            "spans": spans([1], http_request_method="GET", sampling_threshold=3 * 2**54),
            "access_logs": access_logs(["r"], upstream_cluster="inbound|80||", attempt_count=3),
            "resources": resources("resource-a-", system="istio"),
        },
        expected={},
        positions={},
    )
    rows = store.ask("request_rows", slices=[1], start=0, end=MINUTE, limit=10)
    told = rows.select("signal", "reporter", "service_name", "protocol", "resends", "weight").rows()
    assert sorted(told) == [
        ("access_logs", "server_proxy", "service resource-a-", "http", 2, 1.0),
        ("spans", "server", "service resource-a-", "http", None, 4.0),
    ]
    (trace,) = rows["trace_id"].drop_nulls()
    assert trace == "0000000000000001" + "0000000000000001"


def test_homes_are_found_in_a_range_of_slices(store: Store) -> None:
    for number in range(1, 4):
        store.write(
            {"spans": spans([7, number]), "access_logs": access_logs([f"r{number}", "same"])},
            expected={},
            positions={},
        )
    asked = {"traces": [7, 3, 2**64 - 1], "requests": []}
    found = store.ask("group_rows", low=2, high=3, **asked)
    assert sorted(found.select("trace_id_low", "slice").rows()) == [(3, 3), (7, 2)]
    asked = {"traces": [], "requests": ["same", "r3", "none"]}
    found = store.ask("group_rows", low=1, high=3, **asked)
    assert sorted(found.select("request_id", "slice").rows()) == [("r3", 3), ("same", 1)]


def test_two_threads_read_while_one_writes(store: Store) -> None:
    """Each write brings one row more than the last and says so in the positions."""
    writes, done = 15, threading.Event()

    def read() -> list[tuple[int, int]]:
        seen = []
        while not done.is_set():
            keys = store.ask("trace_keys", slices=list(range(1, writes + 1)))
            per_slice = dict(keys.group_by("slice").len().iter_rows())
            seen.append((len(per_slice), sum(per_slice.values())))
            assert all(rows == 2 * number for number, rows in per_slice.items())
            assert sorted(per_slice) == list(range(1, len(per_slice) + 1))
        return seen

    with ThreadPoolExecutor(2) as readers:
        reading = [readers.submit(read) for _ in range(2)]
        try:
            for number in range(1, writes + 1):
                batch = spans(range(number * 100, number * 100 + 2 * number))
                store.write({"spans": batch}, expected={P: number - 1}, positions={P: number})
        finally:
            done.set()
        for future in reading:
            counts = [slices for slices, _ in future.result(timeout=60)]
            assert counts == sorted(counts)


def test_two_threads_writing_never_share_a_slice(store: Store) -> None:
    def write(topic: str) -> list[int | None]:
        part = Partition(topic)
        return [
            store.write({"spans": spans([n])}, expected={part: n}, positions={part: n + 1})
            for n in range(5)
        ]

    with ThreadPoolExecutor(2) as writers:
        numbers = [n for got in writers.map(write, ("a", "b")) for n in got]
    assert sorted(numbers) == list(range(1, 11))


WRITING = """
import sys
from pathlib import Path
from pipeline.store import Backend, StoreSettings, open_store
from pipeline.model.messages import Partition
from pipeline.store import reader
from tests.pipeline.store.rows import spans
settings = StoreSettings(backend=Backend(sys.argv[2]), catalog=sys.argv[4])
store = open_store(Path(sys.argv[1]), settings)
part = Partition("otlp_spans")
offset = store.positions().get(part, 0)
while True:
    rows = int(sys.argv[3])
    batch = spans(range(offset * rows, (offset + 1) * rows))
    store.write({"spans": batch}, expected={part: offset}, positions={part: offset + 1})
    offset += 1
    print(offset, flush=True)
"""


@pytest.mark.parametrize("rows", [50, 20_000], ids=["through the log", "past the log"])
def test_what_was_written_survives_being_killed(
    reopen: Opener, tmp_path: Path, settings: StoreSettings, rows: int
) -> None:
    told = 0
    for lines in (1, 3):
        where = [str(tmp_path), settings.backend.value, str(rows), settings.catalog]
        command = [sys.executable, "-c", WRITING, *where]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as child:
            assert child.stdout is not None
            for _ in range(lines):
                told = int(child.stdout.readline())
            child.send_signal(signal.SIGKILL)
            told = int((child.stdout.read().split() or [told])[-1])
        store = reopen()
        offset = store.positions()[P]
        assert offset in (told, told + 1)
        found = store.ask("trace_keys", slices=list(range(1, offset + 2)))
        assert found["trace_id_low"].sort().to_list() == list(range(offset * rows))
        assert store.unnoticed() == list(range(1, offset + 1))
        store.close()


def metric_points(*minutes: int) -> pa.Table:
    """One point of a counter in each of some minutes."""
    rows = [
        dict.fromkeys(METRIC_POINTS.names)
        | {"name": "response_total", "time": minute * MINUTE + 7, "resource_id": "a", "value": 1.0}
        for minute in minutes
    ]
    return pa.Table.from_pylist(rows, schema=METRIC_POINTS.arrow)


def from_metrics(*rows: tuple[int, str]) -> pa.Table:
    """Rows of edges as derived from metrics: minute and server."""
    made = [
        dict.fromkeys(EDGE_MINUTES.names)
        | {"minute": minute * MINUTE, "server": server, "signal": "metrics", "rows": 1}
        for minute, server in rows
    ]
    return pa.Table.from_pylist(made, schema=EDGE_MINUTES.arrow)


def stale(*rows: tuple[int, int]) -> pl.DataFrame:
    """Minutes and what made them stale."""
    minutes = [minute * MINUTE for minute, _ in rows]
    return pl.DataFrame({"minute": minutes, "cause": [cause for _, cause in rows]})


def edges_by_minute(store: Store) -> list[tuple[int, str]]:
    found = store.ask("edge_minutes", start=0, end=100 * MINUTE)
    return sorted(found.select(pl.col("minute").dt.epoch("ns") // MINUTE, "server").iter_rows())


def test_minutes_of_metrics_are_marked_and_replaced(store: Store) -> None:
    assert store.stale_minutes().is_empty()
    for _ in range(2):
        store.write({"metric_points": metric_points(1, 2)}, expected={}, positions={})
    store.notice([1, 2], NO_LINKS, minutes=stale((1, 1), (2, 1), (2, 2)))
    assert store.stale_minutes().rows() == [(MINUTE, 1), (2 * MINUTE, 2)]
    derived = {"edge_minutes": from_metrics((1, "a"), (2, "b"))}
    minutes = [MINUTE, 2 * MINUTE]
    store.replace_minutes(minutes, derived, marked=minutes, cause=1, final=0)
    # what was noted meanwhile for a later cause stays stale
    assert store.stale_minutes().rows() == [(2 * MINUTE, 2)]
    again = {"edge_minutes": from_metrics((2, "c"))}
    store.replace_minutes([2 * MINUTE], again, marked=[2 * MINUTE], cause=2, final=0)
    assert store.stale_minutes().is_empty()
    assert edges_by_minute(store) == [(1, "a"), (2, "c")]


def test_what_units_derive_and_what_metrics_say_do_not_touch_each_other(store: Store) -> None:
    written(store, [1], [2])
    store.replace_minutes(
        [MINUTE], {"edge_minutes": from_metrics((1, "m"))}, marked=[], cause=0, final=0
    )
    units = [Unit(1, 1), Unit(2, 2)]
    rows = edges((1, "a", {1: 1}), (2, "b", {1: 1}), minute=MINUTE)
    store.replace(units, {"edge_minutes": rows}, cause=2)
    store.merge(Unit(1, 2))
    assert edges_by_minute(store) == [(1, "a"), (1, "b"), (1, "m")]
    store.replace_minutes([MINUTE], {"edge_minutes": from_metrics()}, marked=[], cause=0, final=0)
    assert edges_by_minute(store) == [(1, "a"), (1, "b")]


def test_minutes_are_not_replaced_once_retention_took_points(store: Store) -> None:
    now = round(datetime.now(UTC).timestamp()) * 10**9
    minute = now // MINUTE
    store.write({"metric_points": metric_points(minute)}, expected={}, positions={})
    store.notice([1], NO_LINKS, minutes=stale((minute, 1)))
    store.replace([Unit(1, 1)], {}, cause=1)
    assert store.retire(now=now + 8 * 86_400 * 10**9)["metric_points"] == 1
    assert store.ask("final_minutes").rows() == [(minute * MINUTE,)]
    derived = {"edge_minutes": from_metrics((minute, "a"))}
    with pytest.raises(StoreBusy, match="retention took metric points"):
        store.replace_minutes([minute * MINUTE], derived, marked=[], cause=1, final=0)
    assert store.ask("edge_minutes", start=0, end=2 * now).is_empty()


def test_rows_of_slices_or_of_other_minutes_are_no_rows_of_metrics(store: Store) -> None:
    for rows in (edges((1, "a", {}), minute=MINUTE), from_metrics((2, "a"))):
        with pytest.raises(InvalidInput, match="rows without a slice"):
            store.replace_minutes([MINUTE], {"edge_minutes": rows}, marked=[], cause=0, final=0)
