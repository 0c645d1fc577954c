"""The walk over JSON records agrees with orjson, record by record."""

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, strategies as st

from pipeline.decode.records.record_cells import Cells
from pipeline.decode.records.record_plan import Records, compile_records
from pipeline.decode.records.record_walk import FAULTS_NAMED, MAX_DEPTH, REASONS, walk

ANYTHING = Records(
    {
        "a": [("a",)],
        "inner": [("o", "b")],
        "many": [("l", "b")],
        "long": [("a-long-name-of-20byte",)],
    },
    {"count": ("l",)},
)
NEEDS_A = Records({"a": [("a",)]}, {}, needed=("a",))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=15,
)
OBJECTS = st.dictionaries(st.text(max_size=9) | st.sampled_from("aol"), VALUES, max_size=6)


def cells(*messages: bytes, records: Records = ANYTHING) -> Cells:
    names = records.names
    return Cells(walk(messages, compile_records(records), len(names)), names)


def is_record(text: bytes) -> bool:
    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError as error:
        return "infinity" in str(error)  # a number that no double holds is a number all the same


@given(OBJECTS, st.sampled_from([0, orjson.OPT_INDENT_2]))
def test_objects_are_records(value, option):
    found = cells(orjson.dumps(value, option=option))
    assert found.walked.refused == ()
    assert len(found) == 1


@given(st.binary(max_size=40))
def test_bytes_are_a_record_when_orjson_says_so(tail):
    text = b'{"a":' + tail.replace(b"\n", b" ")
    found = cells(text)
    accepted = len(found) == 1 and not found.walked.refused
    if accepted:
        assert is_record(text)
    elif is_record(text):  # orjson knows only numbers that fit a double; nothing else may differ
        pytest.fail(f"{text!r} was refused: {found.walked.refused}")


@given(OBJECTS, st.integers(0, 200), st.binary(min_size=1, max_size=2))
def test_damaged_records_are_records_when_orjson_says_so(value, place, wound):
    text = bytearray(orjson.dumps(value))
    place %= len(text)
    text[place : place + len(wound)] = wound.replace(b"\n", b"x")
    found = cells(bytes(text))
    if len(found) == 1 and not found.walked.refused:
        assert is_record(bytes(text).strip(b",[] \t\r").removeprefix(b"\xef\xbb\xbf")) or is_record(
            bytes(text)
        )
    elif is_record(bytes(text)):
        pytest.fail(f"{bytes(text)!r} was refused: {found.walked.refused}")


@given(st.text(max_size=40), st.booleans())
def test_strings_are_unescaped_as_orjson_does(text, escaped):
    value = {"a": text, "o": {"b": text}}
    message = orjson.dumps(value)
    if escaped:
        points = text.encode("utf-16-be", "surrogatepass")
        units = [points[at : at + 2].hex() for at in range(0, len(points), 2)]
        spelled = "".join(f"\\u{one}" for one in units)
        message = f'{{"a":"{spelled}","\\u006f":{{"b":"\\u0062"}}}}'.encode()
    found = cells(message)
    expected = text if text not in ("", "-", "(not set)") else None
    assert found.texts("a").to_pylist() == [expected]
    assert found.texts("inner").to_pylist() == ["b" if escaped else expected]


@given(st.lists(st.integers(0, 3) | st.text(max_size=3), max_size=70))
def test_what_is_in_an_array_belongs_to_who_holds_it(values):
    found = cells(orjson.dumps({"l": [{"b": value} for value in values]}))
    assert found.counts("count").tolist() == [len(values)]
    last = str(values[-1]) if values and values[-1] not in ("", "-") else None
    assert found.texts("many").to_pylist() == [last]


def test_names_match_in_any_letter_case_and_length():
    found = cells(b'{"A-Long-Name-Of-20Byte":"x","a-long-name-of-20bytes":"y"}')
    assert found.texts("long").to_pylist() == ["x"]


def test_null_does_not_unsay_what_was_told():
    assert cells(b'{"a":1,"a":null}').texts("a").to_pylist() == ["1"]


@pytest.mark.parametrize(
    ("told", "scale", "number"),
    [
        ("12", 0, 12),
        ('"12"', 0, 12),
        ("12.75", 0, 12),
        ("12.75", 6, 12_750_000),
        ("1.5e3", 0, 1500),
        ('" 7 "', 0, 7),
        ("0", 6, 0),
        ("1764172800123", 6, 1_764_172_800_123_000_000),
        ("0.0000001", 6, 0),
        ("-1", 0, None),
        ('"-"', 0, None),
        ('""', 0, None),
        ('"1 2"', 0, None),
        ('"."', 0, None),
        ('"1."', 0, 1),
        ('"1e"', 0, None),
        ('"1e999"', 0, None),
        ("1e30", 0, None),
        ("9" * 400, 0, None),
        ("0." + "1" * 400, 3, 111),
        ("1e-30", 6, 0),
        ("true", 0, None),
        ("null", 0, None),
        ("[1]", 0, None),
        ('"(not set)"', 0, None),
    ],
    ids=repr,
)
def test_numbers(told, scale, number):
    found, valid = cells(b'{"a":%s}' % told.encode()).numbers("a", scale=scale)
    assert (found.tolist()[0] if valid[0] else None) == number


@given(st.dictionaries(st.sampled_from(["a", "o"]), SCALARS))
def test_attributes_are_what_was_told(value):
    told = {
        name: inner for name, inner in value.items() if inner not in (None, "", "-", "(not set)")
    }
    text = cells(orjson.dumps({"a": value.get("a"), "o": {"b": value.get("o")}})).attributes(
        {"a": "a", "inner": "o"}
    )
    (found,) = text.to_pylist()
    assert (orjson.loads(found) if found else {}) == told


def test_bad_lines_are_refused_one_by_one_with_their_places():
    lines = [b'{"a":1}', b"nonsense", b'{"a":', b'{"a":2}', b"[1]", b'{"b":1}', b'"x"', b'{"a":3}']
    found = cells(b"\n".join(lines), records=NEEDS_A)
    assert found.texts("a").to_pylist() == ["1", "2", "3"]
    starts = np.cumsum([0, *(len(line) + 1 for line in lines)]).tolist()
    not_json, not_object, _, incomplete = REASONS
    assert [(told.reason, told.offset) for told in found.walked.refused] == [
        (not_object, starts[1]),
        (not_json, starts[2]),
        (not_object, starts[4] + 1),
        (incomplete, starts[5]),
        (not_object, starts[6]),
    ]


def test_a_record_that_is_cut_off_does_not_swallow_those_after_it():
    message = b'{\n  "a": 1,\n  "l": [\n    {"b":\n{"a":2}\n{"a":3}'
    found = cells(message)
    assert found.texts("a").to_pylist() == ["2", "3"]
    assert [told.offset for told in found.walked.refused] == [0]


def test_many_bad_lines_are_counted():
    found = cells(b"x\n" * (FAULTS_NAMED + 500))
    assert len(found.walked.refused) == FAULTS_NAMED + 1
    assert found.walked.refused[-1].records == 500


def test_deep_nesting_is_refused():
    deep = b'{"a":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}"
    deeper = b'{"a":[' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"]}"
    found = cells(deep + b"\n" + deeper + b'\n{"a":1}\n' + b"[" * 100_000)
    assert len(found) == 2
    assert [told.reason for told in found.walked.refused] == [REASONS[2]]


def test_many_records_find_room():
    found = cells(b'{"a":1},' * 5000, b"", b'{"a":2}')
    assert len(found) == 5001
    assert found.walked.messages.tolist() == [0] * 5000 + [2]
    assert found.walked.offsets[-2:].tolist() == [4999 * 8, 0]


NAMES = st.sampled_from(
    ["a", "o", "l", "b", "c", "A", "a-long-name-of-20byte", "another-long-name", "x" * 40, "é", ""]
)
MEMBERS = st.dictionaries(
    NAMES, SCALARS | st.dictionaries(NAMES, SCALARS | st.lists(SCALARS)), max_size=5
)


def spelled(value: dict[str, object], way: int) -> bytes:
    """The same object as different senders would write it."""
    text = orjson.dumps(value, option=orjson.OPT_INDENT_2 if way == 1 else None)
    if way == 2:
        return text.replace(b'":', b'" :')
    return text.replace(b'"a"', b'"\\u0061"').replace(b'"o"', b'"\\u006F"') if way == 3 else text


@given(st.lists(st.tuples(MEMBERS, st.integers(0, 3)), min_size=1, max_size=12))
def test_what_was_seen_before_changes_nothing(values):
    """Names are remembered from record to record; each must read as if it came alone."""
    texts = [spelled(value, way) for value, way in values]
    together = cells(b"\n".join(texts))
    assert together.walked.refused == ()
    for cell in (*ANYTHING.cells, *ANYTHING.counts):
        alone = [cells(text) for text in texts]
        assert together.texts(cell).to_pylist() == [
            one for found in alone for one in found.texts(cell).to_pylist()
        ]
        assert together.counts(cell).tolist() == [
            one for found in alone for one in found.counts(cell).tolist()
        ]


def test_more_names_than_are_remembered():
    names = [f"name-{number}" for number in range(3000)]
    found = cells(orjson.dumps(dict.fromkeys(names, 1) | {"a": "x"}) + b'{"a":"y"}' * 2)
    assert found.texts("a").to_pylist() == ["x", "y", "y"]


def test_escapes_within_a_record_that_is_cut_off_are_read_once():
    message = b'{"l":[\n{"b":"x\\"y","\\u0061":1}\n{"a":"\\u0041"}'
    found = cells(message)
    assert found.texts("a").to_pylist() == ["1", "A"]
    assert len(found.walked.refused) == 1


def test_a_name_longer_than_any_that_is_looked_for_is_a_mistake():
    with pytest.raises(ValueError, match="too long"):
        compile_records(Records({"a": [("x" * 200,)]}, {}))


def test_two_cells_at_one_path_are_a_mistake():
    records: dict[str, Any] = {"x": [("a",)], "y": [("A",)]}
    with pytest.raises(ValueError, match="two cells"):
        compile_records(Records(records, {}))
