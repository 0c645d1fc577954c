"""Messages of a small mesh for the bus, made with the official classes, and what a store has."""

import random
from collections.abc import Sequence

import polars as pl
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from pipeline.model.tables import DERIVED, INTERNED, QUARANTINE, RAW
from pipeline.model.topics import OTLP_LOGS, OTLP_METRICS, OTLP_SPANS, RAW_TELEMETRY
from pipeline.store.duck import DuckStore
from pipeline.store.merge import merged
from tests.collectors.payloads import logs, metrics, traces

Sent = tuple[str, bytes, dict[str, str]]
"""Topic, value and headers."""

SERVICES = ("frontend", "cart", "stock")
START_NS = 1_790_000_000_000_000_000


def mesh(traces: int) -> list[tuple[str, Span]]:
    """Spans of requests frontend -> cart -> stock: of each hop the client's and the server's."""
    told = []
    for trace in range(1, traces + 1):
        start = START_NS + trace * 7_000_000_000
        for hop, service in enumerate(SERVICES):
            ids = (hop * 2, hop * 2 + 1, hop * 2 + 2)
            for kind, parent, number in (
                (Span.SPAN_KIND_SERVER, ids[0], ids[1]),
                (Span.SPAN_KIND_CLIENT, ids[1], ids[2]),
            ):
                span = Span(
                    trace_id=trace.to_bytes(16, "big"),
                    span_id=number.to_bytes(8, "big"),
                    parent_span_id=parent.to_bytes(8, "big") if parent else b"",
                    name="GET /things",
                    kind=kind,
                    start_time_unix_nano=start + hop,
                    end_time_unix_nano=start + hop + 1_000 * trace,
                )
                if kind == Span.SPAN_KIND_SERVER and not parent and trace % 4:
                    who = span.attributes.add(key="enduser.id")
                    who.value.string_value = f"user {trace % 4}"
                if kind == Span.SPAN_KIND_CLIENT:
                    address = span.attributes.add(key="server.address")
                    address.value.string_value = f"{SERVICES[(hop + 1) % 3]}.shop.svc"
                told.append((service, span))
    return told


def request(spans: Sequence[tuple[str, Span]]) -> bytes:
    """Spans as one OTLP request."""
    body = ExportTraceServiceRequest()
    for service, span in spans:
        resource = body.resource_spans.add()
        name = resource.resource.attributes.add(key="service.name")
        name.value.string_value = service
        resource.scope_spans.add().spans.append(span)
    return body.SerializeToString()


def messages(chance: random.Random, *, traces_sent: int = 30) -> list[Sent]:
    """The mesh in random order over random messages, among others that are good, bad or torn."""
    spans = mesh(traces_sent)
    chance.shuffle(spans)
    sent: list[Sent] = []
    while spans:
        some = [spans.pop() for _ in range(min(len(spans), chance.randint(1, 12)))]
        sent.append((OTLP_SPANS, request(some), {"source": "otlp_grpc", "records": str(len(some))}))
    others: list[Sent] = [
        (OTLP_SPANS, b"\x0a\xff", {"records": "4", "received_at": str(START_NS)}),
        (OTLP_SPANS, traces(2, wrong_ids=3).SerializeToString(), {}),
        (OTLP_LOGS, logs(3).SerializeToString(), {}),
        (OTLP_METRICS, metrics(2).SerializeToString(), {}),
        (OTLP_METRICS, b"\x0a\xff", {}),
        (RAW_TELEMETRY, b"..", {"format": "semaphore"}),
    ]
    for other in others * 2:
        sent.insert(chance.randrange(len(sent) + 1), other)
    return sent


def frame(store: DuckStore, table: str) -> pl.DataFrame:
    with store._database.session() as session:
        return session.frame(f"SELECT * FROM {table} ORDER BY ALL")


def derived(store: DuckStore) -> dict[str, pl.DataFrame]:
    """Derived tables as readers see them: summed over units, in one order."""
    answer = {}
    for table in DERIVED:
        summed = merged(table, frame(store, table.name).drop("slice"))
        keys = [name for name in summed.columns if name not in {"buckets", "counts", "widths"}]
        answer[table.name] = summed.sort(keys)
    return answer


def held(store: DuckStore, *, by_slice: bool = True) -> dict[str, pl.DataFrame]:
    """Everything that is a function of the messages, as multisets of rows.

    Without ``by_slice`` what is the same however messages lie in slices and whenever they came.
    """
    raw = {table.name: frame(store, table.name) for table in RAW}
    aside = frame(store, QUARANTINE.name)
    if not by_slice:
        raw = {name: rows.drop("slice").sort(pl.all()) for name, rows in raw.items()}
        aside = aside.drop("received_at").sort(pl.all())
        return raw | {QUARANTINE.name: aside} | derived(store)
    known = {table.name: frame(store, table.name) for table in INTERNED}
    return raw | known | {QUARANTINE.name: aside} | derived(store)
