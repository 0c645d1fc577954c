"""OTLP requests of a small mesh, made fast: encoded once, then ids and times are written over.

A trace is five calls deep: ten spans, server and client in turn, of five services. Its two halves
travel in two requests, as two senders would send them. A span has nine attributes and some 350
bytes.
"""

import random
from collections.abc import Iterator

import numpy as np
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

SERVICES = ("frontend", "cart", "catalog", "payment", "orders")
HALF = 5
TRACES = 102
SPANS = HALF * TRACES
"""Spans in a request: half of each of its traces."""

EDGES = 6
"""What the graph must show: clients to the first service, four calls, one to the world outside."""

_TRACE_AT, _SPAN_AT, _PARENT_AT = 2, 20, 30
"""Where the ids stand in an encoded span: one byte tag and one byte length before each."""


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*out, number))


def _field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _span(place: int, rng: random.Random) -> bytes:
    """The span at a place of its trace, 0 the outermost; ids and times to be written over."""
    span = Span(
        trace_id=bytes(16),
        span_id=bytes(8),
        parent_span_id=bytes(8),
        name="GET /api/v1/things/:id",
        kind=3 if place % 2 else 2,
        start_time_unix_nano=1,
        end_time_unix_nano=1,
    )
    for key, text in (
        ("http.request.method", "GET"),
        ("http.route", "/api/v1/things/:id"),
        ("url.path", f"/api/v1/things/{rng.randrange(10_000)}"),
        ("server.address", "api.example.com" if place == 9 else "mesh.internal"),
        ("network.peer.address", f"10.0.3.{rng.randrange(40)}"),
        ("user_agent.original", "frontend/1.2.3"),
        ("network.protocol.version", "1.1"),
    ):
        span.attributes.add(key=key).value.string_value = text
    span.attributes.add(key="http.response.status_code").value.int_value = 200
    span.attributes.add(key="thread.id").value.int_value = rng.randrange(64)
    return span.SerializeToString()


def _resource(service: str) -> bytes:
    resource = Resource()
    for key, value in (
        ("service.name", service),
        ("service.namespace", "shop"),
        ("service.version", "1.4.2"),
        ("k8s.pod.name", f"{service}-5d8f7c-x2k9p"),
    ):
        resource.attributes.add(key=key).value.string_value = value
    return resource.SerializeToString()


class Template:
    """One half of the traces of a request, encoded, with the places of what changes."""

    def __init__(self, half: int) -> None:
        rng = random.Random(half)
        places = range(half * HALF, half * HALF + HALF)
        body = bytearray()
        starts: list[int] = []
        self.trace: list[int] = []
        self.place: list[int] = []
        for service in sorted({place // 2 for place in places}):
            scope = bytearray(
                _field(1, InstrumentationScope(name="io.opentelemetry.http").SerializeToString())
            )
            inside: list[int] = []
            for trace in range(TRACES):
                for place in (p for p in places if p // 2 == service):
                    encoded = _span(place, rng)
                    scope += _varint(2 << 3 | 2) + _varint(len(encoded))
                    inside.append(len(scope))
                    scope += encoded
                    self.trace.append(trace)
                    self.place.append(place)
            head = _field(1, _resource(SERVICES[service]))
            scope_head = _varint(2 << 3 | 2) + _varint(len(scope))
            size = len(head) + len(scope_head) + len(scope)
            outer = _varint(1 << 3 | 2) + _varint(size)
            at = len(body) + len(outer) + len(head) + len(scope_head)
            starts += [at + offset for offset in inside]
            body += outer + head + scope_head + scope
        self.body = np.frombuffer(bytes(body), np.uint8)
        start = np.array(starts)
        name = len("GET /api/v1/things/:id")
        times = start + _PARENT_AT + 8 + 2 + name + 2 + 1
        self.at_trace = start[:, None] + _TRACE_AT + np.arange(16)
        self.at_span = start[:, None] + _SPAN_AT + np.arange(8)
        self.at_parent = start[:, None] + _PARENT_AT + np.arange(8)
        self.at_start = times[:, None] + np.arange(8)
        self.at_end = times[:, None] + 9 + np.arange(8)
        self.trace_index = np.array(self.trace)
        self.place_index = np.array(self.place)

    def written(self, traces: np.ndarray, begins: np.ndarray) -> bytes:
        """A request with these traces (32-bit numbers made into ids) that began at these times."""
        body = self.body.copy()
        trace = traces[self.trace_index]
        low = _mixed(trace)
        body[self.at_trace] = np.stack([_mixed(~low), low], 1).astype(">u8").view(np.uint8)
        body[self.at_span] = _bytes(_mixed(low + self.place_index.astype(np.uint64)))
        above = self.place_index.astype(np.uint64) - np.uint64(1)
        parent = np.where(self.place_index == 0, np.uint64(0), _mixed(low + above))
        body[self.at_parent] = _bytes(parent)
        start = begins[self.trace_index] + self.place_index.astype(np.uint64) * np.uint64(150_000)
        length = np.uint64(40_000_000) - self.place_index.astype(np.uint64) * np.uint64(3_000_000)
        jitter = _mixed(low) % np.uint64(1_000_000)
        body[self.at_start] = start.astype("<u8").view(np.uint8).reshape(-1, 8)
        body[self.at_end] = (start + length + jitter).astype("<u8").view(np.uint8).reshape(-1, 8)
        return body.tobytes()


def _mixed(numbers: np.ndarray) -> np.ndarray:
    mixed = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    return (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB) | np.uint64(1)


def _bytes(numbers: np.ndarray) -> np.ndarray:
    return numbers.astype(">u8").view(np.uint8).reshape(-1, 8)


def pairs(first_trace: int, begin_ns: int, step_ns: int) -> Iterator[tuple[bytes, bytes]]:
    """Pairs of requests without end: both halves of ``TRACES`` traces, ``step_ns`` apart."""
    halves = Template(0), Template(1)
    number = first_trace
    while True:
        traces = np.arange(number, number + TRACES, dtype=np.uint64)
        begins = np.uint64(begin_ns) + (traces - np.uint64(first_trace)) * np.uint64(step_ns)
        yield halves[0].written(traces, begins), halves[1].written(traces, begins)
        number += TRACES


def check() -> None:
    """Decode a pair with the official library: the template writes what it says."""
    first, second = next(pairs(7, 1_790_000_000_000_000_000, 1_000))
    spans = {}
    for body in (first, second):
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            for span in resource.scope_spans[0].spans:
                spans[span.trace_id, span.span_id] = span
    assert len(spans) == 2 * SPANS
    roots = [span for span in spans.values() if span.parent_span_id == bytes(8)]
    assert len(roots) == TRACES
    assert all(
        (span.trace_id, span.parent_span_id) in spans
        for span in spans.values()
        if span.parent_span_id != bytes(8)
    )
