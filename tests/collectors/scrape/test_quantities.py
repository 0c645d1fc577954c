"""Durations and sizes as Prometheus writes them."""

import pytest

from collectors.scrape.quantities import bytes_of, seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("15s", 15), ("1m30s", 90), ("500ms", 0.5), ("1h", 3600), ("1d12h", 129_600), ("2w", 1209600)],
)
def test_durations_are_seconds(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "15", "s", "1s1m", "-1s", "1.5s", "15 s", "1m 30s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a duration such as 15s"):
        seconds_of(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("512B", 512), ("10KB", 10_240), ("16MiB", 16 << 20), ("1.5GB", 3 << 29)],
)
def test_sizes_are_bytes(text: str, size: int) -> None:
    assert bytes_of(text) == size


@pytest.mark.parametrize("text", ["", "10 apples", "MB", "-1MB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a size such as 512KB"):
        bytes_of(text)
