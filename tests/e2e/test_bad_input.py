"""What senders get wrong, sent to a real process: a clear answer, and nothing lost of the rest."""

import json
import time
import urllib.request

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.e2e.up import Up

YEARS = 10 * 365 * 24 * 3600 * 10**9


@pytest.fixture(scope="module")
def up(tmp_path_factory):
    running = Up(tmp_path_factory.mktemp("data"))
    yield running
    assert running.stop() == 130


def request(service: str, *spans: dict) -> ExportTraceServiceRequest:
    told = ExportTraceServiceRequest()
    resource = told.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = service
    scope = resource.scope_spans.add()
    for number, span in enumerate(spans, start=1):
        begin = span.pop("begin", time.time_ns())
        filled = {
            "trace_id": number.to_bytes(16, "big"),
            "span_id": number.to_bytes(8, "big"),
            "kind": 2,
            "start_time_unix_nano": begin,
            "end_time_unix_nano": begin + span.pop("lasts", 1_000_000),
        }
        scope.spans.add(**{**filled, **span})
    return told


def requests_of(up: Up, service: str, query: str = "?start=-1h") -> int:
    return up.edges(query).get(("clients", service), 0)


def test_a_clock_ten_years_off_is_shown_where_it_says_and_hides_nothing_else(up):
    ahead = time.time_ns() + YEARS
    assert up.post(request("ahead", {"begin": ahead}, {}).SerializeToString()) == 200
    assert up.wait(lambda: requests_of(up, "ahead")) == 1
    start = ahead // 10**9
    assert requests_of(up, "ahead", f"?start={start - 60}&end={start + 120}") == 1
    watermark = up.graph()["watermark"]
    assert watermark < time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 900))


def test_a_negative_duration_counts_and_has_no_latency(up):
    assert up.post(request("backwards", {"lasts": -5_000_000}).SerializeToString()) == 200
    assert up.wait(lambda: requests_of(up, "backwards")) == 1
    (edge,) = [edge for edge in up.graph()["edges"] if edge["server"] == "backwards"]
    assert edge["latency_seconds"]["server"]["p50"] is None


def test_a_span_with_a_short_id_is_refused_and_its_neighbour_is_taken(up):
    body = request("short", {"trace_id": b"12"}, {}).SerializeToString()
    posted = urllib.request.Request(
        up.http + "/v1/traces", body, {"content-type": "application/x-protobuf"}
    )
    with urllib.request.urlopen(posted) as answer:
        partial = ExportTraceServiceResponse.FromString(answer.read()).partial_success
    assert (partial.rejected_spans, "trace id" in partial.error_message) == (1, True)
    assert up.wait(lambda: requests_of(up, "short")) == 1
    with urllib.request.urlopen(f"{up.api}/v1/ingest") as answer:
        assert any(item["rejected"] for item in json.load(answer)["items"])


def test_bytes_that_are_no_protobuf_are_refused_with_their_place(up):
    assert up.post(b"\x0a\xff\xff\xff\xff\x0f") == 400


@pytest.mark.e2e
def test_a_million_service_names_in_a_minute_are_bounded_and_counted(up):
    names = 1_000_000
    trace = b"0123456789abcdef"
    one = request("service-0000000", {"trace_id": trace}).SerializeToString()
    head, _, rest = one.partition(b"service-0000000")
    middle, _, tail = rest.partition(trace)
    size = 50_000
    for first in range(0, names, size):
        body = b"".join(
            b"%bservice-%07d%b%016d%b" % (head, n, middle, n, tail)
            for n in range(first, first + size)
        )
        while up.post(body) != 200:
            time.sleep(0.5)

    def counted() -> bool:
        edges = up.edges("?start=-1h")
        mine = {
            ends: n for ends, n in edges.items() if ends[1].startswith(("service-", "overflow"))
        }
        return sum(mine.values()) if sum(mine.values()) == names else 0

    assert up.wait(counted, 240) == names
    edges = up.edges("?start=-1h")
    assert len(edges) < 10_100
    assert edges[("clients", "overflow")] > names - 10_100
