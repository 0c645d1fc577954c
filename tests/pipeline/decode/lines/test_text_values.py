"""Times, durations and numbers in lines of text."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given, strategies as st

from pipeline.decode.kernels.kernel import buffer_of
from pipeline.decode.kernels.text import slices_of
from pipeline.decode.lines.text_values import (
    Values,
    common_log_time,
    durations,
    rfc3339,
    whole_numbers,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TIMES = st.datetimes(
    datetime(1700, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    datetime(2250, 1, 1),  # noqa: DTZ001
    timezones=st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


def read(function: Callable[..., Values], texts: Sequence[str]) -> list[int | None]:
    words = [text.encode() for text in texts]
    found = function(buffer_of(words), slices_of(words))
    pairs = zip(found.values.tolist(), found.good.tolist(), strict=True)
    return [value if good else None for value, good in pairs]


def nanoseconds(time: datetime) -> int:
    return (time - EPOCH) // timedelta(microseconds=1) * 1000


@given(st.lists(TIMES, min_size=1, max_size=5))
def test_times_are_those_of_the_calendar(times: list[datetime]) -> None:
    texts = [time.isoformat(timespec="microseconds") for time in times]
    assert read(rfc3339, texts) == [nanoseconds(time) for time in times]


@given(TIMES)
def test_common_log_times_are_those_of_the_calendar(time: datetime) -> None:
    time = time.replace(microsecond=0)
    text = f"{time:%d}/{MONTHS[time.month - 1]}/{time.year:04}:{time:%H:%M:%S %z}"
    assert read(common_log_time, [text]) == [nanoseconds(time)]


@pytest.mark.parametrize(
    "text",
    [
        "", "-", "2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z",
        "2026-01-00T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z",
        "2026-01-01T00:00:00", "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00+25:00",
        "2026-01-01T00:00:00.1", "1500-01-01T00:00:00Z", "2026/01/01T00:00:00Z", "1764000000",
        "2026-01-01T00:00:00Zx",
    ],
)  # fmt: skip
def test_what_is_no_time_is_none(text: str) -> None:
    assert read(rfc3339, [text]) == [None]
    assert read(common_log_time, [text]) == [None]


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("13ms", 13_000_000), ("1.2s", 1_200_000_000), ("980us", 980_000), ("980µs", 980_000),
        ("5ns", 5), ("2m", 120_000_000_000), ("1.5us", 1500), ("0ms", 0),
        ("", None), ("ms", None), ("1", None), ("1h", None), ("-1ms", None), ("1.ms", None),
        ("9999999999s", None),
    ],
)  # fmt: skip
def test_durations(text: str, nanos: int | None) -> None:
    assert read(durations, [text]) == [nanos]


@given(st.lists(st.text("0123456789-+. x", max_size=20), min_size=1))
def test_whole_numbers_are_digits_of_which_there_are_at_most_18(texts: list[str]) -> None:
    expected = [int(text) if text.isdecimal() and len(text) < 19 else None for text in texts]
    assert read(whole_numbers, texts) == expected


@given(st.lists(st.binary(max_size=40), min_size=1))
def test_any_bytes_are_answered(words: list[bytes]) -> None:
    for function in (rfc3339, common_log_time, durations, whole_numbers):
        found = function(buffer_of(words), slices_of(words))
        assert len(found.values) == len(found.good) == len(words)
        assert not np.any(found.values[~found.good])
