"""Bytes around a fault, as people read them."""

from api.dump import dump


def test_bytes_stand_in_lines_of_sixteen_with_their_text():
    lines = dump(bytes(range(0x30, 0x50)) + b"\x00").splitlines()
    assert [line[:8] for line in lines] == ["00000000", "00000010", "00000020"]
    assert lines[0].endswith(" 0123456789:;<=>?")
    assert lines[2].split() == ["00000020", "00", "."]


def test_the_byte_at_fault_is_marked_and_stands_in_the_middle():
    text = dump(bytes(1000), 500)
    (marked,) = [line for line in text.splitlines() if "[" in line]
    assert marked.startswith("000001f0 ")
    assert marked.index("[") == 9 + 4 * (500 - 0x1F0)
    assert len(text.splitlines()) == 17
    assert text.splitlines()[0].startswith("00000170 ")


def test_a_fault_past_the_bytes_that_are_kept_shows_their_end():
    assert dump(b"abc", 70_000).split()[-1] == "abc"
    assert dump(b"") == ""
