"""Texts, ids and lists from slices."""

import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

from pipeline.decode.kernels.columns import (
    GOOD,
    NOTHING,
    WRONG_LENGTH,
    ZERO,
    ids,
    numbers,
    texts,
    times,
)
from pipeline.decode.kernels.hashing import distinct
from pipeline.decode.kernels.kernel import Buffer, Ints, buffer_of
from pipeline.decode.kernels.text import slices_of
from pipeline.decode.otlp.sampling import thresholds
from tests.pipeline.decode.trace_oracle import TRACE_STATES, threshold

BROKEN = (
    b"abc\xff\xfe",
    b"\xe2\x82",
    b"\xe2\x82x",
    b"\xf0\x9f\x98\x80ok",
    b"\xed\xa0\x80",
    b"\xf0\x90\x80x",
    b"\xc0\x80\xf5",
    b"plain but longer than a word\xc3\xa9",
    b"\xc3\xa9" * 7 + b"\xc3",
)


def placed(words: list[bytes]) -> tuple[Buffer, Ints]:
    """Words in a buffer, and where each is."""
    return buffer_of(words), slices_of(words)


@pytest.mark.parametrize("word", BROKEN)
def test_text_is_mended_as_python_does_it(word):
    assert texts(*placed([word])).to_pylist() == [word.decode("utf-8", "replace")]


@given(st.lists(st.binary(max_size=30) | st.text(max_size=20).map(lambda text: text.encode())))
def test_any_texts(words):
    column = texts(*placed(words), empty_is_null=False)
    column.validate(full=True)
    assert column.to_pylist() == [word.decode("utf-8", "replace") for word in words]


def test_empty_texts_are_null_unless_told_otherwise():
    source, slices = placed([b"a", b"", b"b"])
    slices[2] = NOTHING
    assert texts(source, slices).to_pylist() == ["a", None, None]
    assert texts(source, slices, empty_is_null=False).to_pylist() == ["a", "", None]


def test_ids():
    words = [bytes(range(16)), bytes(16), b"", bytes(15), bytes(15) + b"\x01"]
    found = ids(*placed(words), 16)
    assert found.states.tolist() == [GOOD, ZERO, ZERO, WRONG_LENGTH, GOOD]
    assert found.words[0].tolist() == [0x0001020304050607, 0x08090A0B0C0D0E0F]
    assert found.words[4].tolist() == [0, 1]


def test_numbers_and_times_can_be_null():
    source = slices_of([b"a", b"bb"]) & 0xFF
    valid = source > 1
    assert numbers(source, pa.uint8(), valid).to_pylist() == [None, 2]
    assert times(source, valid).cast(pa.int64()).to_pylist() == [None, 2]


@given(st.lists(st.binary(max_size=10), max_size=40))
def test_distinct(words):
    places, kinds = distinct(*placed(words))
    assert [words[places[kind]] for kind in kinds] == words
    assert len(places) == len(set(words))


@given(st.lists(TRACE_STATES))
def test_thresholds(states):
    found, known = thresholds(*placed([state.encode() for state in states]))
    told = [value if valid else None for value, valid in zip(found.tolist(), known, strict=True)]
    assert told == [threshold(state) for state in states]
