"""Secrets in text: what is masked, what is not, and that nothing else changes."""

import orjson
import pytest
from hypothesis import given, strategies as st

from pipeline.decode.kernels.kernel import buffer_of
from pipeline.decode.privacy.text_masking import TextMask, mask_within

MASK = TextMask(["email", "x-forwarded-client-cert"])


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("GET /a?token=abc&x=1 HTTP/1.1", "GET /a?token=***&x=1 HTTP/1.1"),
        ("/a?API_KEY=abc;y", "/a?API_KEY=***;y"),
        ("/a?key=abc&monkey=2&sig=f", "/a?key=***&monkey=2&sig=*"),
        ("/a?x-key=abc", "/a?x-key=***"),
        ('token="a b" x', 'token="***" x'),
        ("to=%2Fx%3Ftoken%3Dabc%26y%3D1", "to=%2Fx%3Ftoken%3D***%26y%3D1"),
        ("Authorization=Bearer abcdefg z", "Authorization=****** ******* z"),
        ('"Bearer abcdefg"', '"Bearer *******"'),
        ("basic YWxhZGRpbg==", "basic ************"),
        ("Basic is fine", "Basic is fine"),
        ("http://u:p@host/x?u=a@b", "http://***@host/x?u=a@b"),
        ("mail a@b.c", "mail a@b.c"),
        ("a eyJhbGci.eyJz.sig b", "a ***************** b"),
        ("keyJhbGci.x", "keyJhbGci.x"),
        ("authorization: Bearer abc", "authorization: **********"),
        ("user.email=abc email_id=1", "user.email=*** email_id=1"),
    ],
)
def test_text(text: str, masked: str) -> None:
    assert MASK.mask(text.encode()).decode() == masked


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        ({"password": "ab", "b": "c"}, {"password": "**", "b": "c"}),
        ({"password": 1234, "b": 5}, {"password": 1111, "b": 5}),
        ({"token": True, "secret": None}, {"token": True, "secret": None}),
        ({"Set-Cookie": ["a=b", {"x": 7}], "z": "q"}, {"Set-Cookie": ["***", {"*": 1}], "z": "q"}),
        ({"a": {"client_secret": 'x"y'}}, {"a": {"client_secret": "****"}}),
        ({"response_code": 200, "key": "path"}, {"response_code": 200, "key": "path"}),
        ({"m": '{"password":"x","a":1}', "k": 2}, {"m": '{"password":"************', "k": 2}),
    ],
)
def test_json_stays_json(value: object, masked: object) -> None:
    assert orjson.loads(MASK.mask(orjson.dumps(value))) == masked


@given(st.binary(max_size=400))
def test_the_length_and_the_lines_stay(data: bytes) -> None:
    masked = MASK.mask(data)
    assert len(masked) == len(data)
    assert [len(line) for line in masked.split(b"\n")] == [len(line) for line in data.split(b"\n")]
    assert MASK.mask(masked) == masked


@given(st.binary(min_size=1, max_size=80), st.binary(max_size=80), st.binary(max_size=80))
def test_a_text_inside_of_other_bytes_is_masked_as_if_it_were_alone(
    before: bytes, text: bytes, after: bytes
) -> None:
    buffer = buffer_of([before, text, after])
    begin, end = len(before), len(before) + len(text)
    mask_within(buffer, begin, end, MASK.names)
    found = buffer.data[: buffer.size].tobytes()
    assert (found[:begin], found[end:]) == (before, after)
    assert found[begin:end] == MASK.mask(text)


NAMES = st.sampled_from(
    ["password", "X-Api-Key", "authorization", "accessToken", "cookie", "db_secret", "a", "b", "c"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 10**9) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(NAMES, JSON, max_size=5))
def test_any_json_stays_json_and_its_secrets_are_gone(value: dict[str, object]) -> None:
    masked = orjson.loads(MASK.mask(orjson.dumps(value)))
    for name in value:
        if name not in {"a", "b", "c"}:
            assert only_masked(masked[name]), masked


def only_masked(value: object) -> bool:
    if isinstance(value, str):
        return set(value) <= {"*"}
    if isinstance(value, list):
        return all(map(only_masked, value))
    if isinstance(value, dict):
        return all(only_masked(key) and only_masked(inner) for key, inner in value.items())
    return value is None or isinstance(value, bool) or set(str(value)) <= {"1"}
