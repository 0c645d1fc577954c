"""Graphs as text hold whatever names come in."""

import io
import re

from rich.console import Console

from api import graph_text

HOSTILE = 'a"b]|\\\n\x1b[31m<script>'


def body(name):
    unknown = dict.fromkeys(("p50", "p90", "p95", "p99"))
    return {
        "start": "2026-11-23T10:00:00Z",
        "end": "2026-11-23T11:00:00Z",
        "group_by": "service",
        "nodes": [{"id": name, "kind": "database"}, {"id": "clients", "kind": "clients"}],
        "edges": [
            {
                "client": "clients", "server": name, "protocol": None, "requests": 1234567,
                "requests_per_second": 0.5, "error_ratio": None, "mtls_ratio": 1.0,
                "latency_seconds": {"client": unknown, "server": unknown | {"p50": 2.5}},
                "reporter": "server",
            }
        ],
    }  # fmt: skip


def test_a_hostile_name_breaks_no_line():
    for text in (graph_text.mermaid(body(HOSTILE)), graph_text.dot(body(HOSTILE))):
        assert "\x1b" not in text
        assert len(text.splitlines()) == len(
            (graph_text.mermaid if text.startswith("flow") else graph_text.dot)(
                body("plain")
            ).splitlines()
        )
    assert '\\"' in graph_text.dot(body(HOSTILE))
    assert "script>" not in graph_text.mermaid(body(HOSTILE))


def test_the_plain_table_aligns_and_shows_unknowns_as_dashes():
    out = io.StringIO()
    graph_text.table(body(HOSTILE), Console(file=out))
    header, row = out.getvalue().splitlines()
    assert "\x1b" not in row
    assert row.index("1,234,567") + 9 == header.index("REQUESTS") + 8
    assert re.search(r" 0\.50 +- +2\.5 s +- +100 % +server$", row)


def test_a_terminal_gets_a_drawn_table():
    out = io.StringIO()
    graph_text.table(body("db:orders"), Console(file=out, force_terminal=True, width=160))
    assert "db:orders" in out.getvalue()
    assert "2026-11-23T10:00:00Z" in out.getvalue()


def test_an_empty_graph_is_said_to_be_empty():
    out = io.StringIO()
    graph_text.table(body("x") | {"edges": []}, Console(file=out, force_terminal=True, width=160))
    assert "no calls" in out.getvalue()
