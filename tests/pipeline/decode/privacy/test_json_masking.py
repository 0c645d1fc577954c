"""Secrets in JSON text are masked wherever they stand; everything else stays as it is."""

import orjson
import pytest
from hypothesis import given, strategies as st

from pipeline.decode.privacy.json_masking import masked_text, stars
from pipeline.errors import DecodeError

KEYS = dict.fromkeys(("password", "http.request.header.cookie"), stars)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["password", "PassWord", "key", "a"]), inner, max_size=3)
        | st.fixed_dictionaries({"key": st.sampled_from(["Password", "a"]), "value": inner})
    ),
    max_leaves=10,
)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (b'{"tags":{"password":"x","a":"x"}}', b'{"tags":{"password":"****","a":"x"}}'),
        (b'[{"key":"Password","value":{"a":1}}]', b'[{"key":"Password","value":"****"}]'),
        (b'{"key":"password","vStr":"x"}', b'{"key":"password","vStr":"****"}'),
        (rb'{"pass\u0077ord":"x"}', b'{"password":"****"}'),
        (b'{"password":"x"}\npassword?\n{"a":1}', b'{"password":"****"}\npassword?\n{"a":1}'),
        (b'{ "a" : 1 }', b'{ "a" : 1 }'),
        (b'{ "password" : 5 }', b'{"password":"****"}'),
        (b'{ "user" : "password" }', b'{ "user" : "password" }'),
        (b"", b""),
    ],
)  # fmt: skip
def test_values_are_masked(text, masked):
    assert masked_text(text, KEYS) == masked


@given(JSON)
def test_no_value_of_a_secret_key_is_left(value):
    def walk(item):
        if isinstance(item, list):
            for inner in item:
                walk(inner)
        elif isinstance(item, dict):
            for name, inner in item.items():
                assert name.lower() not in KEYS or inner == "****"
                walk(inner)
            if isinstance(item.get("key"), str) and item["key"].lower() in KEYS:
                assert item.get("value", "****") == "****"

    walk(orjson.loads(masked_text(orjson.dumps(value), KEYS)))


@given(st.binary(max_size=30))
def test_any_bytes_without_a_secret_stay_as_they_are(text):
    assert masked_text(text, KEYS) == text


def test_what_cannot_be_written_again_is_refused_and_not_let_through():
    deep = b'{"password":"x","a":' + b"[" * 500 + b"]" * 500 + b"}"
    with pytest.raises(DecodeError, match="nested too deeply"):
        masked_text(deep, KEYS)
