"""Frames of syslog, and what they say."""

from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from collectors.syslog_frames import BadFrame, Frames, message_of

MESSAGE = b'{"messageid":"m-1","proxy":"orders"}'
HEADER = b"<14>1 2025-11-26T16:00:00.123Z mp-1.example.com apigee 4711 ML-1 "

LINES = st.binary(min_size=1, max_size=30).map(
    lambda raw: b"<1>" + raw.replace(b"\n", b" ").replace(b"\r", b" ").replace(b"\0", b" ")
)
COUNTED = st.binary(min_size=1, max_size=30)


def frames_of(*pieces: bytes, limit: int = 1000) -> list[bytes | BadFrame]:
    frames = Frames(limit)
    found = [frame for piece in pieces for frame in frames.feed(piece)]
    return [*found, *frames.end()]


def counted(frame: bytes) -> bytes:
    return b"%d %s" % (len(frame), frame)


def pieces_of(stream: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    return [stream[begin:end] for begin, end in pairwise(at)]


@given(
    st.lists(st.tuples(st.booleans(), LINES, COUNTED), max_size=6),
    st.lists(st.integers(0, 400), max_size=6),
)
def test_frames_come_out_as_they_went_in_however_the_stream_is_cut(told, cuts) -> None:
    stream = b"".join(counted(two) if by_count else one + b"\n" for by_count, one, two in told)
    wanted = [two if by_count else one for by_count, one, two in told]
    assert frames_of(*pieces_of(stream, cuts)) == wanted


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5), st.integers(1, 40))
def test_any_bytes_give_the_same_frames_however_they_are_cut(stream, cuts, limit) -> None:
    whole = frames_of(stream, limit=limit)
    assert frames_of(*pieces_of(stream, cuts), limit=limit) == whole
    assert all(isinstance(one, BadFrame) or len(one) <= limit for one in whole)


def test_a_frame_that_is_too_long_is_passed_over_and_the_next_taken() -> None:
    bad = BadFrame("frame longer than 20 bytes")
    stream = counted(b"x" * 500) + b"<1>a\n" + b"<1>" + b"y" * 500 + b"\n" + counted(b"<1>b")
    for size in (1, 7, 2000):
        pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
        assert frames_of(*pieces, limit=20) == [bad, b"<1>a", bad, b"<1>b"]


def test_no_more_than_the_limit_is_held_of_what_is_too_long() -> None:
    frames = Frames(100)
    for _ in range(1000):
        list(frames.feed(b"<" * 1000))
    assert len(frames._buffer) <= 100


def test_half_a_counted_frame_at_the_end_is_told() -> None:
    assert frames_of(b"<1>a\n5 abc") == [
        b"<1>a",
        BadFrame("connection ended in the middle of a frame"),
    ]


def test_a_last_line_needs_no_end() -> None:
    assert frames_of(b"<1>a\n<1>b") == [b"<1>a", b"<1>b"]


@pytest.mark.parametrize(
    "frame",
    [
        HEADER + b"- " + MESSAGE,
        HEADER + b"- \xef\xbb\xbf" + MESSAGE,
        HEADER + b'[x@1 a="{\\"]" b="\\\\"][y@2] ' + MESSAGE,
        b"<14>Nov 26 16:00:00 mp-1 apigee: " + MESSAGE,
        b"<14>" + MESSAGE,
        MESSAGE,
        b"  " + MESSAGE + b"\r\n",
        HEADER + b"- " + MESSAGE.replace(b",", b",\r\n  "),
    ],
    ids=["5424", "mark", "data", "3164", "priority", "bare", "spaces", "lines"],
)
def test_the_message_is_what_stands_behind_the_header(frame: bytes) -> None:
    assert b"".join(message_of(frame).split()) == MESSAGE


@pytest.mark.parametrize("frame", [HEADER + b"-", HEADER + b"- ", b"<14>", b" \0"])
def test_a_frame_may_say_nothing(frame: bytes) -> None:
    assert message_of(frame) == b""


def test_what_is_no_json_is_kept_as_text() -> None:
    assert message_of(HEADER + b"- GET /orders 200") == b"GET /orders 200"


@given(st.binary(max_size=200))
def test_any_frame_is_one_line(frame: bytes) -> None:
    assert b"\n" not in message_of(frame)
