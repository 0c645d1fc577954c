"""Times as people write them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, strategies as st

from api.times import EPOCH, LATEST, format_time, from_nanoseconds, parse_time, parse_window
from pipeline.errors import InvalidInput

NOW = datetime(2026, 11, 23, 11, 0, 2, 500_000, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-23T10:00:00Z", datetime(2026, 11, 23, 10, tzinfo=UTC)),
        ("2026-11-23t10:00:00z", datetime(2026, 11, 23, 10, tzinfo=UTC)),
        ("2026-11-23T12:00:00+02:00", datetime(2026, 11, 23, 10, tzinfo=UTC)),
        ("2026-11-23T12:00:00 02:00", datetime(2026, 11, 23, 10, tzinfo=UTC)),
        ("2026-11-23T10:00:00.123456789Z", datetime(2026, 11, 23, 10, 0, 0, 123_456, tzinfo=UTC)),
        ("now", NOW),
        ("-30s", NOW - timedelta(seconds=30)),
        ("-15m", NOW - timedelta(minutes=15)),
        ("-1h", NOW - timedelta(hours=1)),
        ("-7d", NOW - timedelta(days=7)),
        ("0", EPOCH),
        ("1795428000", datetime(2026, 11, 23, 10, tzinfo=UTC)),
        ("1795428000.5", datetime(2026, 11, 23, 10, 0, 0, 500_000, tzinfo=UTC)),
    ],
)
def test_a_time_may_be_absolute_relative_or_unix(text, expected):
    assert parse_time(text, now=NOW, field="start") == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "yesterday", "2026-11-23", "2026-11-23T10:00:00", "2026-13-01T00:00:00Z",
        "-5", "-1y", "1h", "--1h", "1795428000000", "999999999999", "-999999999999w", "-100000d",
        "nan", "inf", "٣", "-٣h", "2026-11-23T25:00:00Z", "2300-01-01T00:00:00Z",
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_what_is_allowed(text):
    with pytest.raises(InvalidInput, match="RFC 3339") as refusal:
        parse_time(text, now=NOW, field="start")
    assert refusal.value.field == "start"
    assert refusal.value.found == text


@given(st.text())
def test_any_text_is_a_time_in_range_or_refused(text):
    try:
        time = parse_time(text, now=NOW, field="end")
    except InvalidInput:
        return
    assert EPOCH <= time <= LATEST


@given(st.datetimes(datetime(1970, 1, 2), datetime(2261, 1, 1)), st.integers(-720, 720))  # noqa: DTZ001
def test_what_is_written_is_read_back(moment, offset):
    moment = moment.replace(tzinfo=timezone(timedelta(minutes=offset)))
    assert parse_time(format_time(moment), now=NOW, field="start") == moment
    assert parse_time(moment.isoformat(), now=NOW, field="start") == moment


def test_a_window_is_widened_to_whole_minutes():
    window = parse_window("2026-11-23T10:00:59Z", "2026-11-23T10:02:01Z", now=NOW, default=HOUR)
    assert [format_time(time) for time in window] == [
        "2026-11-23T10:00:00Z",
        "2026-11-23T10:03:00Z",
    ]
    assert window.seconds == 180


def test_whole_minutes_stay_as_they_are():
    window = parse_window("2026-11-23T10:00:00Z", "2026-11-23T10:02:00Z", now=NOW, default=HOUR)
    assert window.seconds == 120


def test_without_times_it_is_the_default_up_to_now():
    window = parse_window(None, None, now=NOW, default=HOUR)
    assert [format_time(time) for time in window] == [
        "2026-11-23T10:00:00Z",
        "2026-11-23T11:01:00Z",
    ]


@pytest.mark.parametrize(("start", "end"), [("now", "-1h"), ("-1h", "-1h"), ("now", None)])
def test_start_must_be_before_end(start, end):
    with pytest.raises(InvalidInput, match="before end") as refusal:
        parse_window(start, end, now=NOW, default=HOUR)
    assert refusal.value.field == "start"


def test_times_are_written_in_utc_with_a_fraction_only_where_there_is_one():
    assert format_time(datetime(2026, 1, 1, 2, tzinfo=timezone(HOUR))) == "2026-01-01T01:00:00Z"
    assert format_time(from_nanoseconds(1_500_000_999)) == "1970-01-01T00:00:01.500000Z"
