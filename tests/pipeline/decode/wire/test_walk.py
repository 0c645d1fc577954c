"""The walk over wire bytes: cells, rows, and what is refused."""

import struct
from random import Random

import numpy as np
import pytest
from google.protobuf.message import DecodeError as ProtobufError
from hypothesis import given, strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from pipeline.decode.kernels.text import LENGTH_MASK, OFFSET_BITS
from pipeline.decode.wire import loop, walk
from pipeline.decode.wire.declaration import Check, Each, Enter, Row, Store, compile_plan
from pipeline.decode.wire.walk import Format, Walked
from pipeline.errors import DecodeError
from tests.pipeline.decode.bytes_twin import bytes_twin
from tests.pipeline.decode.wire_writer import tagged, varint

VARINT, FIXED64, BYTES, BEGIN, END, FIXED32 = range(6)
KINDS = {
    1: "bytes",
    2: "bool",
    3: "int32",
    4: "uint32",
    5: "int64",
    6: "sint32",
    7: "sint64",
    8: "fixed32",
    9: "sfixed32",
    10: "fixed64",
}
MESSAGES = {
    "Root": {1: Row("Record", "records", raw="raw"), 2: Check("Other")},
    "Record": {
        **{number: Store(kind, kind) for number, kind in KINDS.items()},
        11: Enter("Inner", "inner"),
        12: Row("Child", "children"),
        13: Each("int64", "varints"),
        14: Each("fixed64", "fixed"),
        15: Each("bytes", "texts"),
        16: Store("int64", "choice", case="which"),
        17: Store("bytes", "choice", case="which"),
        18: Enter("Group", case="which", told=99),
    },
    "Inner": {1: Store("int64", "inside"), 2: Store("int64", "also_inside")},
    "Child": {1: Store("int64", "number"), 2: Row("Child")},
    "Group": {},
    "Other": {1: Each("int64", "varints"), 2: Check("Other")},
}
FORMAT = Format("test", "Root", MESSAGES)


def field(number: int, wire_type: int, payload: bytes = b"") -> bytes:
    return tagged(number, wire_type, payload)


def record(*fields: bytes) -> bytes:
    return field(1, BYTES, b"".join(fields))


def walked(*fields: bytes) -> Walked:
    """The walk of one message of one record, which must be good."""
    answer = FORMAT.walk([record(*fields)])
    assert answer.refused == ()
    return answer


def data(answer: Walked, slice_: int) -> bytes:
    begin = slice_ >> OFFSET_BITS
    return answer.buffer.data[begin : begin + (slice_ & LENGTH_MASK)].tobytes()


def cell(name: str, *fields: bytes) -> int:
    return int(walked(*fields).rows("records").column(name)[0])


def refused(message: bytes) -> tuple[str, int | None]:
    (refusal,) = FORMAT.walk([message]).refused
    assert refusal.whole
    return refusal.reason, refusal.offset


@pytest.mark.parametrize(
    ("number", "wire_type", "payload", "value"),
    [
        (2, VARINT, varint(2), 1),
        (3, VARINT, varint(-5), -5),
        (3, VARINT, varint(2**32 + 7), 7),
        (4, VARINT, varint(2**64 - 1), 2**32 - 1),
        (5, VARINT, varint(-(2**63)), -(2**63)),
        (5, VARINT, varint(5, padding=9), 5),
        (6, VARINT, varint(5), -3),
        (6, VARINT, varint(2**32 - 1), -(2**31)),
        (7, VARINT, varint(2**64 - 1), -(2**63)),
        (7, VARINT, varint(2**64 - 2), 2**63 - 1),
        (8, FIXED32, struct.pack("<I", 2**32 - 1), 2**32 - 1),
        (9, FIXED32, struct.pack("<i", -2), -2),
        (10, FIXED64, struct.pack("<q", -3), -3),
    ],
)
def test_a_scalar_becomes_a_cell(number, wire_type, payload, value):
    assert cell(KINDS[number], field(number, wire_type, payload)) == value


def test_bytes_become_a_slice():
    answer = walked(field(1, BYTES, b"hello"))
    assert data(answer, int(answer.rows("records").column("bytes")[0])) == b"hello"


def test_the_row_knows_its_own_bytes():
    fields = field(5, VARINT, varint(1)) + field(99, BYTES, b"?")
    answer = walked(fields)
    assert data(answer, int(answer.rows("records").column("raw")[0])) == fields


def test_presence_tells_zero_from_nothing():
    rows = FORMAT.walk([record(field(5, VARINT, varint(0))) + record()]).rows("records")
    assert rows.column("int64").tolist() == [0, 0]
    assert rows.present("int64").tolist() == [True, False]


def test_of_a_field_told_twice_the_last_counts_and_submessages_are_merged():
    inner = [field(1, VARINT, varint(1)), field(1, VARINT, varint(2)) + field(2, VARINT, varint(3))]
    rows = walked(*(field(11, BYTES, one) for one in inner)).rows("records")
    assert rows.column("inside").tolist() == [2]
    assert rows.column("also_inside").tolist() == [3]
    assert rows.present("inner").tolist() == [True]


def test_rows_know_their_parents():
    child = field(1, VARINT, varint(7))
    nested = field(2, BYTES, field(2, BYTES, b"")) + field(2, BYTES, b"")
    messages = [record(field(12, BYTES, child)) + record(), record(field(12, BYTES, nested))]
    answer = FORMAT.walk(messages)
    assert answer.rows("records").parents.tolist() == [0, 0, 1]
    assert answer.rows("children").parents.tolist() == [0, 2, ~1, ~2, ~1]


def test_numbers_may_be_packed_or_not():
    packed = field(13, BYTES, varint(1) + varint(300)) + field(14, BYTES, bytes(16))
    single = field(13, VARINT, varint(5)) + field(14, FIXED64, bytes(8)) + field(15, BYTES, b"x")
    answer = walked(packed + single)
    items = {
        table: [data(answer, one) for one in answer.rows(table).column("items").tolist()]
        for table in ("varints", "fixed", "texts")
    }
    assert items == {
        "varints": [varint(1) + varint(300), varint(5)],
        "fixed": [bytes(16), bytes(8)],
        "texts": [b"x"],
    }


def test_the_last_alternative_of_a_oneof_is_told():
    number, text = field(16, VARINT, varint(5)), field(17, BYTES, b"x")
    assert cell("which", number, text) == 17
    assert cell("which", text, number) == 16
    assert cell("which", text, field(18, BYTES, b"")) == 99


def test_what_is_not_known_is_skipped():
    unknown = (
        field(40, VARINT, varint(2**64 - 1)),
        field(41, FIXED64, bytes(8)),
        field(70, BYTES, b"\xff" * 9),
        field(42, FIXED32, bytes(4)),
        varint(43 << 3 | BEGIN) + field(5, VARINT, varint(8)) + varint(43 << 3 | END),
        field(5, FIXED64, bytes(8)),
        field(1, VARINT, varint(3)),
        field(12, VARINT, varint(3)),
    )
    answer = walked(*unknown, field(5, VARINT, varint(4)))
    assert answer.rows("records").column("int64").tolist() == [4]
    assert answer.rows("records").present("bytes").tolist() == [False]
    assert len(answer.rows("children")) == 0


@pytest.mark.parametrize(
    ("message", "reason", "offset"),
    [
        (b"\x00", loop.BAD_TAG, 0),
        (b"\x98\x80\x80\x80\x10\x00", loop.BAD_TAG, 0),
        (b"\x88\x80\x80\x80\x80\x00\x00", loop.OVERLONG, 0),
        (b"\x0e", loop.BAD_WIRE_TYPE, 0),
        (b"\x0f", loop.BAD_WIRE_TYPE, 0),
        (field(9, VARINT, b"\xff" * 10 + b"\x01"), loop.OVERLONG, 0),
        (field(9, VARINT, b"\xff"), loop.TRUNCATED, 0),
        (b"\x80", loop.TRUNCATED, 0),
        (varint(9 << 3 | BYTES), loop.TRUNCATED, 0),
        (record() + b"\x0a\x05abc", loop.TOO_LONG, 2),
        (b"\x0a\x80\x80\x80\x80\x80\x00", loop.OVERLONG, 0),
        (b"\x0a\xff\xff\xff\xff\x0f", loop.TOO_LONG, 0),
        (field(9, FIXED64, bytes(7)), loop.TRUNCATED, 0),
        (field(9, FIXED32, bytes(3)), loop.TRUNCATED, 0),
        (varint(9 << 3 | END), loop.BAD_GROUP, 0),
        (varint(9 << 3 | BEGIN) + varint(8 << 3 | END), loop.BAD_GROUP, 1),
        (varint(9 << 3 | BEGIN), loop.TRUNCATED, 0),
        (record(field(13, BYTES, b"\x80")), loop.BAD_PACKED, 2),
        (record(field(14, BYTES, bytes(9))), loop.BAD_PACKED, 2),
        (field(2, BYTES, field(1, BYTES, b"\x80")), loop.BAD_PACKED, 2),
        (record(varint(9 << 3 | BEGIN)) + varint(9 << 3 | END), loop.TRUNCATED, 2),
    ],
)
def test_what_is_malformed_is_refused_with_its_offset(message, reason, offset):
    assert refused(message) == (loop.REASONS[reason], offset)


def test_nesting_is_limited():
    def nested(depth: int) -> bytes:
        message = b""
        for _ in range(depth):
            message = field(2, BYTES, message)
        return message

    assert FORMAT.walk([nested(loop.MAX_DEPTH)]).refused == ()
    assert refused(nested(loop.MAX_DEPTH + 1))[0] == loop.REASONS[loop.TOO_DEEP]
    groups = varint(9 << 3 | BEGIN) * 101 + varint(9 << 3 | END) * 101
    assert refused(groups)[0] == loop.REASONS[loop.TOO_DEEP]


def test_a_bad_message_leaves_nothing_behind():
    good = record(field(5, VARINT, varint(1)), field(12, BYTES, b""))
    answer = FORMAT.walk([good, good + b"\x00", b"", good])
    assert answer.rows("records").parents.tolist() == [0, 3]
    assert answer.rows("children").parents.tolist() == [0, 1]
    assert [(one.message, one.offset) for one in answer.refused] == [(1, len(good))]


def test_rows_cost_bytes():
    priced = Format("priced", "Root", {"Root": {1: Row("Empty", "rows", least=100)}, "Empty": {}})
    free = loop.FREE_BYTES // 100
    assert len(priced.walk([field(1, BYTES) * free]).rows("rows")) == free
    (refusal,) = priced.walk([field(1, BYTES) * 2 * free]).refused
    assert refusal.reason == loop.REASONS[loop.TOO_MANY]


def test_more_rows_than_expected_make_the_tables_grow():
    messages = [record(field(12, BYTES, b"") * 3)] * 500
    answer = Format("fresh", "Root", MESSAGES).walk(messages)
    assert answer.rows("children").parents.tolist() == list(np.repeat(np.arange(500), 3))
    assert answer.rows("records").parents.tolist() == list(range(500))


def test_too_many_bytes_at_once_are_refused(monkeypatch):
    monkeypatch.setattr(walk, "MAX_BYTES", 10)
    with pytest.raises(DecodeError, match="at once"):
        FORMAT.walk([record(bytes([99])), bytes(8)])


@pytest.mark.parametrize(
    "messages",
    [
        {"Root": {1: Store("int64", "cell")}},
        {"Root": {64: Check("Root")}},
        {"Root": {1: Row("R", "r")}, "R": {n: Store("int64", f"{n}") for n in range(1, 63)}},
    ],
    ids=["a cell outside of any row", "a field number too high", "too many cells"],
)
def test_a_declaration_that_cannot_be_compiled_is_refused(messages):
    with pytest.raises(ValueError, match=r"cell|field"):
        compile_plan("Root", messages)


VALUE = {
    "AnyValue": {
        **{number: Store("int64", "value", case="type") for number in (2, 3, 8)},
        1: Store("bytes", "value", case="type"),
        4: Store("fixed64", "value", case="type"),
        5: Enter("ArrayValue", case="type"),
        6: Enter("KeyValueList", case="type"),
        7: Store("bytes", "value", case="type"),
    },
    "ArrayValue": {1: Row("AnyValue")},
    "KeyValueList": {1: Row("KeyValue")},
    "KeyValue": {1: Store("bytes", "key"), 2: Enter("AnyValue")},
    "Root": {1: Row("AnyValue", "values")},
}
VALUES = Format("values", "Root", VALUE)
ANY_TEXT = bytes_twin(AnyValue)


def values_wire(payloads):
    """Bytes of AnyValue: fields of all wire types, some nested, some told more than once."""
    return st.lists(
        st.one_of(
            st.builds(field, st.sampled_from([1, 5, 6, 7, 9]), st.just(BYTES), payloads),
            st.builds(lambda number: field(3, VARINT, varint(number)), st.integers(0, 2**64 - 1)),
            st.just(field(4, FIXED64, bytes(8))),
        ),
        max_size=4,
    ).map(b"".join)


def one_value(payloads):
    """What is inside of an ArrayValue or a KeyValueList."""
    return payloads.map(lambda payload: field(1, BYTES, payload))


@given(st.recursive(st.binary(max_size=4), lambda inner: values_wire(inner | one_value(inner))))
def test_it_accepts_what_the_official_parser_accepts(payload):
    value_refused = VALUES.walk([field(1, BYTES, payload)]).refused
    try:
        ANY_TEXT.FromString(payload)
    except ProtobufError:
        assert value_refused
    else:
        assert not value_refused


@given(st.lists(st.binary(max_size=40), max_size=5), st.integers(0, 2**32))
def test_messages_do_not_disturb_each_other(messages, seed):
    good = record(field(1, BYTES, b"good"))
    mixed = [*messages, good, good]
    Random(seed).shuffle(mixed)
    answer = FORMAT.walk(mixed)
    alone = [FORMAT.walk([one]) for one in mixed]
    assert [one.message for one in answer.refused] == [
        index for index, one in enumerate(alone) if one.refused
    ]
    for table, rows in answer.tables.items():
        assert len(rows) == sum(len(one.rows(table)) for one in alone)
