"""The check at the door."""

import pytest
from envoy.service.accesslog.v3.als_pb2 import StreamAccessLogsMessage
from google.protobuf.message import DecodeError as ProtobufError
from hypothesis import given, strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList

from pipeline.decode import DECODERS
from pipeline.decode.door import MaskedKeys, admit, gate_of
from pipeline.decode.gates.document_gate import DocumentGate
from pipeline.decode.gates.exposition_gate import ExpositionGate
from pipeline.decode.gates.line_gate import LineGate
from pipeline.decode.gates.wire_gate import WireGate
from pipeline.errors import DecodeError, InvalidInput
from pipeline.model.tables import SPANS
from pipeline.model.topics import FORMATS, LINE_FORMATS, FormatKind
from tests.pipeline.decode.bytes_twin import bytes_twin
from tests.pipeline.decode.trace_oracle import TRACE_REQUESTS
from tests.pipeline.decode.wire_writer import encode, tagged, varint

NOTHING = MaskedKeys(())
GATES = {
    FormatKind.PROTOBUF: WireGate,
    FormatKind.LINES: LineGate,
    FormatKind.EXPOSITION: ExpositionGate,
    FormatKind.DOCUMENTS: DocumentGate,
}
ANY_TEXT = bytes_twin(ExportTraceServiceRequest)


def text(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))


def request_of(*attributes: KeyValue) -> ExportTraceServiceRequest:
    """A request that has the attributes everywhere where attributes can be."""
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.extend(attributes)
    scope_spans = group.scope_spans.add()
    scope_spans.scope.attributes.extend(attributes)
    span = scope_spans.spans.add(trace_id=b"t" * 16, span_id=b"s" * 8, attributes=attributes)
    span.events.add(attributes=attributes)
    span.links.add(attributes=attributes)
    return request


def masked(*attributes: KeyValue, keys: tuple[str, ...]) -> ExportTraceServiceRequest:
    """What the door makes of a request with these attributes."""
    body = request_of(*attributes).SerializeToString()
    admission = admit("otlp_traces", body, MaskedKeys(keys))
    assert len(admission.body) == len(body)
    return ExportTraceServiceRequest.FromString(admission.body)


def test_a_good_body_passes_as_it_is():
    body = request_of(text("a", "b")).SerializeToString()
    admission = admit("otlp_traces", body, MaskedKeys())
    assert admission.body is body
    assert (admission.records, admission.rejected, admission.reason) == (1, 0, "")


def test_values_of_masked_keys_are_overwritten_everywhere():
    told = masked(text("Authorization", "Bearer x"), text("a", "Bearer x"), keys=("authorization",))
    assert told == request_of(text("Authorization", "********"), text("a", "Bearer x"))


def test_masking_reaches_into_lists_and_bytes():
    def nested(secret: AnyValue) -> tuple[KeyValue, ...]:
        pairs = KeyValueList(values=[KeyValue(key="password", value=secret), text("user", "ann")])
        return (
            KeyValue(key="form", value=AnyValue(kvlist_value=pairs)),
            KeyValue(key="password", value=AnyValue(array_value=ArrayValue(values=[secret]))),
        )

    told = masked(*nested(AnyValue(bytes_value=b"pass")), keys=("password",))
    assert told == request_of(*nested(AnyValue(bytes_value=b"****")))


def test_of_urls_only_what_is_secret_in_them_is_masked():
    def urls(secret: str) -> tuple[KeyValue, ...]:
        return (
            text("url.full", f"https://u:{secret}@shop/a?access_token={secret}&x=1"),
            text("url.query", f"key={secret}&x=1"),
            text("http.request.header.referer", f"/a?sig={secret}"),
            text("url.path", f"/token={secret}"),
        )

    told = masked(*urls("hunter2"), keys=())
    hidden = urls("*******")[:3]
    user = hidden[0].value.string_value.replace("u:", "**")
    assert told == request_of(text("url.full", user), *hidden[1:], urls("hunter2")[3])


def test_of_paths_of_access_logs_only_what_is_secret_in_them_is_masked():
    def message(secret: str) -> StreamAccessLogsMessage:
        told = StreamAccessLogsMessage()
        request = told.http_logs.log_entry.add().request
        request.path = f"/a?token={secret}&b=1"
        request.original_path = f"/o?api_key={secret}"
        request.referer = f"https://h/?code={secret}"
        request.request_headers["x-original-uri"] = f"/?password={secret}"
        request.user_agent = "token=kept"
        return told

    body = message("abc").SerializeToString(deterministic=True)
    admission = admit("envoy_als", body, NOTHING)
    assert StreamAccessLogsMessage.FromString(admission.body) == message("***")


def test_numbers_are_not_masked():
    number = KeyValue(key="password", value=AnyValue(int_value=5))
    assert masked(number, keys=("password",)) == request_of(number)


def test_the_usual_secrets_are_masked_where_nothing_is_said():
    body = request_of(text("http.request.header.Cookie", "id=1")).SerializeToString()
    assert b"id=1" not in admit("otlp_traces", body, MaskedKeys()).body


def test_headers_of_access_logs_are_masked_by_their_name_as_attributes():
    headers = b"".join(
        tagged(12, 2, tagged(1, 2, name) + tagged(2, 2, b"secret"))
        for name in (b"authorization", b"other")
    )
    # an HTTP entry whose request has these headers
    body = tagged(2, 2, tagged(1, 2, tagged(3, 2, headers.replace(varint(12 << 3 | 2), b"\x6a"))))
    told = admit("envoy_als", body, MaskedKeys(["http.request.header.authorization"]))
    assert told.body == body.replace(b"secret", b"******", 1)
    assert told.records == 1


def test_malformed_bodies_are_refused_with_their_offset():
    body = request_of().SerializeToString()
    with pytest.raises(DecodeError, match=r"otlp_traces: .* at byte 0") as caught:
        admit("otlp_traces", body[:-1], NOTHING)
    assert (caught.value.offset, caught.value.format) == (0, "otlp_traces")


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_has_a_gate_and_nothing_at_all_is_no_record(name):
    assert isinstance(gate_of(name), GATES[FORMATS[name].kind])
    admission = admit(name, b"", NOTHING)
    assert (admission.body, admission.records, admission.rejected) == (b"", 0, 0)


def test_of_a_format_that_is_not_known_nothing_is_admitted():
    with pytest.raises(InvalidInput, match="otlp_traces"):
        admit("nothing", b"", NOTHING)


def test_records_that_decoding_will_refuse_are_counted():
    request = request_of()
    request.resource_spans[0].scope_spans[0].spans.add(trace_id=b"short", span_id=b"s" * 8)
    admission = admit("otlp_traces", request.SerializeToString(), NOTHING)
    assert (admission.records, admission.rejected) == (1, 1)
    assert admission.reason == "trace id is not 16 bytes"


@given(TRACE_REQUESTS)
def test_the_door_counts_as_the_decoder_does(request_):
    body = encode(request_)
    admission = admit("otlp_traces", body, NOTHING)
    decoded = DECODERS["otlp_traces"]([body])
    rows = decoded.batches[SPANS.name].num_rows if decoded.batches else 0
    assert admission.records == rows
    assert admission.rejected == sum(refused.records for refused in decoded.refused)


@given(st.binary(max_size=40))
def test_any_bytes_are_admitted_or_refused_as_the_official_parser_does(body):
    try:
        ANY_TEXT.FromString(body)
    except ProtobufError:
        with pytest.raises(DecodeError):
            admit("otlp_traces", body, MaskedKeys())
    else:
        assert len(admit("otlp_traces", body, MaskedKeys()).body) == len(body)


@pytest.mark.parametrize("name", LINE_FORMATS)
def test_bodies_of_nothing_but_short_lines_are_refused_before_they_take_memory(name):
    with pytest.raises(DecodeError, match="too short to be records"):
        admit(name, b"{}\n" * 20_000, MaskedKeys())
    few = admit(name, b"{}\n" * 1000, MaskedKeys())
    assert few.records + few.rejected == 1000
