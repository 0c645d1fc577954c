"""What an edge rests on: the raw rows that tell of it, found by pairing them once more.

The derived rows say how many tellings there are and from which slices; the traces and requests in
which either end has rows are read again, a few at a time, and told by the same functions that made
the graph.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import orjson
import polars as pl

from api.graph import NO_ALIASES
from api.identities import known_aliases
from api.problems import NotFound
from api.times import EPOCH, Window
from api.traces import ATTRIBUTES, as_json
from pipeline.analyze import alias, crossing, outcome
from pipeline.analyze.identity import identify
from pipeline.analyze.metric_minutes import SIGNAL
from pipeline.model.tables import ACCESS_LOGS
from pipeline.store.port import Store, Unit

MILLION: Final = 1_000_000
AT_ONCE: Final = 500
"""Traces or requests that are read and paired in one go."""

SLACK: Final = timedelta(hours=1)
"""How much later than its request a row may begin: retries and late attempts do."""

PAIRING_RULE: Final = (
    "Spans are paired by trace id, span id and parent span id: the server of a client span is the "
    "service of the nearest span below it that is not its own. Access log entries are paired by "
    "request id and address. A gateway's request and what was served behind it are paired by trace "
    "id or request id. A row whose other side was not received is named by what it called: "
    "peer name, cluster, address or certificate. Tellings of one call by several reporters are "
    "kept apart and never added up."
)
KEY: Final = ("client", "client_alias", "server", "server_alias", "reporter", "signal")
NESTED: Final = ("attributes", "resource")
OUTCOMES: Final = {
    outcome.OK: "ok",
    outcome.CLIENT_ERROR: "client_error",
    outcome.SERVER_ERROR: "server_error",
    outcome.CONNECTION: "connection",
}
NANOSECONDS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Edge:
    """The derived rows of one edge in a window.

    Attributes:
        client: node id of the caller.
        server: node id of the callee.
        window: the window asked for.
        rows: rows of ``edge_minutes`` before names were resolved, with ``high`` of their unit.
    """

    client: str
    server: str
    window: Window
    rows: pl.DataFrame

    @property
    def tellings(self) -> int:
        """How many raw rows tell of the edge; metrics have none for each request."""
        return int(self.rows.filter(pl.col("signal") != SIGNAL)["rows"].sum())

    @property
    def unpaired_ratio(self) -> float | None:
        """Share of them whose other side was not found."""
        return float(self.rows["unpaired"].sum()) / self.tellings if self.tellings else None

    def reporters(self) -> list[dict[str, object]]:
        """Requests by reporter and signal, the signal that saw most first."""
        told = (
            self.rows.group_by("reporter", "signal")
            .agg(pl.col("requests").sum() // MILLION)
            .sort("reporter", "requests", "signal", descending=[False, True, False])
            .group_by("reporter", maintain_order=True)
            .agg(pl.col("requests").first(), pl.struct("signal", "requests").alias("signals"))
        )
        return told.to_dicts()


def edge_of(
    store: Store,
    client: str,
    server: str,
    window: Window,
    aliases: Mapping[str, str] = NO_ALIASES,
) -> Edge:
    """The derived rows of an edge; blocks. ``aliases`` are those that are configured.

    Raises:
        NotFound: no call of the one to the other was told of in the window.
    """
    rows = store.ask("edge_units", start=window.start, end=window.end).with_row_index("at")
    known = alias.resolve(rows, known_aliases(store, aliases))
    mine = known.filter((pl.col("client") == client) & (pl.col("server") == server))
    if mine.is_empty():
        raise NotFound(
            "edge",
            field="client, server",
            found=f"{client} -> {server}",
            allowed="an edge of the graph of the window; /v1/graph lists them",
        )
    return Edge(client, server, window, rows.filter(pl.col("at").is_in(mine["at"].implode())))


def rows_of(store: Store, edge: Edge, *, offset: int, limit: int) -> pl.DataFrame:
    """The raw rows that tell of an edge, some of them; ``NESTED`` holds JSON text. Blocks."""
    wanted = offset + limit
    pieces: list[pl.DataFrame] = []
    found = 0
    for piece in _pieces(store, edge):
        pieces.append(piece)
        found += piece.height
        if found >= wanted:
            break
    if not pieces:
        return pl.DataFrame(schema=ROWS)
    return pl.concat(pieces).slice(offset, limit)


ROWS: Final = pl.Schema(
    {
        "signal": pl.String(),
        "reporter": pl.String(),
        "time": pl.Datetime("ns"),
        "duration_seconds": pl.Float64(),
        "requests": pl.Float64(),
        "attempts": pl.Float64(),
        "outcome": pl.String(),
        "unpaired": pl.Boolean(),
        "service": pl.String(),
        "trace_id": pl.String(),
        "span_id": pl.String(),
        "request_id": pl.String(),
        "attributes": pl.String(),
        "resource": pl.String(),
    }
)
"""Columns of a raw row as answered."""


def _pieces(store: Store, edge: Edge) -> Iterator[pl.DataFrame]:
    units = [
        Unit(*pair)
        for pair in edge.rows.select("slice", "high").drop_nulls().unique().sort("slice").rows()
    ]
    slices = store.linked(units)
    resources = store.ask("resources")
    known, identities = identify(resources)
    ends = identities.filter(pl.col("node").is_in([edge.client, edge.server]))
    mine = known.join(ends.select("identity"), on="identity", how="semi")["resource_id"].to_list()
    reader = _Reader(store, edge, slices, mine, known, identities)
    yield from reader.spans()
    yield from reader.logs()


@dataclass(frozen=True, slots=True)
class _Reader:
    store: Store
    edge: Edge
    slices: list[int]
    resources: list[str]
    known: pl.DataFrame
    identities: pl.DataFrame

    def spans(self) -> Iterator[pl.DataFrame]:
        """Spans that tell of the edge, by trace."""
        for traces in self._parts("evidence_traces"):
            spans, logs = self._together(traces["trace_id_low"].to_list(), [])
            mine = spans.join(traces, on=["trace_id_high", "trace_id_low"], how="semi")
            yield self._answered(self._told("spans", spans, logs, mine), spans, ATTRIBUTES)

    def logs(self) -> Iterator[pl.DataFrame]:
        """Access log entries that tell of the edge, by request."""
        for requests in self._parts("evidence_requests"):
            nameless = requests["request_id"].null_count() > 0
            named = requests["request_id"].drop_nulls().to_list()
            spans, logs = self._together([], named, nameless=nameless)
            mine = logs.join(requests, on="request_id", how="semi", nulls_equal=True)
            yield self._answered(self._told("access_logs", spans, logs, mine), logs, LOG_ATTRIBUTES)

    def _together(
        self, traces: list[int], requests: list[str], *, nameless: bool = False
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Spans and entries of traces and requests, and of those that they are one with."""
        one = self.store.ask(
            "group_rows",
            low=min(self.slices, default=0),
            high=max(self.slices, default=0),
            traces=traces,
            requests=requests,
        )
        traces = one["trace_id_low"].drop_nulls().unique(maintain_order=True).to_list()
        logs = self.store.ask(
            "evidence_logs",
            slices=self.slices,
            traces=traces,
            requests=one["request_id"].drop_nulls().unique(maintain_order=True).to_list(),
            resources=self.resources if nameless else [],
            start=self.edge.window.start,
            end=self.edge.window.end + SLACK,
        )
        traces += logs["trace_id_low"].drop_nulls().unique(maintain_order=True).to_list()
        spans = self.store.ask("evidence_spans", slices=self.slices, traces=traces)
        return spans.with_row_index("at"), logs.with_row_index("at")

    def _told(
        self, signal: str, spans: pl.DataFrame, logs: pl.DataFrame, mine: pl.DataFrame
    ) -> pl.DataFrame:
        """What some rows of one signal tell, knowing what the others tell."""
        told = crossing.tellings(spans, logs, (self.known, self.identities), keep=["at"])
        return told.filter((pl.col("signal") == signal) & pl.col("at").is_in(mine["at"].implode()))

    def _parts(self, question: str) -> Iterator[pl.DataFrame]:
        offset = 0
        while True:
            part = self.store.ask(
                question,
                slices=self.slices,
                resources=self.resources,
                start=self.edge.window.start,
                end=self.edge.window.end + SLACK,
                limit=AT_ONCE,
                offset=offset,
            )
            if not part.is_empty():
                yield part
            if part.height < AT_ONCE:
                return
            offset += AT_ONCE

    def _answered(
        self, told: pl.DataFrame, rows: pl.DataFrame, promoted: Mapping[str, str]
    ) -> pl.DataFrame:
        mine = self._of_edge(told).sort("begin", "reporter", "at")
        raw = rows[mine["at"]].to_dicts()
        told_rows = mine.iter_rows(named=True)
        return pl.DataFrame(
            [_row(one, of, promoted) for one, of in zip(told_rows, raw, strict=True)],
            schema=ROWS,
            orient="row",
        )

    def _of_edge(self, told: pl.DataFrame) -> pl.DataFrame:
        """Tellings whose ends, before names are resolved, are those of the edge's derived rows."""
        nodes = self.identities.select("identity", "node")
        for end in ("client", "server"):
            told = (
                told.join(nodes, left_on=end, right_on="identity", how="left")
                .with_columns(pl.coalesce("node", f"{end}_name").alias(end))
                .with_columns(
                    pl.when(pl.col(end).is_null()).then(f"{end}_alias").alias(f"{end}_alias")
                )
                .drop("node")
            )
        keys = self.edge.rows.select(KEY).unique()
        start, end_ = (_unix_ns(time) for time in self.edge.window)
        return told.filter(pl.col("begin").is_between(start, end_, closed="left")).join(
            keys, on=KEY, how="semi", nulls_equal=True
        )


_NOT_ATTRIBUTES: Final = frozenset(
    {"start_time", "duration_ns", "resource_id", "trace_id_high", "trace_id_low", "request_id"}
)
LOG_ATTRIBUTES: Final = {
    column.name: column.name
    for column in ACCESS_LOGS
    if column.kind != "json" and column.name not in _NOT_ATTRIBUTES
}
"""Columns of an access log entry that are answered among its attributes, by their own names."""


def _row(
    told: Mapping[str, Any], raw: Mapping[str, Any], promoted: Mapping[str, str]
) -> dict[str, object]:
    """One telling with the row that told it."""
    namespace, name = raw["service_namespace"], raw["service_name"]
    attributes = {promoted[key]: raw[key] for key in promoted if raw[key] is not None}
    attributes |= orjson.loads(as_json(raw["attributes"], b"{}"))
    high, low, span = raw["trace_id_high"], raw["trace_id_low"], raw.get("span_id")
    return {
        "signal": told["signal"],
        "reporter": told["reporter"],
        "time": raw["start_time"],
        "duration_seconds": _over(raw["duration_ns"], NANOSECONDS),
        "requests": told["requests"] / MILLION,
        "attempts": told["attempts"] / MILLION,
        "outcome": OUTCOMES.get(told["outcome"]),
        "unpaired": told["unpaired"],
        "service": f"{namespace}/{name}" if namespace else name,
        "trace_id": None if low is None else f"{high or 0:016x}{low:016x}",
        "span_id": None if span is None else f"{span:016x}",
        "request_id": raw["request_id"],
        "attributes": orjson.dumps(attributes).decode(),
        "resource": as_json(raw["resource_attributes"], b"{}").decode(),
    }


def _over(number: int | None, unit: int) -> float | None:
    return None if number is None else number / unit


def _unix_ns(time: datetime) -> int:
    return (time - EPOCH) // timedelta(microseconds=1) * 1000
