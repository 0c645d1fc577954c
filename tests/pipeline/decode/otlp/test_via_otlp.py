"""The way of foreign formats through the decoder of OTLP."""

import orjson
import polars as pl

from pipeline.decode import jaeger_json, zipkin_json
from pipeline.model.decoded import Refusal
from pipeline.model.tables import SPANS

JAEGER = {
    "traceID": "1f",
    "spanID": "2",
    "operationName": "GET /cart",
    "startTime": 1_700_000_000_000_000,
    "duration": 2500,
    "tags": [
        {"key": "span.kind", "type": "string", "value": "server"},
        {"key": "http.status_code", "type": "int64", "value": 503},
        {"key": "custom", "type": "string", "value": "kept"},
    ],
    "process": {"serviceName": "cart", "tags": []},
}
ZIPKIN = {"traceId": "1f", "id": "2", "timestamp": 1_700_000_000_000_000, "tags": {"a": "b"}}


def test_spans_become_rows_with_promoted_columns() -> None:
    decoded = jaeger_json.decode([orjson.dumps(JAEGER)])
    assert decoded.refused == ()
    assert decoded.batches["spans"].column_names == list(SPANS.names)
    (row,) = pl.DataFrame(decoded.batches["spans"]).to_dicts()
    assert (row["trace_id_high"], row["trace_id_low"], row["span_id"]) == (0, 0x1F, 2)
    assert (row["kind"], row["duration_ns"]) == (2, 2_500_000)
    assert row["http_response_status_code"] == 503
    assert orjson.loads(row["attributes"]) == {"custom": "kept"}
    (resource,) = pl.DataFrame(decoded.batches["resources"]).to_dicts()
    assert resource["service_name"] == "cart"
    assert resource["resource_id"] == row["resource_id"]


def test_refusals_name_the_message_they_are_from() -> None:
    bad = {**ZIPKIN, "timestamp": None}
    decoded = zipkin_json.decode(
        [
            b"{not json",
            orjson.dumps([ZIPKIN]),
            orjson.dumps([ZIPKIN, bad, bad]),
            b"x",
            orjson.dumps([bad]),
        ]
    )
    assert decoded.batches["spans"].num_rows == 2
    assert decoded.refused == (
        Refusal(0, "not JSON", offset=1, whole=True),
        Refusal(2, "timestamp is missing", records=2),
        Refusal(3, "not JSON", offset=0, whole=True),
        Refusal(4, "timestamp is missing", whole=True),
    )


def test_messages_without_spans_give_no_rows() -> None:
    decoded = jaeger_json.decode([b'{"data": []}'])
    assert (dict(decoded.batches), decoded.refused) == ({}, ())
