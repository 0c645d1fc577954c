"""Decoding: bytes of OTLP trace requests to Arrow, and the check at the door, on one core.

Run ``python -m tests.benchmarks.decode``. Times are processor time of this process, so that
neighbours do not count; each figure is the median of several rounds. In the same run a plain loop
over the official protobuf objects builds the same columns.
"""

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import orjson
import pyarrow as pa
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pipeline.decode.attributes import SPAN_ATTRIBUTES
from pipeline.decode.door import MaskedKeys, admit
from pipeline.decode.otlp_traces import decode
from pipeline.model.tables import SPANS as TABLE
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


def main() -> None:
    """Print what was measured."""
    for measured in run():
        print(json.dumps(asdict(measured), indent=2))


if __name__ == "__main__":
    main()
