"""Trace ids are what regular expressions read, in all their forms."""

import re

import pyarrow as pa
from hypothesis import example, given, strategies as st

from pipeline.decode.lines.trace_ids import trace_ids

FORMS = (
    re.compile(r"^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}"),
    re.compile(r"^([0-9a-fA-F]{32}|[0-9a-fA-F]{16})(?:\Z|[-/])"),
    re.compile(r"(?i)(?:^|root=)1-([0-9a-f]{8}-[0-9a-f]{24})(?:\Z|;)"),
)
DIGITS = st.text("0123456789abcdefAF", min_size=16, max_size=16)
TEXTS = st.one_of(
    st.none(),
    st.builds("{}{}".format, DIGITS, DIGITS),
    st.builds("00-{}{}-{}-01{}".format, DIGITS, DIGITS, DIGITS, st.sampled_from(["", "-x", "\n"])),
    st.builds("{}{}{}".format, DIGITS, st.sampled_from(["", "-", "/", "x", "\n"]), DIGITS),
    st.builds("Root=1-{:.8}-{}{:.8};Sampled=1".format, DIGITS, DIGITS, DIGITS),
    st.builds("1-{:.8}-{}{:.8}".format, DIGITS, DIGITS, DIGITS),
    st.just("0" * 32),
    st.just("00-" + "0" * 32 + "-00f067aa0ba902b7-01"),
    st.text("0123456789abcdef-/;é", max_size=60),
)


def plain(text: str | None) -> int:
    found = next((one for form in FORMS if text and (one := form.search(text))), None)
    return int(found[1].replace("-", ""), 16) if found else 0


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=6))
@example([("00-" + "A" * 32 + "-00f067aa0ba902b7-01", "a" * 33)])
def test_the_first_text_that_tells_an_id_counts(rows):
    columns = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
    found = trace_ids(columns)
    halves = zip(*(found[name].to_pylist() for name in found), strict=True)
    for texts, (high, low) in zip(rows, halves, strict=True):
        expected = plain(texts[0]) or plain(texts[1])
        assert (high, low) == (
            (expected >> 64, expected & (1 << 64) - 1) if expected else (None,) * 2
        )
