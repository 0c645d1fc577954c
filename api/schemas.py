"""What answers look like; from here the OpenAPI document takes names, meanings and examples.

Bodies are encoded from frames without passing through these models; the tests compare the two.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline.model.topology import GroupBy, NodeKind, Reporter

Ratio = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)]
Time = Annotated[datetime, Field(examples=["2026-11-23T10:00:00Z"])]


class Answer(BaseModel):
    """The base of all answers: no field goes unmentioned."""

    model_config = ConfigDict(extra="forbid")


class Fault(Answer):
    """One field at fault."""

    field: str = Field(description="Name of the parameter.", examples=["start"])
    found: Any = Field(description="What was given.", examples=["yesterday"])
    allowed: str = Field(description="What would have been accepted.")


class Problem(Answer):
    """What went wrong, as RFC 9457 says."""

    type: str = Field(examples=["urn:meshweir:problem:invalid-input"])
    title: str = Field(examples=["A value is not allowed"])
    status: int = Field(examples=[400])
    detail: str = Field(description="What happened here and what to do next.")
    errors: list[Fault] | None = Field(default=None, description="The fields at fault.")


class Quantiles(Answer):
    """Latency in seconds; how far off it may be is its resolution. Null where unknown."""

    p50: Seconds | None = Field(examples=[0.012])
    p90: Seconds | None = Field(examples=[0.03])
    p95: Seconds | None = Field(examples=[0.05])
    p99: Seconds | None = Field(examples=[0.2])


class Resolution(Answer):
    """How far off each latency may be, as a share of it; null where it is only a lower bound."""

    p50: Ratio | None = Field(examples=[0.011])
    p90: Ratio | None = Field(examples=[0.011])
    p95: Ratio | None = Field(examples=[0.011])
    p99: Ratio | None = Field(examples=[0.43])


class Node(Answer):
    """A node of the graph, and what it served."""

    id: str = Field(examples=["shop/cart"])
    kind: NodeKind
    namespace: str | None = Field(examples=["shop"])
    name: str = Field(examples=["cart"])
    systems: list[str] = Field(description="Who told of it.", examples=[["istio"]])
    requests: Count | None = Field(examples=[1200])
    requests_per_second: Annotated[float, Field(ge=0)] | None = Field(examples=[0.33])
    error_ratio: Ratio | None = Field(examples=[0.01])
    latency_seconds: Quantiles
    latency_resolution: Resolution


class Errors(Answer):
    """Requests that failed, by class."""

    client_error: Count = Field(description="Answered 4xx or the like.", examples=[3])
    server_error: Count = Field(description="Failed at the server.", examples=[9])
    connection: Count = Field(description="Found no server.", examples=[0])


class EdgeLatency(Answer):
    """Latency of an edge as its two sides saw it."""

    client: Quantiles
    server: Quantiles


class EdgeResolution(Answer):
    """How far off the latencies of an edge may be, as its two sides saw them."""

    client: Resolution
    server: Resolution


Signal = Literal["spans", "access_logs", "metrics"]


class SignalTelling(Answer):
    """How many requests one reporter told of by one signal."""

    signal: Signal
    requests: Count = Field(examples=[1200])


class Telling(Answer):
    """How many requests one reporter told of."""

    reporter: Reporter
    requests: Count = Field(examples=[1200])
    signals: list[SignalTelling] = Field(
        description="By what it told of them; never added up. The first gives the count."
    )


class Edge(Answer):
    """Requests of one node to another."""

    client: str = Field(examples=["shop/frontend"])
    server: str = Field(examples=["shop/cart"])
    protocol: str | None = Field(examples=["http"])
    requests: Count = Field(description="Logical requests; retries count once.", examples=[1200])
    attempts: Count = Field(description="What was sent, retries included.", examples=[1215])
    requests_per_second: Annotated[float, Field(ge=0)] = Field(examples=[0.33])
    error_ratio: Ratio | None = Field(examples=[0.01])
    errors: Errors
    latency_seconds: EdgeLatency
    latency_resolution: EdgeResolution
    mtls_ratio: Ratio | None = Field(description="Share under mutual TLS.", examples=[1.0])
    reporter: Reporter = Field(description="Who gives the counts.")
    signal: Signal = Field(description="By what it told of them.")
    reporters: list[Telling] = Field(description="All who told of the edge; never added up.")
    agreement: Ratio | None = Field(
        description="Fewest over most requests among the reporters; null with one reporter.",
        examples=[0.999],
    )
    coverage: Ratio | None = Field(
        description="Tellings over the requests they stand for; 1 when nothing was sampled away.",
        examples=[1.0],
    )
    request_bytes: Count | None = Field(
        description="Bytes that went to the server; null when no metric tells.", examples=[51200]
    )
    response_bytes: Count | None = Field(
        description="Bytes that came back; null when no metric tells.", examples=[810000]
    )
    paths_agreement: Ratio | None = Field(
        description="Fewest over most requests among the paths by which metrics of the same proxies"
        " came; null when each came by one.",
        examples=[0.998],
    )


class WindowAnswer(Answer):
    """The window that was answered, in whole minutes."""

    start: Time = Field(description="Begin, inclusive.")
    end: Time = Field(description="End, exclusive.")


class Graph(WindowAnswer):
    """The dependency graph of a window."""

    group_by: GroupBy
    watermark: Time | None = Field(description="When the youngest stored record began.")
    nodes: list[Node]
    edges: list[Edge]


class Page(Answer):
    """One page of a list."""

    next: str | None = Field(description="Cursor of the next page; null on the last.")


class Row(Answer):
    """One raw row behind an edge: a span, or an access log entry."""

    signal: Literal["spans", "access_logs"]
    reporter: Reporter
    time: Time = Field(description="When the row says that it began.")
    duration_seconds: float | None
    requests: float = Field(description="Requests it stands for; 0 for a mere attempt.")
    attempts: float = Field(description="Attempts it stands for.")
    outcome: Literal["ok", "client_error", "server_error", "connection"] | None
    unpaired: bool | None = Field(description="True when its other side was not found.")
    service: str | None = Field(description="Node id of who wrote it.")
    trace_id: str | None
    span_id: str | None
    request_id: str | None
    attributes: dict[str, Any]
    resource: dict[str, Any]


class Evidence(Page, WindowAnswer):
    """What an edge rests on."""

    client: str = Field(examples=["shop/frontend"])
    server: str = Field(examples=["shop/cart"])
    pairing_rule: str = Field(description="How the two sides of a call were found.")
    tellings: Count = Field(description="Raw rows that were summed into this edge.")
    unpaired_ratio: Ratio | None = Field(
        description="Share of the tellings whose other side was not found.", examples=[0.0]
    )
    reporters: list[Telling]
    items: list[Row]


class Event(Answer):
    """Something that happened during a span."""

    model_config = ConfigDict(extra="allow")


class Span(Answer):
    """One span as received."""

    trace_id: str = Field(examples=["4bf92f3577b34da6a3ce929d0e0e4736"])
    span_id: str = Field(examples=["00f067aa0ba902b7"])
    parent_span_id: str | None = Field(examples=["53995c3f42cd8ad8"])
    name: str
    kind: Literal["unspecified", "internal", "server", "client", "producer", "consumer"]
    service: str | None = Field(description="Node id of who wrote it.", examples=["shop/cart"])
    start: Time
    end: Time
    duration_seconds: float = Field(description="Negative when the sender said so.")
    status: Literal["unset", "ok", "error"]
    status_message: str | None
    attributes: dict[str, Any]
    resource: dict[str, Any] = Field(description="Attributes of the resource.")
    events: list[Event]
    links: list[dict[str, Any]]


class Trace(Page):
    """The spans of one trace, by start time."""

    trace_id: str = Field(examples=["4bf92f3577b34da6a3ce929d0e0e4736"])
    items: list[Span]


class EvidenceNumber(Answer):
    """One number that an advice rests on."""

    name: str
    value: float
    unit: str
    source: str


class Target(Answer):
    """Where an advice applies."""

    server: str
    client: str | None
    route: str | None


class Rendered(Answer):
    """An advice in the form of one control plane."""

    kind: str | None = Field(description="What the document is, in the plane's words.")
    document: str | None = Field(description="The manifest; null when the plane cannot say it.")
    unsupported: str | None = Field(description="Why the plane cannot say it.")


class Recommendation(Answer):
    """One piece of advice; nothing applies it by itself."""

    id: str
    rule: str = Field(examples=["timeout"])
    policy: dict[str, Any] = Field(
        examples=[{"kind": "timeout", "per_try_seconds": 0.5, "request_seconds": 1.6, "tries": 3}]
    )
    target: Target
    reason: str
    evidence: list[EvidenceNumber]
    expected_effect: str
    confidence: Ratio
    undo: str
    start: Time
    end: Time
    rendered: dict[str, Rendered] = Field(description="By control plane.")


class Recommendations(Page, WindowAnswer):
    """What could be set better, judged by a window of history."""

    items: list[Recommendation]


class Flow(Answer):
    """What came in from one source by one signal, since the process started; counts are records."""

    source: str = Field(examples=["otlp_grpc"])
    signal: str = Field(examples=["traces"])
    received: Count
    received_bytes: Count
    accepted: Count = Field(description="On the bus, durable.")
    rejected: Count = Field(description="Refused with an answer to the sender.")
    dropped: Count = Field(description="Lost, for the reasons stated.")
    stored: Count
    quarantined: Count = Field(description="Accepted, but not decodable; kept apart.")
    reasons: dict[str, dict[str, Count]] = Field(
        description="By outcome and reason.", examples=[{"rejected": {"too large": 3}}]
    )
    lag_seconds: float | None = Field(
        description="Age of the youngest stored message while more waits on the bus; 0 when none;"
        " null where this process does not know what waits."
    )
    watermark: Time | None = Field(description="When the youngest stored record began.")


class BusFill(Answer):
    """How full the bus is."""

    bytes_held: Count
    bytes_allowed: Count


class Stored(Answer):
    """The stretch of time the graph can be asked for, in whole minutes."""

    start: Time
    end: Time


class Ingest(Page):
    """What came in, and what became of it."""

    items: list[Flow]
    bus: BusFill | None
    stored: Stored | None = Field(
        description="Null when there is no call in the store, and where the process has no store."
    )


class QuarantineEntry(Answer):
    """One message, or one record of a message, that could not be decoded."""

    id: str = Field(
        description="topic/partition/offset, and a number where a message has several entries.",
        examples=["otlp_spans/0/42"],
    )
    received_at: Time | None
    topic: str = Field(examples=["otlp_spans"])
    partition: Count
    offset: Count = Field(description="Where the message stands in its partition.", examples=[42])
    format: str | None = Field(description="What it claimed to be.", examples=["otlp_traces"])
    source: str | None = Field(description="Who took it; null when no collector of ours did.")
    reason: str = Field(examples=["trace id is not 16 bytes"])
    byte_offset: Count | None = Field(description="First byte that could not be accepted.")
    records: Count = Field(description="How many records it stands for.", examples=[1])
    payload: str | None = Field(
        description="What was received, in base64, cut at 64 KiB, where it was asked for; null for "
        "single records, whose message is on the bus."
    )


class Quarantine(Page):
    """What was set aside."""

    items: list[QuarantineEntry]


class ScrapeTarget(Answer):
    """One target of the scraper."""

    job: str = Field(examples=["kong"])
    instance: str | None = Field(
        description="Null of a target that is left alone.", examples=["kong-1:8100"]
    )
    url: str = Field(description="Without its query.", examples=["http://kong-1:8100/metrics"])
    up: bool | None = Field(description="Whether the last scrape succeeded; null before the first.")
    error: str | None = Field(
        description="Why it did not, or why the target is left alone.",
        examples=["the server answered with status 503"],
    )
    last_scrape: Time | None = Field(description="When it was begun.")
    last_scrape_duration_seconds: float | None
    samples: Count | None = Field(description="How many it brought.", examples=[1857])
    interval_seconds: float | None = Field(examples=[15.0])


class ScrapeTargets(Page):
    """What is scraped, and how each target stands."""

    items: list[ScrapeTarget]
