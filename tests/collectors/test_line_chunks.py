"""Files of lines, cut into chunks."""

import io

import pytest
from hypothesis import given, strategies as st

from collectors.line_chunks import CHUNK_BYTES, LINE_LIMIT, Chunk, LineReader, chunks
from collectors.pieces import MESSAGE_BYTES, Fault, Piece
from pipeline.decode.privacy.masking import MaskedKeys

GOOD = b'10.0.0.1 - - [25/Nov/2020:21:26:18 +0000] "GET / HTTP/1.1" 200 1\n'


@given(
    st.lists(st.integers(0, 30), max_size=40),
    st.integers(16, 64),
    st.integers(4, 12),
    st.booleans(),
)
def test_chunks_hold_every_line_once_and_none_that_is_too_long(
    lengths: list[int],
    size: int,
    limit: int,
    ended: bool,
) -> None:
    lines = [bytes([97 + number % 26]) * length for number, length in enumerate(lengths)]
    data = b"\n".join(lines) + (b"\n" if ended else b"")
    found: dict[int, bytes | None] = {}
    for chunk in chunks(io.BytesIO(data), size=size, limit=limit):
        assert len(chunk.text) <= size + 1
        if not chunk.text:
            found[chunk.line] = None
            continue
        assert chunk.text.endswith(b"\n")
        for number, line in enumerate(chunk.text.split(b"\n")[:-1]):
            assert chunk.line + number not in found
            found[chunk.line + number] = line
    expected = {
        number: line if len(line) <= limit else None
        for number, line in enumerate(data.split(b"\n"), start=1)
    }
    if expected[len(expected)] == b"":
        expected.pop(len(expected))  # nothing behind the last end of a line
    assert found == expected


def read(data: bytes) -> list[Piece | Fault]:
    return list(LineReader("combined", MaskedKeys()).read(io.BytesIO(data)))


def test_bad_lines_are_told_by_their_number_and_go_along() -> None:
    found = read(GOOD * 3 + b"bad\n\n" + GOOD + b"worse")
    reason = "not a line of the common or combined log format"
    assert found[:2] == [
        Fault("line 4", reason, 1, "combined", on_bus=True),
        Fault("line 7", reason, 1, "combined", on_bus=True),
    ]
    assert found[2:] == [
        Piece("combined", GOOD * 3 + b"bad\n\n" + GOOD + b"worse\n", records=4, refused=2)
    ]


def test_lines_of_which_none_is_good_do_not_go_on_the_bus() -> None:
    assert [type(one) for one in read(b"bad\n")] == [Fault]
    assert read(b"") == read(b"\n \n") == []


def test_line_numbers_go_on_from_chunk_to_chunk() -> None:
    count = 3 * CHUNK_BYTES // len(GOOD)
    found = read(GOOD * count + b"bad\n" + GOOD)
    pieces = [one for one in found if isinstance(one, Piece)]
    assert sum(piece.records for piece in pieces) == count + 1
    assert all(len(piece.payload) <= CHUNK_BYTES < MESSAGE_BYTES for piece in pieces)
    assert [one.place for one in found if isinstance(one, Fault)] == [f"line {count + 1}"]


@pytest.mark.parametrize("end", [b"", b"\n", b"\n" + GOOD])
@pytest.mark.parametrize("length", [LINE_LIMIT + 1, 3 * CHUNK_BYTES])
def test_a_line_without_end_is_passed_over(length: int, end: bytes) -> None:
    found = read(GOOD + b"x" * length + end)
    faults = [one for one in found if isinstance(one, Fault)]
    assert faults == [Fault("line 2", f"line longer than {LINE_LIMIT} bytes", format="combined")]
    records = sum(one.records for one in found if isinstance(one, Piece))
    assert records == 1 + end.endswith(GOOD)


def test_chunks_of_nothing() -> None:
    assert list(chunks(io.BytesIO(b""))) == []
    assert list(chunks(io.BytesIO(b"a"))) == [Chunk(1, b"a\n")]
