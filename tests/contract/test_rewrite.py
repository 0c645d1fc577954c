"""The promises of ``Store.rewrite`` and ``Store.runs``, held by a DuckDB file and by DuckLake."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from pipeline.errors import InvalidInput, StoreBusy
from pipeline.model.messages import OffsetRange, Partition
from pipeline.model.runs import FINAL, NEVER, Run
from pipeline.store import Backend, Rewritten, Store, StoreSettings, Unit
from pipeline.store.duck import DuckStore
from tests.contract.stores import must_be_installed
from tests.pipeline.store.rows import access_logs, quarantined, resources, spans

P = Partition("t")
SECOND = 1_000_000_000
DAY = 24 * 3600 * SECOND
NO_LINKS = pl.DataFrame({"home": [], "slice": []}, schema={"home": pl.Int64, "slice": pl.Int64})


@pytest.fixture(params=[Backend.FILE, Backend.DUCKLAKE])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DuckStore]:
    must_be_installed(request.param)
    days = iter(range(1, 1000))
    settings = StoreSettings(backend=request.param, threads=1)
    opened = DuckStore(tmp_path, settings, clock=lambda: next(days) * DAY)
    yield opened
    opened.close()


@pytest.fixture
def three(store: Store) -> Store:
    """Three analysed slices of ten messages each; trace 9 has rows in all, so its home is 1."""
    for at in (0, 10, 20):
        batch = {"spans": spans([at, 9])}
        store.write(batch, expected={P: at}, positions={P: at + 10})
    store.notice([1, 2, 3], pl.DataFrame({"home": [1, 1], "slice": [2, 3]}))
    store.replace([Unit(n, n) for n in (1, 2, 3)], {}, cause=3)
    assert store.dirty().is_empty()
    return store


def rows(store: Store) -> list[tuple[int, int]]:
    keys = store.ask("trace_keys", slices=list(range(1, 100)))
    return sorted(keys.select("slice", "trace_id_low").iter_rows())


def set_aside(store: Store) -> list[tuple[int, str]]:
    return sorted(store.ask("quarantine", limit=99).select("position", "reason").iter_rows())


def whole(*positions: int, reason: str = "torn", received_at: int = 0) -> pa.Table:
    """Messages set aside as a whole, with what was received."""
    table = quarantined(*positions, received_at=received_at)
    for name, value in (("payload", "AAAA"), ("reason", reason)):
        column = pa.array([value] * len(positions), pa.string())
        table = table.set_column(table.schema.get_field_index(name), name, column)
    return table


def test_what_a_slice_was_made_from_is_recorded_with_it(store: Store) -> None:
    other = Partition("u", 2)
    store.write({"spans": spans([1])}, expected={P: 0}, positions={P: 5, other: 3})
    told = {P: OffsetRange(7, 9)}
    store.write({"spans": spans([1])}, expected={P: 5}, positions={P: 9}, consumed=told)
    assert store.runs([Run(P, 0, 100)]) == [Run(P, 0, 5, 1), Run(P, 7, 9, 2), Run(other, 0, 3, 1)]
    assert store.runs([Run(P, 5, 7), Run(other, 3, 9)]) == []
    assert store.runs([]) == []


def test_runs_that_gave_no_row_are_joined(store: Store) -> None:
    for at in (0, 1, 2):
        batch = {"quarantine": quarantined(at)}
        store.write(batch, expected={P: at}, positions={P: at + 1})
    store.write({"spans": spans([1])}, expected={P: 3}, positions={P: 4})
    store.write({}, expected={P: 4}, positions={P: 6})
    assert store.runs([Run(P, 0, 9)]) == [Run(P, 0, 3, None), Run(P, 3, 4, 1), Run(P, 4, 6, None)]


def test_a_slice_keeps_its_number_and_gets_other_rows(three: Store) -> None:
    batches = {"spans": spans([10, 9], name="new"), "resources": resources("new--------")}
    told = three.rewrite([Run(P, 10, 20, 2)], batches)
    assert told == Rewritten(2, 2, 2, 0, 0)
    assert rows(three) == [(1, 0), (1, 9), (2, 9), (2, 10), (3, 9), (3, 20)]
    assert three.positions() == {P: 30}
    assert three.runs([Run(P, 0, 30)]) == [Run(P, n * 10, n * 10 + 10, n + 1) for n in range(3)]
    assert three.ask("resources")["resource_id"].to_list() == ["new--------"]


def test_other_rows_of_the_same_traces_dirty_the_slice_and_the_homes_it_adds_to(
    three: Store,
) -> None:
    three.rewrite([Run(P, 10, 20, 2)], {"spans": spans([9, 10, 10])})
    assert three.unnoticed() == []
    assert three.homes_moved() == 0
    assert three.dirty().select("low", "rows").rows() == [(1, 2), (2, 3)]


def test_marks_of_a_rewrite_outlive_a_recomputation_that_is_under_way(three: Store) -> None:
    three.rewrite([Run(P, 10, 20, 2)], {"spans": spans([9, 10])})
    three.replace([Unit(1, 1), Unit(2, 2)], {}, cause=3)
    marked = three.dirty()
    assert marked["low"].to_list() == [1, 2]
    three.replace([Unit(1, 1), Unit(2, 2)], {}, cause=max(marked["cause"]))
    assert three.dirty().is_empty()


def test_from_a_slice_with_other_traces_on_everything_is_looked_at_again(three: Store) -> None:
    three.rewrite([Run(P, 10, 20, 2)], {"spans": spans([10])})
    assert (three.noticed(), three.unnoticed()) == ([1], [2, 3])
    assert three.homes_moved() == 1
    # the trace that left slice 2 was at home in slice 1
    assert three.dirty()["low"].to_list() == [1]
    assert three.linked([Unit(1, 1)]) == [1]


def test_requests_move_homes_as_traces_do(store: Store) -> None:
    store.write({"access_logs": access_logs(["a"])}, expected={}, positions={P: 1})
    store.notice([1], NO_LINKS)
    store.rewrite([Run(P, 0, 1, 1)], {"access_logs": access_logs(["a", "a"])})
    assert store.unnoticed() == []
    store.rewrite([Run(P, 0, 1, 1)], {"access_logs": access_logs(["b"])})
    assert store.unnoticed() == [1]


def test_who_looked_before_homes_moved_notices_nothing(three: Store) -> None:
    before = three.homes_moved()
    three.rewrite([Run(P, 10, 20, 2)], {"spans": spans([10])})
    with pytest.raises(StoreBusy, match="look at them again"):
        three.notice([2, 3], NO_LINKS, homes_moved=before)
    assert three.unnoticed() == [2, 3]
    three.notice([2, 3], NO_LINKS, homes_moved=three.homes_moved())
    assert three.unnoticed() == []


def test_a_slice_may_lose_all_its_rows_and_get_some_again(three: Store) -> None:
    run = Run(P, 10, 20, 2)
    assert three.rewrite([run], {"quarantine": whole(12)}) == Rewritten(2, 2, 0, 0, 1)
    assert rows(three) == [(1, 0), (1, 9), (3, 9), (3, 20)]
    assert three.rewrite([run], {"spans": spans([9])}) == Rewritten(2, 0, 1, 1, 0)
    assert (set_aside(three), three.unnoticed()) == ([], [2, 3])


def test_what_is_set_aside_of_the_messages_is_replaced_and_keeps_its_time(store: Store) -> None:
    batches = {"spans": spans([1]), "quarantine": whole(3, 7, received_at=5 * SECOND)}
    store.write(batches, expected={}, positions={P: 10})
    store.write({"quarantine": whole(12)}, expected={P: 10}, positions={P: 14})
    again = whole(7, 8, reason="worse", received_at=9 * SECOND)
    told = store.rewrite([Run(P, 0, 10, 1)], {"spans": spans([1]), "quarantine": again})
    assert (told.quarantined_before, told.quarantined) == (2, 2)
    assert set_aside(store) == [(7, "worse"), (8, "worse"), (12, "torn")]
    times = dict(store.ask("quarantine", limit=9).select("position", "received_at").iter_rows())
    assert (times[7], times[8]) == (datetime(1970, 1, 1, 0, 0, 5), datetime(1970, 1, 1, 0, 0, 9))  # noqa: DTZ001


def test_messages_that_gave_no_row_become_a_new_slice(three: Store) -> None:
    three.write({"quarantine": whole(31, 33)}, expected={P: 30}, positions={P: 40})
    told = three.rewrite([Run(P, 32, 35)], {"spans": spans([50])})
    assert told == Rewritten(4, 0, 1, 1, 0)
    assert set_aside(three) == [(31, "torn")]
    assert three.runs([Run(P, 30, 40)]) == [
        Run(P, 30, 32, None), Run(P, 32, 35, told.slice), Run(P, 35, 40, None),
    ]  # fmt: skip
    assert three.positions() == {P: 40}
    assert three.unnoticed() == [told.slice]


def test_messages_that_give_no_row_again_stay_as_they_were(three: Store) -> None:
    three.write({"quarantine": whole(31)}, expected={P: 30}, positions={P: 40})
    told = three.rewrite([Run(P, 31, 32)], {"quarantine": whole(31, reason="worse")})
    assert told == Rewritten(None, 0, 0, 1, 1)
    assert set_aside(three) == [(31, "worse")]
    assert three.runs([Run(P, 30, 40)]) == [Run(P, 30, 40, None)]


def test_messages_that_never_were_in_the_store_are_filled_in(store: Store) -> None:
    late = {P: OffsetRange(50, 60)}
    store.write({"spans": spans([1])}, expected={}, positions={P: 60}, consumed=late)
    assert store.rewrite([Run(P, 0, 30, NEVER)], {"spans": spans([2])}).slice == 2
    assert store.rewrite([Run(P, 30, 40, NEVER)], {}).slice is None
    assert store.runs([Run(P, 0, 60)]) == [
        Run(P, 0, 30, 2), Run(P, 30, 40, None), Run(P, 50, 60, 1),
    ]  # fmt: skip


def test_no_message_is_stored_twice(three: Store) -> None:
    before = rows(three)
    with pytest.raises(StoreBusy, match="stored meanwhile"):
        three.rewrite([Run(P, 12, 13)], {"spans": spans([7])})
    with pytest.raises(StoreBusy, match="not ingested up to offset 31"):
        three.rewrite([Run(P, 30, 31, NEVER)], {"spans": spans([7])})
    with pytest.raises(StoreBusy, match="look again"):
        three.rewrite([Run(P, 10, 19, 2)], {"spans": spans([7])})
    assert rows(three) == before


def test_a_message_set_aside_whole_may_leave_its_slice(store: Store) -> None:
    batches = {"spans": spans([1]), "quarantine": whole(3)}
    store.write(batches, expected={}, positions={P: 10})
    assert store.rewrite([Run(P, 3, 4)], {"spans": spans([2])}).rows == 1
    runs = store.runs([Run(P, 0, 10)])
    assert [run[1:3] for run in runs] == [(0, 3), (3, 4), (4, 10)]
    first = [run for run in runs if run.slice == 1]
    store.rewrite(first, {"spans": spans([5])})
    assert {trace for _, trace in rows(store)} == {2, 5}


def test_runs_of_two_slices_are_refused(three: Store) -> None:
    for runs in ([], [Run(P, 0, 10, 1), Run(P, 10, 20, 2)], [Run(P, 0, 10, FINAL)]):
        with pytest.raises(InvalidInput, match="one slice"):
            three.rewrite(runs, {})
    with pytest.raises(InvalidInput, match="no_such_table"):
        three.rewrite([Run(P, 0, 10, 1)], {"no_such_table": spans([1])})


def retired(store: Store, *, day: int) -> None:
    age = StoreSettings().raw_age_seconds * SECOND
    store.retire(now=int(age) + day * DAY + 1)


def test_what_retention_took_is_final_and_so_is_what_lost_rows_to_it(three: Store) -> None:
    retired(three, day=1)
    assert rows(three) == [(2, 10), (3, 20)]
    # slices 2 and 3 lost the rows of trace 9 with its home
    assert three.runs([Run(P, 0, 30)]) == [Run(P, 0, 30, FINAL)]
    with pytest.raises(InvalidInput, match="a slice whose raw rows are kept"):
        three.rewrite([Run(P, 0, 10, 1)], {"spans": spans([9])})


def test_slices_that_lost_nothing_can_be_rewritten_after_others_left(store: Store) -> None:
    for at in (0, 10, 20):
        store.write({"spans": spans([at])}, expected={P: at}, positions={P: at + 10})
    store.notice([1, 2, 3], NO_LINKS)
    store.replace([Unit(n, n) for n in (1, 2, 3)], {}, cause=3)
    retired(store, day=1)
    retired(store, day=2)
    assert store.runs([Run(P, 0, 30)]) == [Run(P, 0, 20, FINAL), Run(P, 20, 30, 3)]
    store.rewrite([Run(P, 20, 30, 3)], {"spans": spans([20, 21])})
    assert rows(store) == [(3, 20), (3, 21)]


def test_runs_without_rows_are_forgotten_with_what_stood_beside_them(store: Store) -> None:
    aside = whole(12, received_at=3 * DAY)
    for at, batch in ((0, {}), (5, {"spans": spans([1])}), (10, {"quarantine": aside})):
        store.write(batch, expected={P: at}, positions={P: at + 5})
    store.write({"spans": spans([2])}, expected={P: 15}, positions={P: 20})
    store.notice([1, 2], NO_LINKS)
    store.replace([Unit(1, 1), Unit(2, 2)], {}, cause=2)
    retired(store, day=2)
    assert store.runs([Run(P, 0, 9)]) == [Run(P, 5, 10, FINAL)]
    retired(store, day=4)
    assert store.runs([Run(P, 0, 20)]) == [Run(P, 5, 20, FINAL), Run(P, 10, 15, None)]
    retired(store, day=40)
    assert store.runs([Run(P, 0, 20)]) == [Run(P, 5, 20, FINAL)]


@pytest.mark.parametrize("interrupted", [0, 1, 5])
def test_a_rewrite_that_fails_leaves_everything_as_it_was(
    three: DuckStore, interrupted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.store.connection import Session  # noqa: PLC0415

    before = rows(three), three.runs([Run(P, 0, 30)]), three.dirty().rows(), three.unnoticed()
    run, left = Session.run, [interrupted]

    def failing(session: Session, sql: str, parameters: object = None) -> None:
        if sql.startswith("DELETE"):
            if not left[0]:
                raise RuntimeError("struck")
            left[0] -= 1
        run(session, sql, parameters)  # type: ignore[arg-type]

    with monkeypatch.context() as struck:
        struck.setattr(Session, "run", failing)
        with pytest.raises(RuntimeError, match="struck"):
            three.rewrite([Run(P, 10, 20, 2)], {"spans": spans([7]), "quarantine": whole(12)})
    after = rows(three), three.runs([Run(P, 0, 30)]), three.dirty().rows(), three.unnoticed()
    assert after == before
    assert set_aside(three) == []
