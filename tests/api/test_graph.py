"""GET /v1/graph, line by line of what it promises."""

import pyarrow as pa
import pytest

from api import schemas

EDGE = {
    "client", "server", "protocol", "requests", "attempts", "requests_per_second", "error_ratio",
    "errors", "latency_seconds", "latency_resolution", "mtls_ratio", "reporter", "signal",
    "reporters", "agreement", "coverage", "request_bytes", "response_bytes",
    "paths_agreement",
}  # fmt: skip
NODE = {
    "id", "kind", "namespace", "name", "systems", "requests", "requests_per_second", "error_ratio",
    "latency_seconds", "latency_resolution",
}  # fmt: skip
ARROW = {"accept": "application/vnd.apache.arrow.stream"}


def graph(http, **parameters):
    answer = http.get("/v1/graph", params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


def edge(body, client, server):
    (found,) = [e for e in body["edges"] if (e["client"], e["server"]) == (client, server)]
    return found


def test_it_has_exactly_the_documented_members(http):
    body = graph(http)
    assert set(body) == {"start", "end", "group_by", "watermark", "nodes", "edges"}
    assert all(set(found) == EDGE for found in body["edges"])
    assert all(set(node) == NODE for node in body["nodes"])
    schemas.Graph.model_validate(body)


def test_edges_are_who_calls_whom(http):
    body = graph(http)
    assert {(found["client"], found["server"]) for found in body["edges"]} == {
        ("clients", "shop/frontend"),
        ("shop/frontend", "shop/cart"),
        ("clients", "shop/cart"),
        ("shop/cart", "shop/stock"),
    }


def test_counts_are_of_one_reporter_never_their_sum(http):
    found = edge(graph(http), "shop/frontend", "shop/cart")
    assert found["requests"] == 90
    assert found["attempts"] == 90
    assert {told["reporter"]: told["requests"] for told in found["reporters"]} == {
        "client": 90,
        "server": 90,
    }
    assert (found["reporter"], found["signal"]) == ("client", "spans")
    assert found["reporters"][0]["signals"] == [{"signal": "spans", "requests": 90}]
    assert found["latency_resolution"]["client"]["p50"] == pytest.approx(0.0108, rel=0.01)
    assert found["agreement"] == 1
    assert found["coverage"] == 1


def test_errors_are_counted_by_class(http):
    found = edge(graph(http), "shop/frontend", "shop/cart")
    assert found["errors"] == {"client_error": 0, "server_error": 9, "connection": 0}
    assert found["error_ratio"] == pytest.approx(0.1)


def test_latency_is_told_from_both_sides_in_seconds(http):
    latency = edge(graph(http), "shop/frontend", "shop/cart")["latency_seconds"]
    assert latency["client"]["p50"] == pytest.approx(0.020, rel=0.011)
    assert latency["server"]["p99"] == pytest.approx(0.010, rel=0.011)


def test_an_unknown_is_null(http):
    body = graph(http)
    assert edge(body, "shop/frontend", "shop/cart")["mtls_ratio"] is None
    first_hop = edge(body, "clients", "shop/frontend")
    assert first_hop["latency_seconds"]["client"] == dict.fromkeys(("p50", "p90", "p95", "p99"))
    (clients,) = [node for node in body["nodes"] if node["id"] == "clients"]
    assert clients["kind"] == "clients"
    assert clients["requests"] is None
    assert clients["namespace"] is None


def test_rates_are_per_second_of_the_whole_window(http):
    body = graph(http, start="2026-11-23T10:00:00Z", end="2026-11-23T10:03:00Z")
    assert edge(body, "shop/frontend", "shop/cart")["requests_per_second"] == pytest.approx(0.5)


def test_start_is_inclusive_and_end_exclusive(http):
    first = graph(http, start="2026-11-23T10:00:00Z", end="2026-11-23T10:01:00Z")
    rest = graph(http, start="2026-11-23T10:01:00Z", end="2026-11-23T10:02:00Z")
    assert edge(first, "shop/frontend", "shop/cart")["requests"] == 60
    assert edge(rest, "shop/frontend", "shop/cart")["requests"] == 30


def test_the_window_is_widened_to_minutes_and_told(http):
    body = graph(http, start="2026-11-23T10:00:59Z", end="2026-11-23T10:01:01Z")
    assert (body["start"], body["end"]) == ("2026-11-23T10:00:00Z", "2026-11-23T10:02:00Z")


def test_without_times_it_is_the_last_hour(http):
    body = graph(http)
    assert (body["start"], body["end"]) == ("2026-11-23T09:30:00Z", "2026-11-23T10:30:00Z")


def test_relative_and_unix_times_name_the_same_window(http):
    by_name = graph(http, start="2026-11-23T10:00:00Z", end="2026-11-23T10:30:00Z")
    assert graph(http, start="-30m", end="now") == by_name
    assert graph(http, start="1795428000", end="1795429800") == by_name


def test_the_watermark_is_when_the_youngest_request_began(http):
    assert graph(http)["watermark"].startswith("2026-11-23T10:01:29")


def test_an_empty_window_is_an_empty_graph(http):
    body = graph(http, start="-10m")
    assert body["nodes"] == []
    assert body["edges"] == []


@pytest.mark.parametrize(
    ("group_by", "node"),
    [
        ("service", "shop/cart"),
        ("workload", "shop/cart-deployment"),
        ("version", "shop/cart@v1"),
        ("namespace", "shop"),
    ],
)
def test_nodes_are_what_they_are_grouped_by(http, group_by, node):
    body = graph(http, group_by=group_by)
    assert body["group_by"] == group_by
    assert node in {found["id"] for found in body["nodes"]}


def test_focus_keeps_what_is_near(http):
    body = graph(http, focus="shop/stock")
    assert {(found["client"], found["server"]) for found in body["edges"]} == {
        ("shop/cart", "shop/stock")
    }
    assert len(graph(http, focus="shop/stock", depth=2)["edges"]) == 4


@pytest.mark.parametrize("part", ["nodes", "edges"])
def test_it_is_an_arrow_stream_when_asked(http, part):
    answer = http.get("/v1/graph", params={"part": part}, headers=ARROW)
    assert answer.headers["content-type"] == ARROW["accept"]
    table = pa.ipc.open_stream(answer.content).read_all()
    body = graph(http)
    names = EDGE if part == "edges" else NODE
    assert set(table.column_names) == names
    assert table.to_pylist() == body[part]
    assert table.schema.metadata[b"start"] == b'"2026-11-23T09:30:00Z"'


def test_the_same_question_has_the_same_bytes(http):
    first, second = http.get("/v1/graph").content, http.get("/v1/graph").content
    assert first == second
