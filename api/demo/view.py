"""What the demo shows: the edges as Meshweir sees them, beside the truth."""

import math
from typing import Any

from rich.table import Table

from api.demo.mesh import Ends, Truth

_ABSENT = "[dim]-[/dim]"


def edges_table(graph: dict[str, Any], truth: dict[Ends, Truth]) -> Table:
    """A table of all edges, the busiest first; ``seen/true`` where requests seen are not the true.

    Eighty columns hold it, with the longest names and some ten thousand requests.
    """
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    for name in ("client", "server"):
        table.add_column(name, no_wrap=True)
    for name in ("requests", "tries", "fail", "p50ms", "p99ms", "mTLS"):
        table.add_column(name, justify="right", no_wrap=True)
    told = {Ends(edge["client"], edge["server"]): edge for edge in graph["edges"]}
    for ends in sorted(truth.keys() | told.keys(), key=lambda ends: _rank(ends, truth)):
        table.add_row(*ends, *_cells(told.get(ends), truth.get(ends)))
    return table


def verdict(seen: dict[Ends, Truth], truth: dict[Ends, Truth]) -> str:
    """One sentence on whether the graph is the truth."""
    wrong = sorted(ends for ends in seen.keys() | truth.keys() if seen.get(ends) != truth.get(ends))
    if not wrong:
        requests = sum(edge.requests for edge in truth.values())
        return f"the graph is the truth: {len(truth)} edges, {requests} requests, none more or less"
    told = "; ".join(
        f"{ends.client} -> {ends.server}: seen {_counts(seen.get(ends))},"
        f" true {_counts(truth.get(ends))}"
        for ends in wrong
    )
    return f"the graph differs from the truth: {told}"


def _rank(ends: Ends, truth: dict[Ends, Truth]) -> tuple[int, Ends]:
    edge = truth.get(ends)
    return (0 if edge is None else -edge.requests, ends)


def _cells(edge: dict[str, Any] | None, true: Truth | None) -> tuple[str, ...]:
    if edge is None:
        return (_requests(0, true), *[_ABSENT] * 5)
    sides = edge["latency_seconds"]
    latency = sides["server" if sides["client"]["p50"] is None else "client"]
    return (
        _requests(edge["requests"], true),
        str(edge["attempts"]),
        _percent(edge["error_ratio"]),
        _milliseconds(latency["p50"]),
        _milliseconds(latency["p99"]),
        _percent(edge["mtls_ratio"]),
    )


def _requests(seen: int, true: Truth | None) -> str:
    if true is None:
        return f"[red]{seen}/none[/]"
    if seen == true.requests:
        return f"[green]{seen}[/]"
    return f"[yellow]{seen}/{true.requests}[/]"


def _percent(ratio: float | None) -> str:
    """With one digit, which is cut off and never rounded up: 100% means all."""
    if ratio is None:
        return _ABSENT
    return "100%" if ratio == 1 else f"{math.floor(ratio * 1000) / 10}%"


def _milliseconds(seconds: float | None) -> str:
    return _ABSENT if seconds is None else f"{seconds * 1000:.1f}"


def _counts(edge: Truth | None) -> str:
    if edge is None:
        return "no such edge"
    return f"{edge.requests} requests, {edge.attempts} attempts, {edge.server_errors} failed"
