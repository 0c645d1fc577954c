"""Import of files: every format, every wrapping, and what is told of bad input."""

import asyncio
import gzip
import struct
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import orjson
import pyarrow as pa
import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collectors.pieces import MESSAGE_BYTES
from collectors.receive.file import FileReport, Progress, import_files
from pipeline.bus.embedded import EmbeddedBus
from pipeline.decode import jaeger_json, zipkin_json
from pipeline.errors import InvalidInput
from pipeline.model.ledger import Flow, Ledger, Outcome
from pipeline.model.messages import Message, Partition
from pipeline.model.topics import OTLP_LOGS, OTLP_METRICS, OTLP_SPANS, RAW_TELEMETRY, TOPICS
from tests.recordings import TRACEWEAVER, nezha_requests, shared, traceweaver

SECRET = "Bearer abcdef"


def traces(spans: int = 1, *, first: int = 1, attribute: str = "a") -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.add(key="service.name").value.string_value = "shop"
    scope = group.scope_spans.add()
    for number in range(first, first + spans):
        span = scope.spans.add(
            trace_id=b"t" * 16,
            span_id=number.to_bytes(8),
            name="x",
            start_time_unix_nano=1_700_000_000_000_000_000,
            end_time_unix_nano=1_700_000_000_000_001_000,
        )
        span.attributes.add(key=attribute).value.string_value = SECRET
    return request


def otlp_json(request: ExportTraceServiceRequest) -> bytes:
    value = MessageToDict(request)
    for resource in value["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span, message in zip(
                scope["spans"], request.resource_spans[0].scope_spans[0].spans, strict=True
            ):
                span["traceId"] = message.trace_id.hex()
                span["spanId"] = message.span_id.hex()
    return orjson.dumps(value)


def jaeger(trace: int, spans: int = 1) -> dict[str, object]:
    return {
        "traceID": f"{trace:x}",
        "spans": [
            {
                "traceID": f"{trace:x}",
                "spanID": f"{span:x}",
                "operationName": "x",
                "startTime": 1_700_000_000_000_000,
                "duration": 5,
                "processID": "p1",
            }
            for span in range(1, spans + 1)
        ],
        "processes": {"p1": {"serviceName": "shop"}},
    }


class Imported:
    """What one import did: reports, messages, counts."""

    def __init__(
        self, reports: list[FileReport], messages: Sequence[Message], ledger: Ledger
    ) -> None:
        self.reports = reports
        self.messages = messages
        self.ledger = ledger

    @property
    def report(self) -> FileReport:
        """The report, where one file was imported."""
        (report,) = self.reports
        return report

    def of(self, topic: str) -> list[bytes]:
        """The values of the messages of a topic."""
        return [message.value for message in self.messages if message.partition.topic == topic]

    def spans(self) -> list[int]:
        """The ids of all spans on the topic of OTLP spans."""
        return [
            int.from_bytes(span.span_id)
            for value in self.of(OTLP_SPANS)
            for resource in ExportTraceServiceRequest.FromString(value).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


def imported(
    tmp_path: Path,
    *paths: Path,
    name: str = "auto",
    progress: list[Progress] | None = None,
) -> Imported:
    ledger = Ledger()
    told = [] if progress is None else progress

    async def run() -> Imported:
        bus = EmbeddedBus(tmp_path / "bus")
        await bus.start()
        try:
            reports = await import_files(
                paths, format=name, bus=bus, ledger=ledger, on_progress=told.append
            )
            messages = []
            positions = {Partition(topic): 0 for topic in TOPICS}
            while found := await bus.read(positions, max_bytes=1 << 24, wait=0.0):
                messages += found
                for message in found:
                    positions[message.partition] = message.offset + 1
            return Imported(reports, messages, ledger)
        finally:
            await bus.stop()

    return asyncio.run(run())


def written(tmp_path: Path, content: bytes, name: str = "recording") -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


def zstd(content: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(content, asbytes=True))


def framed(*messages: bytes) -> bytes:
    return b"".join(struct.pack(">I", len(message)) + message for message in messages)


ONE, TWO = traces(2), traces(1, first=3)
CONTENTS = {
    "bare protobuf": ONE.SerializeToString() + TWO.SerializeToString(),
    "framed protobuf": framed(ONE.SerializeToString(), TWO.SerializeToString()),
    "framed zstd protobuf": framed(*(zstd(one.SerializeToString()) for one in (ONE, TWO))),
    "framed zstd json": framed(*(zstd(otlp_json(one)) for one in (ONE, TWO))),
    "lines": otlp_json(ONE) + b"\n" + otlp_json(TWO) + b"\n",
    "documents": b"\n".join(
        orjson.dumps(orjson.loads(otlp_json(one)), option=orjson.OPT_INDENT_2) for one in (ONE, TWO)
    ),
    "array": b"[" + otlp_json(ONE) + b",\n" + otlp_json(TWO) + b"]",
}


@pytest.mark.parametrize("packing", ["plain", "gzip", "zstd"])
@pytest.mark.parametrize("content", CONTENTS)
def test_otlp_in_every_wrapping(tmp_path: Path, content: str, packing: str) -> None:
    pack = {"plain": bytes, "gzip": gzip.compress, "zstd": zstd}[packing]
    found = imported(tmp_path, written(tmp_path, pack(CONTENTS[content])))
    report = found.report
    assert (report.format, report.accepted, report.quarantined, report.error) == (
        "otlp_traces",
        3,
        0,
        None,
    )
    assert found.spans() == [1, 2, 3]
    (message,) = found.messages
    assert message.headers["format"] == "otlp_traces"
    assert message.headers["source"] == "import"
    assert message.headers["records"] == "3"


def test_all_signals_of_the_corpus_are_taken(tmp_path: Path) -> None:
    paths = sorted(shared("data/otlp-corpus/otlp-json").rglob("*.json"))
    found = imported(tmp_path, *paths)
    assert {report.error for report in found.reports} == {None}
    # one point of one file says that it began in the year 2339
    assert [
        (Path(report.path).name, fault.reason)
        for report in found.reports
        for fault in report.faults
    ] == [("boolean_gauge.json", "a time after the year 2262")]
    assert {report.format for report in found.reports} == {
        "otlp_traces",
        "otlp_metrics",
        "otlp_logs",
    }
    points = sum(
        len(getattr(metric, metric.WhichOneof("data")).data_points)
        for value in found.of(OTLP_METRICS)
        for resource in ExportMetricsServiceRequest.FromString(value).resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.WhichOneof("data")
    )
    logs = sum(
        len(scope.log_records)
        for value in found.of(OTLP_LOGS)
        for resource in ExportLogsServiceRequest.FromString(value).resource_logs
        for scope in resource.scope_logs
    )
    on_bus: Counter[str] = Counter()
    for report in found.reports:
        on_bus[report.format] += report.accepted + report.quarantined
    assert on_bus == {
        "otlp_traces": len(found.spans()),
        "otlp_metrics": points,
        "otlp_logs": logs,
    }


def test_kialis_answer_with_base64_ids(tmp_path: Path) -> None:
    path = shared("data/otlp-corpus/kiali/responseTrace.json")
    found = imported(tmp_path, path)
    assert found.report.error is None
    assert found.report.quarantined == 0
    assert found.report.accepted == len(found.spans()) > 0


@pytest.mark.parametrize(("app", "spans"), [("hotel", 11_000), ("media", 27_000), ("node", 6_000)])
def test_traceweaver(tmp_path: Path, app: str, spans: int) -> None:
    found = imported(tmp_path, *traceweaver(app))
    assert sum(report.accepted for report in found.reports) == spans
    assert {report.format for report in found.reports} == {"jaeger_json"}
    assert all(len(message.value) <= MESSAGE_BYTES + 1024 for message in found.messages)
    converted = [jaeger_json.to_otlp(value) for value in found.of(RAW_TELEMETRY)]
    assert sum(one.spans for one in converted) == spans
    assert [one.refused for one in converted] == [()] * len(converted)


def test_zipkin_counts_what_the_decoder_will_set_aside(tmp_path: Path) -> None:
    path = shared("data/otlp-corpus/zipkin-v2-json/smartthings-mobile-web-install.json")
    found = imported(tmp_path, path)
    report = found.report
    assert (report.format, report.accepted, report.quarantined) == ("zipkin_json", 957, 84)
    assert report.faults[0].reason == "timestamp is missing"
    assert sum(zipkin_json.to_otlp(value).spans for value in found.of(RAW_TELEMETRY)) == 957


def test_nezha_goes_through_otlp(tmp_path: Path) -> None:
    path = written(tmp_path, b"".join(nezha_requests(limit=20_000)))
    found = imported(tmp_path, path)
    assert (found.report.accepted, found.report.quarantined) == (20_000, 0)
    assert len(found.spans()) == 20_000
    assert all(len(message.value) <= MESSAGE_BYTES + 1024 for message in found.messages)


def test_bad_lines_are_told_with_their_number_and_the_rest_goes_in(tmp_path: Path) -> None:
    lines = [orjson.dumps(jaeger(1)), b"{nonsense", orjson.dumps(jaeger(2)), b'{"x":1}']
    found = imported(tmp_path, written(tmp_path, b"\n".join(lines)))
    report = found.report
    assert (report.accepted, report.quarantined, report.error) == (2, 2, None)
    assert [(fault.place, fault.reason) for fault in report.faults] == [
        ("line 2", "not JSON"),
        ("line 4", "no telemetry in a known format"),
    ]


def test_counts_add_up_in_the_ledger(tmp_path: Path) -> None:
    bad = jaeger(2, spans=2)
    bad["spans"][1]["spanID"] = "zz"  # type: ignore[index]
    content = b"\n".join([orjson.dumps(jaeger(1)), orjson.dumps(bad), b"{oops"])
    found = imported(tmp_path, written(tmp_path, content), name="jaeger_json")
    assert (found.report.accepted, found.report.quarantined) == (2, 2)
    counts = found.ledger.snapshot()[Flow("import", "spans")]
    # the span that the decoder will set aside is on the bus, the line that is not JSON is not
    assert counts.outcomes == {
        Outcome.RECEIVED: 4,
        Outcome.ACCEPTED: 3,
        Outcome.REJECTED: 1,
    }
    assert [message.headers["records"] for message in found.messages] == ["3"]


def test_large_files_become_several_messages(tmp_path: Path) -> None:
    requests = [traces(400, first=1 + 400 * number) for number in range(20)]
    one_resource = traces(20_000)
    content = b"".join(one.SerializeToString() for one in [*requests, one_resource])
    found = imported(tmp_path, written(tmp_path, content))
    assert found.report.accepted == 28_000
    assert len(found.messages) > 2
    assert all(len(message.value) <= MESSAGE_BYTES + 1024 for message in found.messages)
    assert Counter(found.spans()) == Counter([*range(1, 8_001), *range(1, 20_001)])


def test_a_trace_larger_than_a_message_is_cut_between_spans(tmp_path: Path) -> None:
    content = orjson.dumps({"data": [jaeger(1, spans=12_000)]})
    assert len(content) > MESSAGE_BYTES
    found = imported(tmp_path, written(tmp_path, content))
    assert found.report.accepted == 12_000
    assert all(len(message.value) <= MESSAGE_BYTES + 1024 for message in found.messages)
    converted = [jaeger_json.to_otlp(value) for value in found.of(RAW_TELEMETRY)]
    assert sum(one.spans for one in converted) == 12_000


def test_masked_keys_do_not_reach_the_bus(tmp_path: Path) -> None:
    key = "http.request.header.authorization"
    trace = jaeger(1)
    trace["spans"][0]["tags"] = [  # type: ignore[index]
        {"key": key, "type": "string", "value": SECRET}
    ]
    span = {"traceId": "1", "id": "2", "timestamp": 5, "tags": {key: SECRET}}
    found = imported(
        tmp_path,
        written(tmp_path, orjson.dumps(trace), "jaeger"),
        written(tmp_path, orjson.dumps([span]), "zipkin"),
        written(tmp_path, traces(attribute=key).SerializeToString(), "otlp"),
    )
    assert [report.accepted for report in found.reports] == [1, 1, 1]
    assert len(found.messages) == 3
    assert [SECRET.encode() in message.value for message in found.messages] == [False] * 3


def test_progress_ends_at_the_size_of_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, gzip.compress(orjson.dumps(jaeger(1))))
    progress: list[Progress] = []
    imported(tmp_path, path, progress=progress)
    size = path.stat().st_size
    assert progress[-1] == Progress(str(path), size, size, 1, 0)


def test_a_file_that_cannot_be_read_does_not_keep_the_others_back(tmp_path: Path) -> None:
    good = written(tmp_path, orjson.dumps(jaeger(1)))
    found = imported(tmp_path, tmp_path / "missing", tmp_path, good)
    assert [report.error for report in found.reports] == [
        "No such file or directory",
        "Is a directory",
        None,
    ]
    assert [report.accepted for report in found.reports] == [0, 0, 1]


def test_a_gzip_file_that_ends_early_keeps_what_came_before(tmp_path: Path) -> None:
    lines = b"\n".join(orjson.dumps(jaeger(number, spans=50)) for number in range(1, 2000))
    packed = gzip.compress(lines)
    found = imported(tmp_path, written(tmp_path, packed[: len(packed) // 2]))
    assert found.report.error is not None
    assert "ends too early" in found.report.error
    assert found.report.accepted > 0


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"hello\nworld\n", "no telemetry in a known format"),
        (b'{"status":"success","data":{"result":[]}}', "no telemetry in a known format"),
        (b"\x0a\x05\x12\x03\x12\x01a", "not a request of OTLP"),
        (b"\x00\x00\x00\xffabc", "or is not OTLP"),
        (b"\x1f\x8b\x00\x00" + bytes(8), "nknown compression method"),
    ],
)
def test_what_is_no_recording_is_an_error(tmp_path: Path, content: bytes, error: str) -> None:
    found = imported(tmp_path, written(tmp_path, content))
    assert found.report.error is not None
    assert error in found.report.error
    assert found.messages == []


def test_an_empty_file_is_read_and_holds_nothing(tmp_path: Path) -> None:
    report = imported(tmp_path, written(tmp_path, b"")).report
    assert (report.accepted, report.quarantined, report.error) == (0, 0, None)


def test_a_named_format_is_believed(tmp_path: Path) -> None:
    span = {"traceId": "1", "id": "2", "timestamp": 5}
    path = written(tmp_path, orjson.dumps(span) + b"\n" + orjson.dumps({"name": "no ids"}))
    report = imported(tmp_path, path, name="zipkin").report
    assert (report.format, report.accepted, report.quarantined) == ("zipkin_json", 1, 1)
    assert report.faults[0].reason == "not a Zipkin span"


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="format"):
        imported(tmp_path, name="csv")


def test_every_file_of_traceweaver_is_told_apart() -> None:
    assert len(list(shared(TRACEWEAVER).glob("*.gz"))) == 6
