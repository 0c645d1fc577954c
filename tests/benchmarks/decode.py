"""Decoding of traces, access logs and metrics to Arrow, and the check at the door, on one core.

Run ``python -m tests.benchmarks.decode``. Times are processor time of this process, so that
neighbours do not count; each figure is the median of several rounds. In the same run a plain loop
over the official protobuf objects builds the same columns.
"""

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
import pyarrow as pa
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pipeline.decode import DECODERS
from pipeline.decode.door import MaskedKeys, admit
from pipeline.decode.otlp.attributes import SPAN_ATTRIBUTES
from pipeline.decode.otlp_traces import decode
from pipeline.model.tables import SPANS as TABLE
from tests.benchmarks import als_entries, metric_scrapes
from tests.benchmarks.mesh_spans import SPANS, pairs

ROUNDS = 7
REQUESTS = 40
COLUMN_OF = {
    name: column for column, promoted in SPAN_ATTRIBUTES.items() for name in promoted.names
}


@dataclass(frozen=True)
class Measured:
    """The answer: bytes of a span, spans a second and core, and how many times the plain loop."""

    bytes_per_span: int
    decode_many_requests: int
    decode_single_requests: int
    door: int
    plain_loop: int
    times_plain_loop: float


def plain_loop(bodies: list[bytes]) -> pa.Table:
    """What one would write first: objects, a loop, lists."""
    columns: dict[str, list[object]] = {name: [] for name in TABLE.names}
    for body in bodies:
        for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for of_scope in of_resource.scope_spans:
                for span in of_scope.spans:
                    for name, value in _plain_row(span).items():
                        columns[name].append(value)
    arrays = [
        pa.array(columns[column.name], TABLE.arrow.field(column.name).type) for column in TABLE
    ]
    return pa.table(arrays, TABLE.arrow)


def _plain_row(span) -> dict[str, object]:
    row: dict[str, object] = dict.fromkeys(TABLE.names)
    row["trace_id_high"] = int.from_bytes(span.trace_id[:8])
    row["trace_id_low"] = int.from_bytes(span.trace_id[8:])
    row["span_id"] = int.from_bytes(span.span_id)
    row["parent_span_id"] = int.from_bytes(span.parent_span_id) or None
    row["name"] = span.name
    row["kind"] = span.kind
    row["start_time"] = span.start_time_unix_nano
    row["duration_ns"] = span.end_time_unix_nano - span.start_time_unix_nano
    row["status_code"] = span.status.code
    row["status_message"] = span.status.message or None
    row["trace_state"] = span.trace_state or None
    rest = {}
    for pair in span.attributes:
        value = getattr(pair.value, pair.value.WhichOneof("value"))
        column = COLUMN_OF.get(pair.key)
        if column is None:
            rest[pair.key] = value
        else:
            row[column] = value
    row["attributes"] = orjson.dumps(rest).decode() if rest else None
    return row


def rate(work: Callable[[], object], spans: int, rounds: int = ROUNDS) -> int:
    """Spans per second of processor time, the median of some rounds after one to warm up."""
    work()
    seconds = []
    for _ in range(rounds):
        begin = time.process_time()
        work()
        seconds.append(time.process_time() - begin)
    return round(spans / statistics.median(seconds))


def run() -> list[Measured]:
    """Measure."""
    traffic = (body for pair in pairs(1, 1_764_000_000_000_000_000, REQUESTS) for body in pair)
    bodies = [next(traffic) for _ in range(REQUESTS)]
    spans = SPANS * len(bodies)
    masked = MaskedKeys()
    many = rate(lambda: decode(bodies), spans)
    plain = rate(lambda: plain_loop(bodies), spans, rounds=3)
    return [
        Measured(
            bytes_per_span=sum(map(len, bodies)) // spans,
            decode_many_requests=many,
            decode_single_requests=rate(lambda: [decode([body]) for body in bodies], spans),
            door=rate(lambda: [admit("otlp_traces", body, masked) for body in bodies], spans),
            plain_loop=plain,
            times_plain_loop=round(many / plain, 1),
        )
    ]


LINES = {
    "envoy_text": (
        '[2026-03-02T10:15:{n:02}.250Z] "GET /cart/{n} HTTP/1.1" 200 - via_upstream - "-" 0 512 31 '
        '30 "-" "checkout/2.1" "6e7b1c1e-0a0d-9d4b-8b52-{id:012x}" "cart.shop:8080" '
        '"10.8.2.{n}:8080" outbound|8080|v1|cart-{n}.shop.svc.cluster.local 10.8.1.{n}:{port} '
        "10.96.14.3:8080 10.8.1.{n}:5399 - default"
    ),
    "envoy_json": (
        '{{"start_time":"2026-03-02T10:15:{n:02}.252Z","route_name":"default","method":"GET",'
        '"path":"/cart/{n}?page=1","protocol":"HTTP/1.1","response_code":200,"response_flags":"-",'
        '"response_code_details":"via_upstream","connection_termination_details":null,'
        '"bytes_received":0,"bytes_sent":512,"duration":27,"upstream_service_time":"26",'
        '"x_forwarded_for":null,"user_agent":"checkout/2.1",'
        '"request_id":"6e7b1c1e-0a0d-9d4b-8b52-{id:012x}","authority":"cart.shop:8080",'
        '"upstream_host":"10.8.2.{n}:8080","upstream_cluster":"inbound|8080||",'
        '"upstream_local_address":"127.0.0.6:{port}","downstream_local_address":"10.8.2.{n}:8080",'
        '"downstream_remote_address":"10.8.1.5:{port}","requested_server_name":'
        '"outbound_.8080_._.cart-{n}.shop.svc.cluster.local",'
        '"upstream_transport_failure_reason":null}}'
    ),
    "linkerd_json": (
        '{{"client.addr":"10.42.0.{n}:{port}","client.id":"web-{n}.shop.serviceaccount.identity.'
        'linkerd.cluster.local","host":"cart:7000","method":"GET","processing_ns":"39826",'
        '"request_bytes":"","response_bytes":"19627","status":200,"timestamp":'
        '"2026-03-02T10:15:{n:02}.321746212Z","total_ns":"14441135","trace_id":"",'
        '"uri":"http://cart:7000/{n}","user_agent":"Go-http-client/1.1","version":"HTTP/2.0"}}'
    ),
    "linkerd_apache": (
        "10.42.0.{n}:{port} web-{n}.shop.serviceaccount.identity.linkerd.cluster.local - "
        '[2026-03-02T10:15:{n:02}.071809491Z] "GET http://cart:7000/{id} HTTP/2.0" 200 2350'
    ),
    "ztunnel": (
        "2026-03-02T10:15:{n:02}.182974Z\tinfo\taccess\tconnection complete\t"
        'src.addr=10.244.0.{n}:{port} src.workload="shell-6d8bcd654d-t88gp" '
        'src.namespace="default" src.identity="spiffe://cluster.local/ns/default/sa/shell" '
        "dst.addr=10.244.0.42:15008 dst.hbone_addr=10.96.108.{n}:80 "
        'dst.service="echo-{n}.default.svc.cluster.local" direction="outbound" bytes_sent={id} '
        'bytes_recv=490 duration="13ms"'
    ),
    "combined": (
        '203.0.113.{n} - - [02/Mar/2026:10:15:{n:02} +0000] "GET /items/{id}?q=1 HTTP/1.1" 200 5316'
        ' "https://www.example.com/start" "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"'
    ),
}
KONG = Path(__file__).parents[1] / "pipeline/decode/golden/kong_json.in.jsonl"
LINE_MESSAGES = 6
ALS_MESSAGES = 50
SCRAPES = 20


@dataclass(frozen=True)
class LogsMeasured:
    """Of one format of logs or metrics: bytes of a record, and records a second and core."""

    format: str
    bytes_per_record: int
    decode: int
    door: int


def lines_of(form: str) -> list[bytes]:
    """Messages of about 1 MiB, each line different."""
    messages = []
    for message in range(LINE_MESSAGES):
        lines = (1 << 20) // len(form)
        texts = (
            form.format(n=number % 60, id=message * lines + number, port=1024 + number % 60_000)
            for number in range(lines)
        )
        messages.append("\n".join(texts).encode() + b"\n")
    return messages


def records_of_kong() -> list[bytes]:
    """Messages of about 1 MiB of Kong's log records, each record different."""
    record = orjson.loads(KONG.read_bytes().splitlines()[0])
    record["tries"] = record["tries"][-1:]  # a request that was tried again is the exception
    record["upstream_status"] = "200"
    messages = []
    for message in range(LINE_MESSAGES):
        records = []
        for number in range((1 << 20) // len(orjson.dumps(record))):
            record["started_at"] += 1
            record["request"]["id"] = f"{message:016x}{number:016x}"
            record["latencies"]["proxy"] = number % 500
            record["client_ip"] = f"10.8.{number % 4}.{number % 250}"
            records.append(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))
        messages.append(b"".join(records))
    return messages


def run_logs() -> list[LogsMeasured]:
    """Measure access logs: lines, and Envoy's service."""
    lines = {name: lines_of(form) for name, form in LINES.items()}
    lines["kong_json"] = records_of_kong()
    counts = {name: sum(one.count(b"\n") for one in found) for name, found in lines.items()}
    streamed = list(als_entries.messages(ALS_MESSAGES))
    measured = {**lines, "envoy_als": streamed}
    counts["envoy_als"] = als_entries.ENTRIES * len(streamed)
    return [_measure(name, messages, counts[name]) for name, messages in measured.items()]


def run_metrics() -> list[LogsMeasured]:
    """Measure metrics: scraped text, and remote write."""
    bodies = {"prometheus_text": metric_scrapes.scrapes(SCRAPES), **metric_scrapes.writes(SCRAPES)}
    records = SCRAPES * metric_scrapes.SAMPLES
    return [_measure(name, messages, records) for name, messages in bodies.items()]


def _measure(name: str, messages: list[bytes], records: int) -> LogsMeasured:
    masked = MaskedKeys()
    decoder = DECODERS[name]
    return LogsMeasured(
        name,
        sum(map(len, messages)) // records,
        rate(lambda: decoder(messages), records),
        rate(lambda: [admit(name, one, masked) for one in messages], records, rounds=3),
    )


def main() -> None:
    """Print what was measured."""
    for measured in (*run(), *run_logs(), *run_metrics()):
        print(json.dumps(asdict(measured), indent=2))


if __name__ == "__main__":
    main()
