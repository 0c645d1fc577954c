"""What the demo shows: edges seen beside edges true, and a verdict that names each difference."""

import io

from rich.console import Console

from api.demo.mesh import Ends, Truth
from api.demo.meshweir import seen
from api.demo.view import edges_table, verdict

QUANTILES = {"p50": 0.004, "p90": 0.005, "p95": 0.006, "p99": 0.05}
UNKNOWN = dict.fromkeys(QUANTILES)
ENDS = Ends("shop/cart", "shop/catalog")


def graph(**changes):
    edge = {
        "client": "shop/cart",
        "server": "shop/catalog",
        "requests": 10,
        "attempts": 12,
        "errors": {"client_error": 0, "server_error": 1, "connection": 0},
        "error_ratio": 0.1,
        "latency_seconds": {"client": UNKNOWN, "server": QUANTILES},
        "mtls_ratio": None,
        "reporters": [{"reporter": "server_proxy", "requests": 10}],
    }
    return {
        "start": "2026-11-23T10:00:00Z",
        "end": "2026-11-23T10:01:00Z",
        "edges": [edge | changes],
    }


def drawn(answer, truth) -> str:
    text = io.StringIO()
    Console(file=text, width=80).print(edges_table(answer, truth))
    return text.getvalue()


def row(text: str, name: str) -> list[str]:
    [line] = [line for line in text.splitlines() if name in line]
    return line.split()


def test_counts_that_differ_are_shown_beside_the_truth_and_unknowns_as_such():
    told = row(drawn(graph(), {ENDS: Truth(11, 13, 1)}), "catalog")
    assert told == ["shop/cart", "shop/catalog", "10/11", "12", "10.0%", "4.0", "50.0", "-"]
    assert row(drawn(graph(), {ENDS: Truth(10, 13, 1)}), "catalog")[2] == "10"


def test_edges_that_only_one_side_knows_are_shown_too():
    text = drawn(graph(), {Ends("clients", "shop/gw"): Truth(5, 5, 0)})
    assert row(text, "catalog")[2] == "10/none"
    assert row(text, "shop/gw")[2] == "0/5"


def test_a_hundred_percent_means_all():
    assert row(drawn(graph(mtls_ratio=1.0), {}), "catalog")[-1] == "100%"
    assert row(drawn(graph(mtls_ratio=0.99999), {}), "catalog")[-1] == "99.9%"


def test_the_longest_names_fit_a_terminal():
    answer = graph(client="shop/recommendation", server="shop/recommendation", requests=9998)
    text = drawn(answer, {Ends("shop/recommendation", "shop/recommendation"): Truth(9999, 0, 0)})
    assert row(text, "recommendation") == [
        *("shop/recommendation", "shop/recommendation", "9998/9999"),
        *("12", "10.0%", "4.0", "50.0", "-"),
    ]


def test_the_verdict_on_the_truth_and_on_every_kind_of_difference():
    assert verdict(seen(graph()), {ENDS: Truth(10, 12, 1)}).startswith("the graph is the truth: 1")
    for truth in (Truth(9, 12, 1), Truth(10, 11, 1), Truth(10, 12, 0)):
        told = verdict(seen(graph()), {ENDS: truth})
        assert "shop/cart -> shop/catalog: seen 10 requests, 12 attempts, 1 failed" in told
    missing = verdict(seen(graph()), {})
    assert "true no such edge" in missing
