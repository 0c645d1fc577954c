"""The fast scans of JSON agree with plain ones, byte by byte."""

import re

from hypothesis import given, strategies as st

from pipeline.decode.kernels.kernel import Buffer, buffer_of, kernel
from pipeline.decode.records.record_scan import ESCAPES, MARK_BITS, number_end, string_end

PIECES = st.sampled_from(
    [b"\\n", b"\\", b'\\"', b"\\u0041", b"\\ud83d\\ude00", b"\\ud83d", b"\\u12", b"\xc3\xa9",
     b"\xf0\x9f\x98\x80", b"\xc3", b"\x80", b"\xed\xa0\x80", b"\x1f", b" ", b"\x7f", b'"',
     b"a" * 31, b"b" * 32, b"c" * 7, b"d"]
)  # fmt: skip
STRINGS = st.lists(PIECES | st.binary(max_size=4), max_size=12).map(b"".join)
ESCAPE = re.compile(rb'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})')


@kernel
def scanned(source: Buffer, at: int, end: int) -> int:
    return string_end(source, at, end)


@kernel
def number_scanned(source: Buffer, at: int, end: int) -> int:
    return number_end(source, at, end)


def plain_string_end(text: bytes) -> tuple[int, bool] | None:
    """Where the closing quote is, and whether there are escapes; None for what is no string."""
    at, escapes = 0, False
    while at < len(text) and text[at : at + 1] != b'"':
        if text[at] < 0x20:
            return None
        if text[at : at + 1] == b"\\":
            found = ESCAPE.match(text, at)
            if not found:
                return None
            escapes, at = True, found.end()
        else:
            at += 1
    if at >= len(text):
        return None
    try:
        told = ESCAPE.sub(lambda one: one[0] if one[0][1:2] == b"u" else b"x", text[:at]).decode()
        re.sub(r"\\u(.{4})", lambda one: chr(int(one[1], 16)), told).encode(
            "utf-16-be", "surrogatepass"
        ).decode("utf-16-be")
    except UnicodeDecodeError:
        return None
    return at, escapes


@given(STRINGS, st.binary(max_size=3), STRINGS)
def test_a_string_ends_where_a_plain_scan_says(text, before, after):
    source = buffer_of([before, text + b'"' + after, b'"'])
    begin = len(before)
    expected = plain_string_end(text + b'"' + after)
    found = scanned(source, begin, source.size - 1)
    if expected is None:
        assert found < 0
    else:
        end, escapes = expected
        assert found >> MARK_BITS == begin + end
        assert bool(found & ESCAPES) == escapes


LIKE_A_NUMBER = re.compile(rb"-?\d+(?:\.\d*)?(?:[eE][+-]?\d*)?")
NUMBER = re.compile(rb"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")


@given(st.text("0123456789.eE+-", min_size=1, max_size=8), st.sampled_from([b"", b",", b"}", b"x"]))
def test_a_number_ends_where_a_plain_scan_says(number, after):
    text = number.encode() + after
    source = buffer_of([text, b"1.e"])
    found = number_scanned(source, 0, len(text))
    like = LIKE_A_NUMBER.match(text)
    if like and NUMBER.fullmatch(like[0]):
        assert found == like.end()
    else:
        assert found < 0
