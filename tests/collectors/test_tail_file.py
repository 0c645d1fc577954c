"""A file that grows: whole lines once each, whatever the moments at which it is looked at."""

import os
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, strategies as st

from collectors.tail_file import CHUNK_BYTES, HEAD_BYTES, TailedFile
from collectors.tail_places import Place, Places
from tests.pipeline.decode.lines.wrapping import cri

LINES = st.lists(st.binary(max_size=40).map(lambda raw: raw.replace(b"\n", b"")), max_size=30)


def read_all(file: TailedFile, *, is_last: bool = False) -> bytes:
    text = b""
    while chunk := file.next(is_last=is_last):
        text += chunk.text
        file.taken(chunk.end)
    return text


@given(LINES, st.lists(st.integers(0, 1000), max_size=8))
def test_lines_come_whole_and_once_however_they_are_written(lines, cuts) -> None:
    stream = b"".join(line + b"\n" for line in lines) + b"unfinished"
    at = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    with TemporaryDirectory() as directory:
        path = Path(directory) / "log"
        path.touch()
        file, found = TailedFile.open(path), b""
        with path.open("ab", buffering=0) as log:
            for begin, end in pairwise(at):
                log.write(stream[begin:end])
                found += read_all(file)
                assert found == stream[:end][: stream[:end].rfind(b"\n") + 1]
        assert file.next() is None
        assert found + read_all(file, is_last=True) == stream + b"\n"
        assert file.holds(file.place)
        file.close()


def test_a_line_that_is_too_long_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"a\n" + b"x" * (3 * CHUNK_BYTES))
    file = TailedFile.open(path)
    assert read_all(file) == b"a\n"
    with path.open("ab") as log:
        log.write(b"yy\nb\n")
    chunk = file.next()
    assert chunk is not None
    assert (chunk.begin, chunk.text) == (2, b"")
    file.taken(chunk.end)
    assert read_all(file) == b"b\n"
    file.close()


def test_a_line_in_parts_is_waited_for_until_a_chunk_is_full(tmp_path: Path) -> None:
    path = tmp_path / "log"
    first, last = cri(b"a", b"b")
    other = b"".join(cri(b"x" * 1000, stream="stderr"))
    path.write_bytes(b"before\n" + first + other)
    file = TailedFile.open(path)
    assert read_all(file) == b"before\n"
    with path.open("ab") as log:
        log.write(last[:-2])
        log.flush()
        assert read_all(file) == b""
        log.write(last[-2:])
    assert read_all(file) == first + other + last
    with path.open("ab") as log:
        log.write(first + other * (CHUNK_BYTES // len(other) + 1))
    text = read_all(file)
    assert text.startswith(first + other)
    assert text.endswith(other)
    file.close()


def test_a_line_in_parts_is_not_waited_for_where_nobody_writes_on(tmp_path: Path) -> None:
    path = tmp_path / "log"
    first, _ = cri(b"a", b"b")
    path.write_bytes(first)
    file = TailedFile.open(path)
    assert file.next() is None
    assert read_all(file, is_last=True) == first
    file.close()


def test_a_file_that_was_cut_short_is_another_even_when_it_is_longer_now(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\ntwo\n")
    file = TailedFile.open(path)
    read_all(file)
    os.truncate(path, 0)
    assert not file.holds(file.place)
    path.write_bytes(b"three\nfour\nfive\n")
    assert not file.holds(file.place)
    file.begin_again()
    assert read_all(file) == b"three\nfour\nfive\n"
    file.close()


def test_a_copy_is_known_by_its_beginning(tmp_path: Path) -> None:
    line = b"line of a log 1234567890\n"
    one, copy, short = tmp_path / "one", tmp_path / "copy", tmp_path / "short"
    one.write_bytes(b"first\n" + line * 100)
    copy.write_bytes(b"first\n" + line * 120)
    short.write_bytes(b"first\n" + line * 3)
    file, other, small = map(TailedFile.open, (one, copy, short))
    read_all(file)
    assert file.place.head_size == HEAD_BYTES
    assert other.is_copy_of(file.place)
    assert not small.is_copy_of(file.place)
    read_all(small)
    assert not file.is_copy_of(small.place)  # so little may be alike by chance
    for one_file in (file, other, small):
        one_file.close()


def test_places_outlive_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\ntwo\n")
    file = TailedFile.open(path)
    places = Places(tmp_path / "places" / "deep")
    places.open()
    places.keep(file.trying("log:0-4@1", 4, 1))
    (again,) = Places(tmp_path / "places" / "deep").all()
    assert again == file.place
    file.taken(4)
    places.keep(file.place)
    (again,) = places.all()
    assert (again.offset, again.pending) == (4, None)
    places.forget(again.key)
    assert list(places.all()) == []
    file.close()


def test_a_place_that_cannot_be_read_is_as_if_it_were_not_there(tmp_path: Path) -> None:
    (tmp_path / "1-2.json").write_bytes(b'{"path": "half')
    (tmp_path / "1-3.json").write_bytes(b'{"other": 1}')
    places = Places(tmp_path)
    places.keep(Place("a", 1, 4, 7))
    assert [place.path for place in places.all()] == ["a"]
