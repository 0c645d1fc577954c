"""OTLP requests cut to size lose nothing and gain nothing."""

import io

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collectors.cut.body import LEVELS, groups, smaller
from collectors.formats import LOGS, TRACES
from pipeline.errors import DecodeError, MessageTooLarge
from pipeline.model.topics import DOCUMENT_FORMATS, FORMATS, FormatKind


def request(resources: int, spans: int) -> ExportTraceServiceRequest:
    made = ExportTraceServiceRequest()
    for resource in range(resources):
        group = made.resource_spans.add(schema_url="https://example.com/1")
        group.resource.attributes.add(key="service.name").value.string_value = f"s{resource}"
        scope = group.scope_spans.add()
        scope.scope.name = "lib"
        for span in range(spans):
            scope.spans.add(trace_id=b"t" * 16, span_id=span.to_bytes(8), name="x" * 100)
    return made


def test_groups_are_read_one_at_a_time() -> None:
    made = request(3, 2)
    found = list(groups(io.BytesIO(made.SerializeToString()), limit=10_000))
    assert len(found) == 3
    assert b"".join(found) == made.SerializeToString()
    assert (
        ExportTraceServiceRequest.FromString(found[1]).resource_spans[0] == (made.resource_spans[1])
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x12\x00", "not a resource group"),
        (b"\x0a", "broken length"),
        (b"\x0a" + b"\xff" * 12, "broken length"),
        (b"\x0a\x05abc", "the file ends in the middle of a resource group"),
    ],
)
def test_broken_groups_are_told(data: bytes, reason: str) -> None:
    with pytest.raises(DecodeError) as caught:
        list(groups(io.BytesIO(data), limit=100))
    assert caught.value.reason == reason


def test_a_group_past_the_limit_is_not_read() -> None:
    with pytest.raises(MessageTooLarge):
        list(groups(io.BytesIO(b"\x0a\xff\xff\xff\x7f"), limit=100))


def test_large_requests_are_cut_between_records() -> None:
    made = request(2, 50)
    parts = [
        ExportTraceServiceRequest.FromString(part)
        for part in smaller(TRACES, made.SerializeToString(), size=1000)
    ]
    assert len(parts) > 2
    spans = []
    for part in parts:
        (group,) = part.resource_spans
        assert part.ByteSize() <= 1000
        assert group.schema_url == "https://example.com/1"
        assert group.scope_spans[0].scope.name == "lib"
        name = group.resource.attributes[0].value.string_value
        spans += [(name, span.span_id) for span in group.scope_spans[0].spans]
    assert spans == [(f"s{one}", span.to_bytes(8)) for one in range(2) for span in range(50)]


def test_small_requests_stay_as_they_are() -> None:
    assert list(smaller(LOGS, b"anything", size=100)) == [b"anything"]


@pytest.mark.parametrize("name", DOCUMENT_FORMATS)
def test_documents_are_cut_between_the_items_of_an_array(name: str) -> None:
    assert list(smaller(name, b"[{}, {}]", size=4)) == [b"[{}]", b"[{}]"]


def test_every_format_of_protobuf_says_where_its_records_lie() -> None:
    assert set(LEVELS) == {
        name for name, format in FORMATS.items() if format.kind is FormatKind.PROTOBUF
    }
