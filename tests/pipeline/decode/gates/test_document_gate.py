"""JSON documents at the door: Zipkin's spans."""

import orjson
import pytest
from hypothesis import given, strategies as st

from pipeline.decode import DECODERS
from pipeline.decode.door import MaskedKeys, admit, admit_foreign
from pipeline.errors import DecodeError
from tests.pipeline.decode.test_jaeger_json import JSON
from tests.pipeline.decode.zipkin_strategies import SPANS

GOOD = {"traceId": "1", "id": "2", "timestamp": 1_000_000}


def admitted(document: object, *keys: str):
    return admit("zipkin_json", orjson.dumps(document), MaskedKeys(keys))


def test_a_good_document_passes_as_it_is() -> None:
    body = orjson.dumps([GOOD, GOOD])
    told = admit("zipkin_json", body, MaskedKeys())
    assert told.body is body
    assert (told.records, told.rejected, told.reason) == (2, 0, "")


def test_bad_spans_are_counted_with_the_reason_of_the_first() -> None:
    told = admitted([GOOD, {**GOOD, "id": ""}, {"traceId": "1"}, 5])
    assert (told.records, told.rejected) == (1, 3)
    assert told.reason == "not a Zipkin span"


def test_secrets_are_masked_wherever_they_are() -> None:
    told = admitted([{**GOOD, "tags": {"Authorization": "Bearer x", "a": "b"}}], "authorization")
    assert orjson.loads(told.body)[0]["tags"] == {"Authorization": "****", "a": "b"}
    assert told.records == 1


@pytest.mark.parametrize(("body", "offset"), [(b"[1,]", 2), (b"hello", 0)])
def test_what_is_not_json_is_refused_with_its_offset(body: bytes, offset: int) -> None:
    with pytest.raises(DecodeError, match="zipkin_json: not JSON at byte") as caught:
        admit("zipkin_json", body, MaskedKeys())
    assert caught.value.offset == offset


@pytest.mark.parametrize("body", [b"", b" \n", b"[]"])
def test_nothing_is_no_record_and_no_fault(body: bytes) -> None:
    told = admit("zipkin_json", body, MaskedKeys())
    assert (told.records, told.rejected) == (0, 0)


def test_messages_of_other_writers_pass_the_same_door() -> None:
    body = orjson.dumps([{**GOOD, "tags": {"cookie": "id=1"}}])
    assert b"id=1" not in admit_foreign("zipkin_json", body, MaskedKeys())
    with pytest.raises(DecodeError):
        admit_foreign("zipkin_json", b"{", MaskedKeys())


@given(st.lists(SPANS | JSON | st.just(GOOD), max_size=4))
def test_the_door_counts_as_the_decoder_does(spans: list) -> None:
    try:
        body = orjson.dumps(spans)
    except TypeError:  # integers beyond 64 bits
        return
    told, decoded = admit("zipkin_json", body, MaskedKeys(())), DECODERS["zipkin_json"]([body])
    rows = decoded.batches["spans"].num_rows if decoded.batches else 0
    assert told.records == rows
    assert told.rejected == sum(one.records for one in decoded.refused)


@given(st.binary(max_size=80))
def test_any_bytes_are_admitted_or_refused(body: bytes) -> None:
    decoded = DECODERS["zipkin_json"]([body])
    if body.strip() and any(one.offset is not None for one in decoded.refused):
        with pytest.raises(DecodeError, match="at byte"):
            admit("zipkin_json", body, MaskedKeys())
    else:
        assert admit("zipkin_json", body, MaskedKeys()).records == 0
