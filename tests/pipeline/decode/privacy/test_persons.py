"""Pseudonyms: as long as what they stand for, equal for equals, useless without the key."""

import hashlib
import string

import orjson
import pytest
from hypothesis import given, strategies as st

from pipeline.decode.door import admit
from pipeline.decode.privacy.json_masking import masked_text
from pipeline.decode.privacy.masking import MaskedKeys
from pipeline.decode.privacy.persons import SIGN, Persons
from pipeline.model.personal_fields import PERSONAL_ATTRIBUTES, PersonalData
from tests.collectors.payloads import traces

HASHED = Persons(b"a key of the test")
LETTERS = set(string.ascii_letters + string.digits + "-_")


@given(st.text(min_size=1))
def test_a_pseudonym_is_as_long_as_what_it_stands_for_and_stays_what_it_is(text):
    found = HASHED.pseudonym(text)
    assert len(found) == len(text.encode())
    assert found[0] == SIGN
    assert set(found[1:]) <= LETTERS
    assert HASHED.pseudonym(found) == found


@given(st.lists(st.text(min_size=12), unique=True, min_size=2, max_size=20))
def test_equal_stays_equal_and_different_stays_different(texts):
    found = [HASHED.pseudonym(text) for text in texts]
    assert found == [HASHED.pseudonym(text) for text in texts]
    told = [text for text in texts if not (text[0] == SIGN and set(text[1:]) <= LETTERS)]
    assert len({HASHED.pseudonym(text) for text in told}) == len(told)


def test_without_the_key_names_cannot_be_tried():
    other = Persons(b"another key of the test")
    assert HASHED.pseudonym("bob@example.com") != other.pseudonym("bob@example.com")


def test_a_pseudonym_is_made_of_the_keyed_blake2_hash():
    told = hashlib.blake2b(
        b"10.0.0.7", digest_size=16, key=b"a key of the test", person=b"meshweir"
    )
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    first = int.from_bytes(told.digest()[:8], "little")
    wanted = "".join(alphabet[first >> 6 * place & 63] for place in range(7))
    assert HASHED.pseudonym("10.0.0.7") == SIGN + wanted


def test_persons_can_be_dropped_or_kept():
    assert Persons(b"key", PersonalData.DROP).pseudonym("bob") == "***"
    assert Persons(b"key", PersonalData.KEEP).attributes == ()


@pytest.mark.parametrize("key", [*PERSONAL_ATTRIBUTES, "Badge.No"])
def test_personal_attributes_of_otlp_get_pseudonyms(key):
    request = traces(1)
    span = request.resource_spans[0].scope_spans[0].spans[0]
    person, number = span.attributes.add(), span.attributes.add()
    person.key, person.value.string_value = key, "bob@example.com"
    number.key, number.value.int_value = "http.response.status_code", 200
    nested = span.attributes.add()
    nested.key = key
    nested.value.array_value.values.add().string_value = "203.0.113.9"
    body = request.SerializeToString()
    masked = MaskedKeys(persons=Persons(b"a key of the test", fields=["badge.no"]))
    admission = admit("otlp_traces", body, masked)
    assert len(admission.body) == len(body)
    for told in ("bob@example.com", "203.0.113.9"):
        assert told.encode() not in admission.body
        assert HASHED.pseudonym(told).encode() in admission.body
    assert admit("otlp_traces", admission.body, masked).body == admission.body


def test_personal_tags_of_jaeger_and_zipkin_get_pseudonyms():
    text = orjson.dumps({"tags": [{"key": "enduser.id", "value": "bob"}], "t": {"user.id": 7}})
    hidden = masked_text(text, dict.fromkeys(HASHED.attributes, HASHED.pseudonym))
    assert orjson.loads(hidden) == {
        "tags": [{"key": "enduser.id", "value": HASHED.pseudonym("bob")}],
        "t": {"user.id": HASHED.pseudonym("7")},
    }


def test_masking_without_persons_leaves_them():
    request = traces(1)
    person = request.resource_spans[0].scope_spans[0].spans[0].attributes.add()
    person.key, person.value.string_value = "enduser.id", "bob"
    body = request.SerializeToString()
    assert admit("otlp_traces", body, MaskedKeys()).body == body
