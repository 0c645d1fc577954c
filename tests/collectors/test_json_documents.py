"""How streams of JSON are cut, and what is told of what cannot be."""

import io

import orjson
import pytest
from hypothesis import given, strategies as st

from collectors import json_documents
from collectors.json_documents import Cut, cut


def cuts(text: bytes, *, limit: int = json_documents.DOCUMENT_LIMIT) -> list[Cut]:
    return list(cut(io.BytesIO(text), limit=limit))


def told(text: bytes, *, limit: int = json_documents.DOCUMENT_LIMIT) -> list[tuple[int, object]]:
    return [(found.line, found.reason or found.value) for found in cuts(text, limit=limit)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"", []),
        (b" \n \n", []),
        (b'{"a":1}', [(1, {"a": 1})]),
        (b'\xef\xbb\xbf{"a":1}', [(1, {"a": 1})]),
        (b'{"a":1}\n\n{"a":2}\n', [(1, {"a": 1}), (3, {"a": 2})]),
        (b'{\n"a":\n1}\n{"b":\n2}', [(1, {"a": 1}), (4, {"b": 2})]),
        (b'[\n{"a":1},\n{"a":2}\n]', [(2, {"a": 1}), (3, {"a": 2})]),
        (b'[\n[{"a":1}],\n[{"a":2}]]', [(2, [{"a": 1}]), (3, [{"a": 2}])]),
        (
            b'{\n"data":[{"x":1},\n{"x":2}],\n"total":0}',
            [(2, {"data": [{"x": 1}]}), (3, {"data": [{"x": 2}]})],
        ),
        (
            b'{\n"resourceSpans":[],"resourceLogs":[{"q":"]}\\""}]}',
            [(2, {"resourceLogs": [{"q": ']}"'}]})],
        ),
        (b'{\n"data":null}', [(1, {"data": None})]),
    ],
)
def test_layouts(text: bytes, found: list[tuple[int, object]]) -> None:
    assert told(text) == found


def test_a_bad_line_is_told_and_the_others_are_given() -> None:
    text = b'{"a":1}\n{"a":[1,\nnonsense\n{"a":2}\n'
    assert told(text) == [(1, {"a": 1}), (2, "not JSON"), (3, "not JSON"), (4, {"a": 2})]


def test_a_first_line_that_is_bad_does_not_hide_the_lines() -> None:
    assert told(b'oops\n{"a":1}\n{"a":2}\n') == [(1, "not JSON"), (2, {"a": 1}), (3, {"a": 2})]


def test_brackets_that_do_not_match_spoil_one_document() -> None:
    assert told(b'{\n"a": [1, 2\n}\n{\n"b": 2\n}') == [
        (1, "brackets do not match"),
        (4, {"b": 2}),
    ]


def test_a_file_that_ends_early_keeps_what_came_before() -> None:
    assert told(b'{\n"data":[{"x":1},\n{"x":') == [
        (2, {"data": [{"x": 1}]}),
        (3, "the file ends in the middle of a document"),
    ]


def test_an_element_that_is_not_json_spoils_only_itself() -> None:
    assert told(b'[\n{"a":1},\n{a:2},\n{"a":3}]') == [
        (2, {"a": 1}),
        (3, "not JSON"),
        (4, {"a": 3}),
    ]


def test_documents_past_the_limit_are_told() -> None:
    long_line = b'{"a":"' + b"x" * 2000 + b'"}'
    assert told(b'{"a":1}\n' + long_line + b'\n{"a":2}\n', limit=1000) == [
        (1, {"a": 1}),
        (2, "line longer than 1000 bytes"),
        (3, {"a": 2}),
    ]
    assert told(b"{\n" + long_line[1:] + b'\n{"a":2}\n', limit=1000) == [
        (1, "document larger than 1000 bytes"),
        (3, {"a": 2}),
    ]


def test_nesting_is_bounded() -> None:
    assert told(b"\n[\n" + b"[" * 5000) == [(3, "nested too deeply")]
    # what can be read and not be written again could not go on the bus
    deep = b'{"a":' + b"[" * 300 + b"]" * 300 + b"}"
    assert told(b'{"a":1}\n' + deep + b'\n{"a":2}\n') == [
        (1, {"a": 1}),
        (2, "nested too deeply"),
        (3, {"a": 2}),
    ]


class Counting(io.BytesIO):
    """Remembers how far it was read when a document came out."""

    def __init__(self, text: bytes) -> None:
        super().__init__(text)
        self.taken = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """Count what is read."""
        found = super().read(size)
        self.taken += len(found)
        return found


def test_large_arrays_are_given_while_they_are_read() -> None:
    elements = 60_000
    element = b'{"traceID":"1","spans":[]}'
    text = b'{"data":[' + b",".join([element] * elements) + b"]}"
    assert len(text) > json_documents.CHUNK
    stream = Counting(text)
    found = cut(stream)
    first = next(found)
    assert first.text == b'{"data":[' + element + b"]}"
    assert stream.taken == json_documents.CHUNK
    assert 1 + sum(1 for _ in found) == elements


@given(st.binary(max_size=300))
def test_any_bytes_are_answered(text: bytes) -> None:
    for found in cuts(text):
        assert found.reason or found.value is not None or found.text.strip() == b"null"


@given(
    st.lists(st.dictionaries(st.text(max_size=4), st.text(max_size=6), min_size=1), max_size=6),
    st.booleans(),
    st.sampled_from([b"\n", b" ", b"\n\n"]),
)
def test_documents_come_back_whole(
    documents: list[dict[str, str]], pretty: bool, between: bytes
) -> None:
    option = orjson.OPT_INDENT_2 if pretty else 0
    text = between.join(orjson.dumps(document, option=option) for document in documents)
    found = cuts(text)
    assert [one.reason for one in found] == [""] * len(found)
    assert [one.value for one in found] == documents
