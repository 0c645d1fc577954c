"""Attributes as JSON text."""

import json

import numpy as np
from hypothesis import given, strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue, KeyValueList

from pipeline.decode.kernels import json_text
from pipeline.decode.kernels.json_text import double_texts, objects
from pipeline.decode.wire.declaration import Row
from pipeline.decode.wire.otlp_common import COMMON
from pipeline.decode.wire.walk import Format
from tests.pipeline.decode.otlp_oracle import attributes, double
from tests.pipeline.decode.otlp_strategies import ATTRIBUTES
from tests.pipeline.decode.wire_writer import encode, tagged

BYTES = 2
FORMAT = Format(
    "pairs",
    "Root",
    {**COMMON, "Root": {1: Row("Owner", "owners")}, "Owner": {1: Row("KeyValue", "pairs")}},
)


def texts_of(*owners: list[KeyValue]) -> list[str | None]:
    """The JSON texts of the attributes of some owners."""
    pairs = [encode(KeyValueList(values=owner)) for owner in owners]
    walked = FORMAT.walk([b"".join(tagged(1, BYTES, owner) for owner in pairs)])
    column = objects(walked.buffer, walked.rows("pairs"), len(owners))
    column.validate(full=True)
    return column.to_pylist()


def test_every_type():
    values = {
        "s": AnyValue(string_value='"\\/\b\f\n\r\t\x00\x1f\x7fé\U0001f600'),
        "i": AnyValue(int_value=-(2**63)),
        "d": AnyValue(double_value=0.1),
        "one": AnyValue(double_value=1),
        "nan": AnyValue(double_value=float("nan")),
        "inf": AnyValue(double_value=float("-inf")),
        "t": AnyValue(bool_value=True),
        "f": AnyValue(bool_value=False),
        "b": AnyValue(bytes_value=b"\x00\xff\x10\x83"),
        "e": AnyValue(),
    }
    pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
    (text,) = texts_of(pairs)
    assert text == (
        '{"s":"\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001f\x7fé\U0001f600","i":-9223372036854775808,'
        '"d":0.1,"one":1.0,"nan":"NaN","inf":"-Infinity","t":true,"f":false,"b":"AP8Qgw==","e":null}'
    )


def test_no_attributes_are_null_and_the_last_of_a_key_stays():
    same = [KeyValue(key="k", value=AnyValue(int_value=number)) for number in (1, 2)]
    assert texts_of([], same, []) == [None, '{"k":2}', None]


@given(st.lists(ATTRIBUTES, max_size=4))
def test_it_means_what_the_official_library_reads(owners):
    texts = texts_of(*owners)
    assert [text and json.loads(text) for text in texts] == [
        attributes(owner) or None for owner in owners
    ]
    for text in filter(None, texts):
        json.loads(text, object_pairs_hook=without_repetition)


def without_repetition(pairs: list[tuple[str, object]]) -> dict[str, object]:
    assert len({key for key, _ in pairs}) == len(pairs)
    return dict(pairs)


@given(st.lists(st.floats()))
def test_doubles_read_back_the_same(values):
    bits = np.array(values, np.float64).view(np.int64)
    text, slices = double_texts(bits)
    told = [
        json.loads(bytes(text.data[one >> 32 : (one >> 32) + (one & 0xFFFFFFFF)]))
        for one in slices.tolist()
    ]
    assert repr(told) == repr([double(value) for value in values])


def test_texts_longer_than_expected_get_more_room():
    value = AnyValue(string_value="\x01" * 20_000)
    owner = [KeyValue(key=str(number), value=value) for number in range(3)]
    (first, second) = texts_of(owner, owner)
    assert first == second
    assert json.loads(first) == attributes(owner)


def test_many_keys_cost_time_in_proportion(monkeypatch):
    sizes = []
    monkeypatch.setattr(json_text, "_table", lambda bounds: sized(sizes, bounds))
    many = [KeyValue(key=str(number), value=AnyValue(int_value=1)) for number in range(5000)]
    (text,) = texts_of(many + many)
    assert len(json.loads(text)) == 5000
    assert sizes == [1 << 15]


def sized(sizes: list[int], bounds):
    most = int(np.diff(bounds).max())
    sizes.append(1 << (2 * most).bit_length())
    return np.zeros((sizes[-1], 3), np.int64)
