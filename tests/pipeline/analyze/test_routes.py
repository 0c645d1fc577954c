"""Routes of one node: one reporter counts, and names that are too many are ids."""

from datetime import UTC, datetime

import polars as pl

from pipeline.analyze.route import BRANCHES
from pipeline.analyze.routes import by_route
from pipeline.model.tables import MEASURES, NODE_MINUTES

SCHEMA = pl.DataFrame(pl.from_arrow(NODE_MINUTES.arrow.empty_table())).schema
MINUTE = datetime(2026, 11, 23, 10, tzinfo=UTC).replace(tzinfo=None)


def minutes(*rows):
    counts = {column.name: 0 for column in MEASURES[:-2]}
    filled = [{**dict.fromkeys(SCHEMA), **counts, **row} for row in rows]
    return pl.DataFrame(filled, schema=SCHEMA)


def told(route, requests, **more):
    return {
        "minute": MINUTE, "node": "shop/cart", "reporter": "server", "signal": "spans", "rows": 1,
        "route": route, "requests": requests * 10**6, "buckets": [0], "counts": [requests * 10**6],
        **more,
    }  # fmt: skip


def test_the_busiest_route_is_the_first():
    rows = [told("GET /a", 2), told("GET /b", 3), told("GET /a", 2), told(None, 1)]
    found = by_route(minutes(*rows), seconds=60)
    assert found.select("route", "requests").rows() == [("GET /a", 4), ("GET /b", 3), (None, 1)]
    assert found["latency_p50"].null_count() == 0


def test_another_reporter_tells_nothing_twice():
    rows = [told("GET /a", 2), told("GET /a", 1, reporter="server_proxy", signal="access_logs")]
    assert by_route(minutes(*rows), seconds=60)["requests"].to_list() == [2]


def test_many_names_are_one_route():
    rows = [told(f"GET /users/{number}x", 1) for number in range(BRANCHES + 1)]
    failed = told("GET /users/zoe", 1, server_errors=10**6)
    found = by_route(minutes(*rows, failed), seconds=60)
    assert found.select("route", "requests", "server_error").rows() == [
        ("GET /users/{id}", BRANCHES + 2, 1)
    ]


def test_nobody_told_of_any_route():
    assert by_route(minutes(), seconds=60).is_empty()
