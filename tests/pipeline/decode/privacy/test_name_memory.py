"""Names that were seen before are judged as if they came for the first time."""

import orjson
from hypothesis import given, strategies as st

from pipeline.decode.kernels.kernel import Buffer, Ints, buffer_of, kernel
from pipeline.decode.privacy.name_memory import (
    LONGEST_NAME,
    NAME_BYTES,
    name_begin,
    no_names,
    remember,
    row_of,
    verdict_on,
)
from pipeline.decode.privacy.persons import Persons
from pipeline.decode.privacy.text_masking import TextMask, _mask
from pipeline.decode.privacy.text_persons import TextPersons

MASK = TextMask(["email", "x-forwarded-client-cert"])
PIECES = st.sampled_from(
    [b'"authorization":', b"token=", b"Bearer abcdefgh", b"basic abcdefgh", b"eyJhbGci.eyJz.sig",
     b"eyJ", b"ey", b"J", b"://u:p@h/", b"a@b.co", b"%3D", b"%3a", b"%26", b'"', b'\\"', b"\\",
     b" ", b":", b"=", b"\n", b'"email" : ', b'"key-id":', b"x" * 130, b'"password":{"a":[1,"x"]},',
     b'"access_token":"q w",', b'"client_ip":"10.0.0.1",', b"key=", b"\xff", b"12", b"null", b","]
)  # fmt: skip
TEXTS = st.lists(PIECES | st.binary(max_size=3), max_size=20).map(b"".join)
NAMES = st.lists(st.sampled_from([b"a", b"-", b" ", b'"', b"name", b"x" * 32, b"y" * 60, b"\xff"]))


@kernel
def begin_of(source: Buffer, end: int) -> int:
    return name_begin(source, end)


@kernel
def judged(source: Buffer, begin: int, end: int, verdict: int, seen: Ints) -> int:
    row = row_of(source, begin, end)
    known = verdict_on(source, begin, end, seen, row)
    remember(begin, end, verdict, seen, row)
    return known


@given(NAMES.map(b"".join))
def test_a_name_begins_where_a_plain_scan_says(text):
    begin = len(text)
    while begin and len(text) - begin < LONGEST_NAME and text[begin - 1] in NAME_BYTES:
        begin -= 1
    assert begin_of(buffer_of([text]), len(text)) == begin


@given(TEXTS)
def test_secrets_are_the_same_with_and_without_a_memory(text):
    with_memory, without = buffer_of([text]), buffer_of([text])
    found = _mask(with_memory, 0, MASK.names, no_names())
    assert found == _mask(without, 0, MASK.names, MASK.names.unseen)
    assert with_memory.data[: len(text)].tobytes() == without.data[: len(text)].tobytes()


@given(st.lists(TEXTS, max_size=4))
def test_persons_in_lines_are_hidden_as_in_each_line_alone(lines):
    persons = TextPersons("kong_json", Persons(b"key"))
    lines = [b'{"a":1' + line.replace(b"\n", b" ").replace(b"[", b"") + b"}" for line in lines]
    assert persons.hide(b"\n".join(lines)) == b"\n".join(map(persons.hide, lines))


@given(st.lists(st.sampled_from(["a", "ab", "token", "x" * 31, "x" * 33]), max_size=30))
def test_what_is_remembered_is_of_the_same_name(names):
    text, seen = orjson.dumps(names), no_names()
    source, known, at = buffer_of([text]), {}, 0
    for number, name in enumerate(names):
        at = text.index(f'"{name}"'.encode(), at) + 1
        verdict = judged(source, at, at + len(name), number, seen)
        assert verdict in (-1, known.get(name, -1))
        known[name] = number
