"""What the demo shows: the edges as Meshweir sees them, beside the truth."""

from typing import Any

from rich.table import Table

from api.demo.mesh import Ends, Truth

_ABSENT = "[dim]-[/dim]"


def edges_table(graph: dict[str, Any], truth: dict[Ends, Truth]) -> Table:
    """A table of all edges, seen and true, the busiest first."""
    table = Table(title=f"{graph['start']} .. {graph['end']}", title_style="dim")
    table.add_column("client")
    table.add_column("server")
    for name in ("requests", "sent", "attempts", "errors", "p50 ms", "p99 ms", "mTLS", "seen by"):
        table.add_column(name, justify="right")
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
    sent = "[red]unknown[/red]" if true is None else str(true.requests)
    if edge is None:
        return ("0", sent, *[_ABSENT] * 6)
    exact = true is not None and edge["requests"] == true.requests
    sides = edge["latency_seconds"]
    latency = sides["server" if sides["client"]["p50"] is None else "client"]
    return (
        f"[{'green' if exact else 'yellow'}]{edge['requests']}[/]",
        sent,
        str(edge["attempts"]),
        _percent(edge["error_ratio"]),
        _milliseconds(latency["p50"]),
        _milliseconds(latency["p99"]),
        _percent(edge["mtls_ratio"]),
        ", ".join(reporter["reporter"] for reporter in edge["reporters"]),
    )


def _percent(ratio: float | None) -> str:
    return _ABSENT if ratio is None else f"{ratio:.1%}"


def _milliseconds(seconds: float | None) -> str:
    return _ABSENT if seconds is None else f"{seconds * 1000:.1f}"


def _counts(edge: Truth | None) -> str:
    if edge is None:
        return "no such edge"
    return f"{edge.requests} requests, {edge.attempts} attempts, {edge.server_errors} failed"
