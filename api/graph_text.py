"""The graph as text: a table for people, Mermaid and DOT for documents.

All take the JSON of ``GET /v1/graph``, so that a graph reads the same wherever it was computed.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

Body = Mapping[str, Any]

COLUMNS: Final = (
    "CLIENT", "SERVER", "PROTOCOL", "REQUESTS", "REQ/S", "ERRORS", "P50", "P99", "MTLS", "REPORTER",
)  # fmt: skip
LEFT: Final = 3
"""Columns of text; those after it are numbers, but for the last."""

UNKNOWN: Final = "-"


def table(body: Body, console: Console) -> None:
    """Print one line per edge: boxed for a terminal, plain columns for everything else."""
    rows = [_cells(edge) for edge in body["edges"]]
    title = f"{body['start']} to {body['end']}, by {body['group_by']}"
    if console.is_terminal:
        console.print(_boxed(rows, title))
        if not rows:
            console.print("no calls in this window")
        return
    for line in _plain([COLUMNS, *rows]):
        console.file.write(line + "\n")


def mermaid(body: Body) -> str:
    """The graph as a Mermaid flowchart."""
    names = {node["id"]: f"n{index}" for index, node in enumerate(body["nodes"])}
    lines = ["flowchart LR"]
    for node in body["nodes"]:
        before, after = _MERMAID_SHAPES.get(node["kind"], ("[", "]"))
        lines.append(f"  {names[node['id']]}{before}{_mermaid_text(node['id'])}{after}")
    for edge in body["edges"]:
        label = _mermaid_text(_label(edge))
        lines.append(f"  {names[edge['client']]} -->|{label}| {names[edge['server']]}")
    return "\n".join(lines) + "\n"


def dot(body: Body) -> str:
    """The graph in Graphviz' DOT language."""
    lines = ["digraph meshweir {", "  rankdir=LR;", "  node [shape=box];"]
    for node in body["nodes"]:
        shape = _DOT_SHAPES.get(node["kind"])
        lines.append(f"  {_quoted(node['id'])}{f' [shape={shape}]' if shape else ''};")
    for edge in body["edges"]:
        ends = f"{_quoted(edge['client'])} -> {_quoted(edge['server'])}"
        lines.append(f"  {ends} [label={_quoted(_label(edge))}];")
    return "\n".join([*lines, "}"]) + "\n"


_MERMAID_SHAPES: Final = {
    "database": ("[(", ")]"),
    "messaging": ("[[", "]]"),
    "clients": ("((", "))"),
    "gateway": ("{{", "}}"),
    "external": ("([", "])"),
}
_DOT_SHAPES: Final = {
    "database": "cylinder",
    "messaging": "cds",
    "clients": "circle",
    "gateway": "hexagon",
    "external": "ellipse",
}


def _cells(edge: Mapping[str, Any]) -> tuple[str, ...]:
    latency = edge["latency_seconds"]
    side = latency["client"] if latency["client"]["p50"] is not None else latency["server"]
    return (
        edge["client"],
        edge["server"],
        edge["protocol"] or UNKNOWN,
        f"{edge['requests']:,}",
        f"{edge['requests_per_second']:.2f}",
        _percent(edge["error_ratio"]),
        _duration(side["p50"]),
        _duration(side["p99"]),
        _percent(edge["mtls_ratio"]),
        edge["reporter"],
    )


def _label(edge: Mapping[str, Any]) -> str:
    parts = [f"{edge['requests_per_second']:.2f} req/s"]
    if edge["error_ratio"]:
        parts.append(f"{_percent(edge['error_ratio'])} errors")
    return ", ".join(parts)


def _percent(ratio: float | None) -> str:
    return UNKNOWN if ratio is None else f"{ratio * 100:.3g} %"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return UNKNOWN
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"


def _boxed(rows: Sequence[Sequence[str]], title: str) -> Table:
    drawn = Table(title=title, box=box.SIMPLE)
    for index, name in enumerate(COLUMNS):
        drawn.add_column(name, justify="right" if _is_number(index) else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(_one_line(cell)) for cell in row))
    return drawn


def _is_number(index: int) -> bool:
    return LEFT <= index < len(COLUMNS) - 1


def _plain(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    cleaned = [[_one_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cleaned, strict=True)]
    for row in cleaned:
        cells = (
            cell.rjust(width) if _is_number(index) else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()


def _one_line(text: str) -> str:
    """Names come from outside: nothing in them may move the cursor or break a line."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}"
                   for character in text)  # fmt: skip


def _mermaid_text(text: str) -> str:
    """Quoted text; Mermaid reads characters as ``#code;``."""
    safe = "".join(
        character if character.isalnum() or character in " /.,:_-%@" else f"#{ord(character)};"
        for character in text
    )
    return f'"{safe}"'


def _quoted(text: str) -> str:
    escaped = _one_line(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
