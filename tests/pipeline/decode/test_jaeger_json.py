"""Jaeger JSON to OTLP, in all its shapes."""

import gzip
from pathlib import Path

import orjson
import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given, strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from pipeline.decode import jaeger_json
from pipeline.decode.otlp.via_otlp import Converted
from tests.golden import Golden
from tests.recordings import shared

HERE = Path(__file__).parent
CORPUS = "data/otlp-corpus"
START = 1_485_467_191_639_875_000


def as_text(converted: Converted) -> str:
    told = {
        "requests": [
            MessageToDict(ExportTraceServiceRequest.FromString(request))
            for request in converted.requests
        ],
        "refused": [[refused.reason, refused.records] for refused in converted.refused],
        "spans": converted.spans,
    }
    return orjson.dumps(told, option=orjson.OPT_INDENT_2).decode() + "\n"


def spans_of(converted: Converted) -> list[Span]:
    return [
        span
        for request in converted.requests
        for resource in ExportTraceServiceRequest.FromString(request).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def one(**fields: object) -> Span:
    span = {
        "traceID": "1",
        "spanID": "2",
        "operationName": "x",
        "startTime": 1,
        "process": {"serviceName": "s"},
        **fields,
    }
    converted = jaeger_json.to_otlp(orjson.dumps(span))
    assert converted.refused == ()
    return spans_of(converted)[0]


def test_answer_of_the_api(golden: Golden) -> None:
    document = (HERE / "golden/jaeger_api.in.json").read_bytes()
    golden.check(HERE / "golden/jaeger_api.out.json", as_text(jaeger_json.to_otlp(document)))


def test_short_ids_get_zeros_in_front() -> None:
    span = one(traceID="abc", spanID="1", references=[])
    assert span.trace_id.hex() == "00000000000000000000000000000abc"
    assert span.span_id.hex() == "0000000000000001"


def test_model_form_with_base64_ids_and_go_times() -> None:
    span = one(
        traceID=None,
        spanID=None,
        traceId="AAAAAAAAAABSlpqJVVcaPw==",
        spanId="AAAAAABkfZg=",
        startTime="2017-01-26T16:46:31.639875-05:00",
        duration="22938000ns",
        tags=[
            {"key": "span.kind", "vType": "STRING", "vStr": "server"},
            {"key": "peer.port", "vType": "INT64", "vInt64": "53931"},
            {"key": "empty", "vType": "STRING"},
        ],
    )
    assert span.trace_id.hex() == "00000000000000005296" + "9a8955571a3f"
    assert span.start_time_unix_nano == START
    assert span.end_time_unix_nano - START == 22_938_000
    assert span.kind == Span.SPAN_KIND_SERVER
    assert {tag.key: tag.value.WhichOneof("value") for tag in span.attributes} == {
        "peer.port": "int_value",
        "empty": "string_value",
    }


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [("5000ns", 5000), ("1.5ms", 1_500_000), ("2µs", 2000), ("1m0.25s", 60_250_000_000), (7, 7000)],
)
def test_durations(text: object, nanoseconds: int) -> None:
    span = one(duration=text)
    assert span.end_time_unix_nano - span.start_time_unix_nano == nanoseconds


def test_thrift_batch_takes_its_parent_from_the_span() -> None:
    batch = {
        "process": {"serviceName": "api"},
        "spans": [
            {
                "traceIdLow": 5951113872249657919,
                "spanId": 6585752,
                "parentSpanId": 6866147,
                "operationName": "get",
                "startTime": START // 1000,
                "duration": 22938,
            }
        ],
    }
    span = spans_of(jaeger_json.to_otlp(orjson.dumps(batch)))[0]
    assert int.from_bytes(span.trace_id) == 5951113872249657919
    assert int.from_bytes(span.parent_span_id) == 6866147


def test_parent_is_the_first_child_of_in_the_same_trace() -> None:
    span = one(
        references=[
            {"refType": "FOLLOWS_FROM", "traceID": "1", "spanID": "a"},
            {"refType": "CHILD_OF", "traceID": "9", "spanID": "b"},
            {"refType": "CHILD_OF", "traceID": "1", "spanID": "c"},
            {"refType": "CHILD_OF", "traceID": "1", "spanID": "d"},
        ]
    )
    assert int.from_bytes(span.parent_span_id) == 0xC
    assert [int.from_bytes(link.span_id) for link in span.links] == [0xA, 0xB, 0xD]


def test_elasticsearch_keeps_tags_as_a_map() -> None:
    span = one(tag={"http@method": "GET", "span@kind": "client"})
    assert span.kind == Span.SPAN_KIND_CLIENT
    assert [tag.key for tag in span.attributes] == ["http.method"]


def test_a_negative_duration_stays_negative() -> None:
    span = one(startTime=1000, duration=-3)
    assert span.end_time_unix_nano - span.start_time_unix_nano == -3000


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"traceID": "xyz"}, "trace id is not 32 hexadecimal digits"),
        ({"traceID": "0"}, "trace id is zero"),
        ({"traceID": 2**64 - 1 + 0.5}, "trace id is missing"),
        ({"traceID": "====="}, "trace id is not base64"),
        ({"traceID": "AAAA" * 40 + "AA=="}, "trace id is not 32 hexadecimal digits"),
        ({"spanID": None}, "span id is missing"),
        ({"startTime": None}, "start time is missing"),
        ({"startTime": [1]}, "start time is not a number"),
        ({"startTime": -1}, "start time is out of range"),
        ({"startTime": 1e300}, "start time is out of range"),
        ({"startTime": "2017-99-26T16:46:31Z"}, "start time is not a time"),
        ({"duration": "long"}, "duration is not a number"),
        ({"duration": -2}, "end time is out of range"),
    ],
)
def test_a_bad_span_is_refused_with_a_reason(fields: dict[str, object], reason: str) -> None:
    good = {"traceID": "1", "spanID": "2", "operationName": "x", "startTime": 1}
    trace = {"spans": [good, {**good, **fields}]}
    converted = jaeger_json.to_otlp(orjson.dumps(trace))
    assert converted.spans == 1
    assert [(refused.reason, refused.records) for refused in converted.refused] == [(reason, 1)]


def test_a_bad_line_is_refused_and_the_others_are_taken() -> None:
    line = b'{"traceID":"1","spanID":"2","operationName":"x","startTime":1}'
    converted = jaeger_json.to_otlp(line + b"\n{oops\n" + line)
    assert converted.spans == 2
    assert [(refused.reason, refused.offset) for refused in converted.refused] == [
        ("not JSON", len(line) + 2)
    ]


def test_every_recording_is_taken() -> None:
    unnamed = {"TraceGraph__testTrace.json", "tableValuesTestTrace__testTrace.json"}
    no_traces = {"sample_data__large.json", "sample_data__small.json"}
    for path in sorted(shared(f"{CORPUS}/jaeger-json").rglob("*.json")):
        converted = jaeger_json.to_otlp(path.read_bytes())
        reasons = {refused.reason for refused in converted.refused}
        if path.name in no_traces:
            assert reasons == {"not a Jaeger trace"}, path
        elif path.name in unnamed:
            assert reasons == {"trace id is not 32 hexadecimal digits"}, path
        else:
            assert converted.spans, path
            # a few of CRISP's made-up traces name spans by letters past F
            assert reasons <= {"span id is not 16 hexadecimal digits"}, path


def test_recursive_references_of_a_real_answer() -> None:
    path = shared("data/traces-deathstarbench-socialnet/jaeger_api_response.json.gz")
    converted = jaeger_json.to_otlp(gzip.decompress(path.read_bytes()))
    assert (converted.spans, converted.refused) == (660, ())


def test_otlp_turned_to_jaeger_and_back_is_the_same() -> None:
    folder = shared(f"{CORPUS}/otlp-to-jaeger-pairs/jaeger-ui")
    otlp = orjson.loads((folder / "otlp2jaeger-in.json").read_bytes())
    converted = jaeger_json.to_otlp((folder / "otlp2jaeger-out.json").read_bytes())
    assert [
        (
            span.trace_id.hex(),
            span.span_id.hex(),
            span.parent_span_id.hex(),
            span.name,
            span.kind,
            str(span.start_time_unix_nano),
            str(span.end_time_unix_nano),
            [MessageToDict(attribute) for attribute in span.attributes],
        )
        for span in spans_of(converted)
    ] == [
        (
            span["traceId"],
            span["spanId"],
            span["parentSpanId"],
            span["name"],
            span["kind"],
            span["startTimeUnixNano"],
            span["endTimeUnixNano"],
            span["attributes"],
        )
        for resource in otlp["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]


@given(st.binary(max_size=200))
def test_any_bytes_are_answered(document: bytes) -> None:
    converted = jaeger_json.to_otlp(document)
    assert converted.spans == len(spans_of(converted))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
KEYS = (
    "traceID", "traceId", "traceIdLow", "spanID", "parentSpanID", "operationName", "references",
    "startTime", "duration", "tags", "tag", "logs", "process", "flags", "warnings", "data", "spans",
    "key", "vType", "value", "fields", "refType", "timestamp",
)  # fmt: skip


@given(
    st.recursive(
        st.dictionaries(st.sampled_from(KEYS), JSON),
        lambda inner: st.dictionaries(st.sampled_from(KEYS), inner | st.lists(inner, max_size=3)),
        max_leaves=8,
    )
)
def test_any_json_is_answered(value: object) -> None:
    good = {"traceID": "1", "spanID": "2", "operationName": "x", "startTime": 1}
    spans = [good, value, {**good, **value}] if isinstance(value, dict) else [value]
    try:
        text = orjson.dumps({"data": [{"spans": spans}, value]})
    except TypeError:  # integers beyond 64 bits
        return
    converted = jaeger_json.to_otlp(text)
    assert converted.spans == len(spans_of(converted))
    assert converted.spans + sum(refused.records for refused in converted.refused) >= len(spans)


def test_arrays_in_arrays_are_not_followed_by_recursion() -> None:
    converted = jaeger_json.to_otlp(b"[" * 1000 + b"]" * 1000)
    assert converted == Converted()
