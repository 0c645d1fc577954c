"""What counters rose by: resets, births, gaps and markers, in whatever order readings come."""

import polars as pl
import pytest
from hypothesis import given, settings, strategies as st
from polars.testing import assert_frame_equal

from pipeline.analyze.counters import (
    LARGEST,
    MAX_GAP_NS,
    MILLION,
    MINUTE_NS,
    increases,
    needed,
    touched,
)
from tests.pipeline.analyze.points import SECOND, histogram, point, series

A, B = {"direction": "a"}, {"direction": "b"}
NAME = "response_total"


def numbered(rows):
    """Series with numbers that depend on nothing but what they are."""
    made = series(rows).sort("resource_id", "name", "labels", "explicit_bounds", nulls_last=True)
    return made.with_row_index("series")


def rose(*rows):
    """How much all series rose in each minute; whole requests by the minute's number."""
    totals = increases(numbered(rows)).totals
    by_minute = totals.group_by("minute").agg(pl.col("count").sum()).sort("minute")
    return {minute // MINUTE_NS: count / MILLION for minute, count in by_minute.iter_rows()}


def test_a_counter_rose_by_the_difference_of_two_readings():
    assert rose(point(NAME, 10, 5, A), point(NAME, 25, 12, A), point(NAME, 40, 12, A)) == {0: 7}


def test_an_increase_belongs_to_the_middle_between_its_readings():
    readings = [point(NAME, at, value, A) for at, value in ((10, 1), (70, 2), (130, 4), (190, 8))]
    assert rose(*readings) == {0: 1, 1: 2, 2: 4}


def test_a_counter_that_fell_began_anew():
    assert rose(point(NAME, 10, 100, A), point(NAME, 20, 3, A), point(NAME, 30, 5, A)) == {0: 5}


def test_a_start_after_the_last_reading_is_a_reset_though_nothing_fell():
    again = point(NAME, 940, 150, A, start_time=935 * SECOND)
    assert rose(point(NAME, 910, 100, A, start_time=0), again) == {15: 150}


def test_a_first_reading_counts_nothing_unless_its_start_is_near():
    assert rose(point(NAME, 3000, 100, A)) == {}
    assert rose(point(NAME, 3000, 100, A, start_time=0)) == {}
    assert rose(point(NAME, 3000, 100, A, start_time=2940 * SECOND)) == {49: 100}


def test_a_series_that_appears_in_a_later_reading_began_at_zero():
    assert rose(point(NAME, 10, 5, A), point(NAME, 25, 5, A), point(NAME, 25, 3, B)) == {0: 3}


def test_a_target_that_was_up_and_had_nothing_to_count_was_read():
    up = point("up", 10, 1, {}, type="gauge")
    assert rose(up, point(NAME, 25, 3, A)) == {0: 3}
    down = point("up", 10, 0, {}, type="gauge")
    assert rose(down, point(NAME, 25, 3, A)) == {}


def test_another_sender_says_nothing_of_a_series():
    assert rose(point(NAME, 10, 5, A, resource_id="other"), point(NAME, 25, 3, A)) == {}


def test_a_series_that_missed_a_reading_goes_on():
    read = point("up", 25, 1, {}, type="gauge")
    assert rose(point(NAME, 10, 100, A), read, point(NAME, 40, 103, A)) == {0: 3}


def test_a_series_that_went_stale_while_others_were_read_began_anew():
    stays = [point(NAME, at, 1, B) for at in (10, 25, 40)]
    gone = point(NAME, 25, None, A)
    assert rose(*stays, point(NAME, 10, 100, A), gone, point(NAME, 40, 103, A)) == {0: 103}


def test_markers_of_a_target_that_was_not_reached_change_nothing():
    down = point("up", 25, 0, {}, type="gauge")
    gone = point(NAME, 25, None, A)
    assert rose(point(NAME, 10, 100, A), down, gone, point(NAME, 40, 103, A)) == {0: 3}


def test_a_gap_is_not_bridged():
    late = 10 + MAX_GAP_NS / SECOND
    assert rose(point(NAME, 10, 100, A), point(NAME, late, 103, A)) == {2: 3}
    assert rose(point(NAME, 10, 100, A), point(NAME, late + 1, 103, A)) == {}


def test_an_idle_series_that_came_back_after_a_gap_counts_what_it_shows():
    others = [point(NAME, at, 7, B) for at in range(0, 700, 30)]
    back = point(NAME, 690, 4, A)
    assert rose(*others, point(NAME, 0, 100, A), back) == {11: 4}


def test_delta_points_are_increases_and_count_once():
    first = point(NAME, 60, 4, A, temporality=1, start_time=0)
    second = point(NAME, 120, 5, A, temporality=1, start_time=60 * SECOND)
    assert rose(first, second, second) == {0: 4, 1: 5}


def test_of_two_points_of_one_time_the_larger_counts():
    assert rose(point(NAME, 10, 1, A), point(NAME, 20, 2, A), point(NAME, 20, 4, A)) == {0: 3}


def test_what_claims_more_than_can_be_is_cut():
    assert rose(point(NAME, 10, 0, A), point(NAME, 20, 1e300, A)) == {0: LARGEST}
    assert rose(point(NAME, 10, 0, A), point(NAME, 20, float("nan"), A)) == {}


def test_buckets_rise_with_their_bounds():
    bounds = [10.0, 20.0]
    found = increases(
        numbered(
            [histogram("x", 10, bounds, [1, 1, 1], A), histogram("x", 20, bounds, [3, 1, 6], A)]
        )
    ).buckets
    assert found.select("lower", "upper", "count").rows() == [
        (None, 10.0, 2 * MILLION),
        (20.0, None, 5 * MILLION),
    ]


def test_a_histogram_with_one_bucket_that_fell_began_anew():
    bounds = [10.0]
    rows = [histogram("x", 10, bounds, [5, 1], A), histogram("x", 20, bounds, [1, 9], A)]
    assert increases(numbered(rows)).totals["count"].to_list() == [10 * MILLION]
    assert sorted(increases(numbered(rows)).buckets["count"]) == [MILLION, 9 * MILLION]


def test_buckets_of_other_bounds_are_another_series():
    rows = [histogram("x", 10, [10.0], [5, 1], A), histogram("x", 20, [20.0], [6, 2], A)]
    assert increases(numbered(rows)).totals["count"].to_list() == [8 * MILLION]


@st.composite
def readings(draw):
    """Readings of two senders over some minutes: requests happen, processes restart, reads fail."""
    rows = []
    for sender in "xy"[: draw(st.integers(1, 2))]:
        counts = {"a": draw(st.integers(0, 50)), "b": 0}
        at = draw(st.integers(0, 60))
        for _ in range(draw(st.integers(1, 12))):
            at += draw(st.sampled_from([1, 15, 15, 15, 60, 100, 299, 301, 900]))
            if draw(st.integers(0, 5)) == 0:
                counts = dict.fromkeys(counts, 0)
            for name in counts:
                counts[name] += draw(st.integers(0, 9))
                if counts[name] and draw(st.integers(0, 9)):
                    rows.append(
                        point(NAME, at, counts[name], {"direction": name}, resource_id=sender)
                    )
                elif draw(st.booleans()):
                    rows.append(point(NAME, at, None, {"direction": name}, resource_id=sender))
    return rows


@given(readings(), st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_order_and_repetition_change_nothing(rows, random):
    shuffled = random.sample(rows, len(rows)) + random.sample(rows, len(rows) // 2)
    for one, other in zip(increases(numbered(rows)), increases(numbered(shuffled)), strict=True):
        assert_frame_equal(one, other, check_row_order=False)


@given(readings(), st.integers(0, 40), st.integers(0, 10))
@settings(max_examples=150, deadline=None)
def test_minutes_need_no_other_points_than_those_named(rows, first, minutes):
    begin, last = first * MINUTE_NS, (first + minutes) * MINUTE_NS
    start, end = needed(begin, last)
    near = [row for row in rows if start <= row["time"] < end]
    wanted = pl.col("minute").is_between(begin, last)
    everything = rose_by_series(rows).filter(wanted)
    assert_frame_equal(rose_by_series(near).filter(wanted), everything, check_row_order=False)


@given(readings(), st.data())
@settings(max_examples=150, deadline=None)
def test_a_point_touches_no_other_minutes_than_those_named(rows, data):
    if not rows:
        return
    gone = data.draw(st.sampled_from(rows))
    minute = pl.Series("minute", [gone["time"] // MINUTE_NS * MINUTE_NS])
    elsewhere = ~pl.col("minute").is_in(touched(minute).implode())
    without = [row for row in rows if row is not gone]
    assert_frame_equal(
        rose_by_series(rows).filter(elsewhere),
        rose_by_series(without).filter(elsewhere),
        check_row_order=False,
    )


def rose_by_series(rows):
    """Increases by sender, labels and minute."""
    if not rows:
        return pl.DataFrame(
            schema={"resource_id": pl.String, "labels": pl.List(pl.String), "minute": pl.Int64,
                    "count": pl.Int64}
        )  # fmt: skip
    made = numbered(rows)
    return (
        increases(made)
        .totals.join(made.select("series", "resource_id", "labels"), on="series")
        .group_by("resource_id", "labels", "minute")
        .agg(pl.col("count").sum())
    )


@pytest.mark.parametrize("seed", range(20))
def test_all_requests_of_a_process_are_counted_once(seed):
    random = __import__("random").Random(seed)
    rows, shown, true = [], 0, 0
    rows.append(point("up", 0, 1, {}, type="gauge"))
    for reading in range(1, 60):
        if random.random() < 0.1:
            shown = 0
        happened = random.randint(0, 30)
        # a process that restarts and soon shows more than before hides its restart from everybody
        if rows[-1]["value"] is not None and shown == 0 and happened >= rows[-1]["value"]:
            happened = 0
        shown, true = shown + happened, true + happened
        rows.append(point(NAME, reading * 15, shown, A))
    assert sum(rose(*random.sample(rows, len(rows))).values()) == true
