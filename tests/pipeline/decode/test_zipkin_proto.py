"""Zipkin protobuf: it means what the JSON of the same spans means."""

from pathlib import Path
from random import Random

import orjson
import pytest
from google.protobuf.message import DecodeError as ProtobufError
from hypothesis import given, strategies as st

from pipeline.decode import zipkin_json, zipkin_proto
from pipeline.decode.door import MaskedKeys, admit
from pipeline.errors import DecodeError
from tests.golden import Golden
from tests.pipeline.decode.bytes_twin import bytes_twin
from tests.pipeline.decode.test_jaeger_json import as_text, spans_of
from tests.pipeline.decode.wire_writer import encode
from tests.pipeline.decode.zipkin_strategies import SPANS
from tests.zipkin_pb import ListOfSpans, list_of

HERE = Path(__file__).parent
ANY_TEXT = bytes_twin(ListOfSpans)


def rows_of(decoded):
    """The rows; attributes without an order, since maps of protobuf have none."""
    rows = decoded.batches["spans"].to_pylist() if decoded.batches else []
    return [row | {"attributes": orjson.loads(row["attributes"] or "{}")} for row in rows]


def test_the_list_of_the_api(golden: Golden) -> None:
    told = orjson.loads((HERE / "golden/zipkin_v2.in.json").read_bytes())
    message = list_of(told).SerializeToString(deterministic=True)
    golden.check(HERE / "golden/zipkin_proto.out.json", as_text(zipkin_proto.to_otlp(message)))


@given(st.lists(SPANS, max_size=4), st.integers(0, 99))
def test_it_means_what_json_means(spans: list[dict], seed: int) -> None:
    message = encode(list_of(spans), Random(seed))
    by_proto, by_json = zipkin_proto.decode([message]), zipkin_json.decode([orjson.dumps(spans)])
    assert rows_of(by_proto) == rows_of(by_json)
    told = [(one.reason, one.records) for one in by_proto.refused]
    assert told == [(one.reason, one.records) for one in by_json.refused]


def test_span_ids_of_envoy_are_turned() -> None:
    told = {"traceId": "1234", "id": "00ab", "parentId": "00cd", "timestamp": 3}
    tags = {"component": "proxy", "node_id": "sidecar~shop"}
    message = list_of([told, {**told, "tags": tags}])
    as_told, envoys = spans_of(zipkin_proto.to_otlp(message.SerializeToString()))
    assert as_told.span_id == envoys.span_id[::-1] == bytes(7) + b"\xab"
    assert as_told.parent_span_id == envoys.parent_span_id[::-1] == bytes(7) + b"\xcd"
    assert as_told.trace_id == envoys.trace_id


@given(st.lists(SPANS, max_size=4))
def test_the_door_counts_as_the_decoder_does(spans: list[dict]) -> None:
    body = list_of(spans).SerializeToString()
    admitted, decoded = (
        admit("zipkin_proto", body, MaskedKeys(())),
        zipkin_proto.decode([body]),
    )
    assert admitted.records == len(rows_of(decoded))
    assert admitted.rejected == sum(one.records for one in decoded.refused)
    assert admitted.body == body


def test_tags_with_secrets_are_masked_at_the_door_in_place() -> None:
    span = {"traceId": "1", "id": "2", "timestamp": 3, "tags": {"Cookie": "id=1", "a": "id=1"}}
    body = list_of([span]).SerializeToString()
    masked = admit("zipkin_proto", body, MaskedKeys(["cookie"])).body
    assert len(masked) == len(body)
    assert dict(ListOfSpans.FromString(masked).spans[0].tags) == {"Cookie": "****", "a": "id=1"}


def test_an_id_that_is_too_long_refuses_its_span_only() -> None:
    message = list_of([{"traceId": "1", "id": "2", "timestamp": 3}] * 2)
    message.spans[0].id = b"x" * 9
    converted = zipkin_proto.to_otlp(message.SerializeToString())
    assert len(spans_of(converted)) == 1
    assert [(one.reason, one.records) for one in converted.refused] == [
        ("span id is not 16 hexadecimal digits", 1)
    ]


@given(st.binary(max_size=60))
def test_any_bytes_are_taken_or_refused_as_the_official_parser_does(body: bytes) -> None:
    decoded = zipkin_proto.decode([body])
    try:
        ANY_TEXT.FromString(body)
    except ProtobufError:
        assert decoded.refused[0].whole
        with pytest.raises(DecodeError, match="at byte"):
            admit("zipkin_proto", body, MaskedKeys())
    else:
        assert admit("zipkin_proto", body, MaskedKeys()).records == len(rows_of(decoded))
