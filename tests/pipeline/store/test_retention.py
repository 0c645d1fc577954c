"""What is past its age leaves, and what stays can still be recomputed."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from pipeline.errors import StoreBusy
from pipeline.store import StoreSettings, Unit, retention
from pipeline.store.duck import DuckStore
from tests.pipeline.store.rows import MINUTE, access_logs, edges, quarantined, spans

SECOND = 1_000_000_000
DAY = 24 * 3600 * SECOND
SETTINGS = StoreSettings(
    threads=1,
    raw_age_seconds=7 * 24 * 3600.0,
    derived_age_seconds=30 * 24 * 3600.0,
    quarantine_age_seconds=1.0,
    quarantine_rows=2,
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DuckStore]:
    """Three slices, a day apart; trace 9 and request r9 have rows in all, so their home is 1."""
    days = iter(range(100))
    store = DuckStore(tmp_path, SETTINGS, clock=lambda: next(days) * DAY)
    for day in range(3):
        rows = {"spans": spans([day, 9]), "access_logs": access_logs([f"r{day}", "r9"])}
        store.write(rows, expected={}, positions={})
    store.notice([1, 2, 3], pl.DataFrame({"home": [1, 1], "slice": [2, 3]}))
    derived = edges(*((number, "a", {1: 1}) for number in (1, 2, 3)))
    store.replace([Unit(n, n) for n in (1, 2, 3)], {"edge_minutes": derived}, cause=3)
    yield store
    store.close()


def kept(store: DuckStore) -> set[tuple[int, object]]:
    slices = list(range(1, 10))
    keys = store.ask("trace_keys", slices=slices).select("slice", "trace_id_low").rows()
    return {*keys, *store.ask("request_keys", slices=slices).select("slice", "request_id").rows()}


def test_nothing_leaves_before_its_age(store: DuckStore) -> None:
    assert store.retire(now=7 * DAY) == {}
    assert store.noticed() == [1, 2, 3]


def test_traces_leave_whole_with_their_home(store: DuckStore) -> None:
    assert store.retire(now=7 * DAY + 1) == {"spans": 4, "access_logs": 4}
    assert kept(store) == {(2, 1), (3, 2), (2, "r1"), (3, "r2")}
    assert store.noticed() == [2, 3]
    assert store.linked([Unit(2, 2)]) == [2]
    assert store.quiet_units() == [Unit(2, 2), Unit(3, 3)]


def test_derived_rows_outlive_the_raw_ones(store: DuckStore) -> None:
    store.retire(now=20 * DAY)
    assert kept(store) == set()
    assert store.ask("edge_minutes", start=0, end=MINUTE).height == 3
    assert store.retire(now=31 * DAY)["edge_minutes"] == 3


def test_minutes_of_old_traffic_stay_while_their_raw_rows_do(store: DuckStore) -> None:
    years = 10_000 * DAY  # the minutes of the fixture are of 1970
    with_raw = store.ask("edge_minutes", start=0, end=MINUTE).height
    fresh = SETTINGS.model_copy(update={"raw_age_seconds": 1e12})
    assert retention.retire(store._database, fresh, now=years) == {}
    assert store.ask("edge_minutes", start=0, end=MINUTE).height == with_raw


def test_a_dirty_unit_stays_with_all_that_came_after(store: DuckStore) -> None:
    store.write({"spans": spans([1])}, expected={}, positions={})
    store.notice([4], pl.DataFrame({"home": [2], "slice": [4]}))
    store.retire(now=20 * DAY)
    assert store.noticed() == [2, 3, 4]
    assert store.dirty()["low"].to_list() == [2, 4]


def test_a_slice_that_was_not_noticed_stays(store: DuckStore) -> None:
    store.write({"spans": spans([5])}, expected={}, positions={})
    store.retire(now=20 * DAY)
    assert kept(store) == {(4, 5)}
    assert store.unnoticed() == [4]


def test_a_late_row_does_not_touch_numbers_that_are_final(store: DuckStore) -> None:
    store.retire(now=7 * DAY + 1)
    number = store.write({"spans": spans([9])}, expected={}, positions={})
    assert number == 4
    store.notice([4], pl.DataFrame({"home": [1], "slice": [4]}))
    assert store.dirty()["low"].to_list() == [4]
    assert store.linked([Unit(4, 4)]) == [4]


def test_units_are_not_joined_with_what_has_left(store: DuckStore) -> None:
    store.retire(now=7 * DAY + 1)
    with pytest.raises(StoreBusy, match="passed their age"):
        store.merge(Unit(1, 3))
    with pytest.raises(StoreBusy, match="passed their age"):
        store.replace([Unit(1, 1)], {}, cause=3)
    assert store.ask("edge_minutes", start=0, end=MINUTE).height == 3


def test_slice_numbers_are_never_given_twice(store: DuckStore) -> None:
    store.retire(now=20 * DAY)
    assert store.write({"spans": spans([1])}, expected={}, positions={}) == 4


def test_quarantine_is_bounded_by_age_and_by_number(store: DuckStore) -> None:
    for at in (1, 5, 6, 7, 8):
        rows = quarantined(at, received_at=at * SECOND)
        store.write({"quarantine": rows}, expected={}, positions={})
    assert store.retire(now=6 * SECOND) == {"quarantine": 3}
    assert store.ask("quarantine", limit=9)["position"].to_list() == [8, 7]
