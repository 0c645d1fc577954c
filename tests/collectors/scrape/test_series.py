"""Which series an exposition has, and which have ended."""

import pytest
from hypothesis import given, strategies as st

from collectors.scrape.series import Remembered, Series, series_of
from tests.recordings import shared

NOTHING = series_of(b"")


def texts(body: bytes) -> list[bytes]:
    found = series_of(body)
    return [body[a:b] for a, b in zip(found.starts.tolist(), found.ends.tolist(), strict=True)]


def after(before: bytes, now: bytes) -> bytes:
    remembered = Remembered()
    remembered.keep(before, series_of(before))
    return remembered.stale_lines(now, series_of(now))


@pytest.mark.parametrize(
    ("line", "series"),
    [
        (b"a 1", b"a"),
        (b"a\t1", b"a"),
        (b"  a  1  ", b"a"),
        (b"a:b_c 1\r", b"a:b_c"),
        (b'a{x="y"} 1', b'a{x="y"}'),
        (b'a {x="y" , z="1",} 1', b'a {x="y" , z="1",}'),
        (b'a{x="}"} 1', b'a{x="}"}'),
        (b'a{x="\\"}"} 1', b'a{x="\\"}"}'),
        (b'a{x="\\\\"} 1', b'a{x="\\\\"}'),
        (b'{"http.server", x="y"} 1', b'{"http.server", x="y"}'),
        (b'a{x=" # {"} 1 # {trace_id="}"} 0.5 1600000000.5', b'a{x=" # {"}'),
        (b"a 1 # {} 5", b"a"),
        (b"a NaN", b"a"),
    ],
)
def test_a_series_ends_before_its_value(line: bytes, series: bytes) -> None:
    assert texts(b"# TYPE a counter\n\n" + line + b"\n# EOF\n") == [series]
    assert texts(line) == [series]


@pytest.mark.parametrize(
    "line", [b"a 1 1600000000000", b'a{x="y"} 1  -5', b"a 1 1600000000.5 # {} 2 3"]
)
def test_a_series_with_a_time_is_counted_and_not_followed(line: bytes) -> None:
    found = series_of(line + b"\nb 1\n")
    assert found.samples == 2
    assert texts(line + b"\nb 1\n") == [b"b"]


def test_series_that_are_there_no_more_are_told_with_their_types() -> None:
    before = b'# TYPE a counter\na{x="1"} 1\na{x="2"} 1\n# TYPE b gauge\nb 7\nc 1\n'
    assert after(before, before.replace(b" 1", b" 2")) == b""
    assert after(before, b'c 1\n# TYPE a counter\na{x="2"} 5\n') == (
        b'# TYPE b gauge\n# meshweir stale a{x="1"}\n# meshweir stale b\n'
    )
    assert after(before, b"") == (
        b"# TYPE a counter\n# TYPE b gauge\n"
        b'# meshweir stale a{x="1"}\n# meshweir stale a{x="2"}\n'
        b"# meshweir stale b\n# meshweir stale c\n"
    )


def test_what_has_ended_is_told_once() -> None:
    remembered = Remembered()
    remembered.keep(b"a 1\nb 1\n", series_of(b"a 1\nb 1\n"))
    remembered.keep(b"b 2\n", series_of(b"b 2\n"))
    assert remembered.stale_lines(b"", NOTHING) == b"# meshweir stale b\n"
    remembered.keep(b"", NOTHING)
    assert remembered.stale_lines(b"", NOTHING) == b""


def test_series_in_another_order_have_not_ended() -> None:
    assert after(b"a 1\nb 1\n", b"b 1\na 1\n") == b""


NAMES = st.from_regex(r"[a-z_:][a-z0-9_:]{0,8}", fullmatch=True)
VALUES = st.text(max_size=8).map(
    lambda text: text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
)
LABELS = st.dictionaries(st.from_regex(r"[a-z_]{1,5}", fullmatch=True), VALUES, max_size=3).map(
    lambda labels: "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}"
)
SERIES = st.tuples(NAMES, st.one_of(st.just(""), LABELS)).map("".join)
SETS = st.lists(SERIES, unique=True, max_size=12)


@given(SETS, SETS, st.floats())
def test_stale_are_those_before_without_those_now(
    before: list[str], now: list[str], value: float
) -> None:
    bodies = ["".join(f"{one} {value}\n" for one in series).encode() for series in (before, now)]
    told = after(*bodies).decode().split("\n")[:-1]
    gone = [one for one in before if one not in now]
    assert told == [f"# meshweir stale {one}" for one in gone]


@given(st.binary(max_size=200))
def test_any_bytes_have_series_within_them(body: bytes) -> None:
    found = series_of(body)
    assert isinstance(found, Series)
    assert 0 <= len(found.starts) <= found.samples <= body.count(b"\n") + 1
    assert (found.starts <= found.ends).all()
    assert not len(found.ends) or found.ends.max() <= len(body)


def test_a_recorded_proxy_has_the_samples_that_its_source_states() -> None:
    body = shared("data/prom-scrapes/linkerd2/linkerd_proxy_sampleMetrics.txt").read_bytes()
    assert series_of(body).samples == 199
