"""North-south meets east-west: calls whose two ends are told in ways that do not find each other.

A gateway logs the request it sent on; the mesh behind it tells of its first hop by spans or by
access logs of its own, and does not know who called. Both carry the request's trace id or its
request id. Then the gateway called the first hop, and the name it has for its upstream is a name
of the service that answered. The rules:

1. A *call* is what a gateway says it sent on when nothing paired it; what others say too, but then
   only to the service that their name for it names. An *entry* is what somebody says they served
   when nothing tells who called: no parent, or one that was not received. What is known to be
   served for that gateway, because it tells of the request in two ways, is one too.
2. They belong together by trace id or by request id, or by one and the other where a third row
   carries both. Nobody calls themselves.
3. Of several calls an entry's is the one that began nearest to it: clocks of gateways and of the
   mesh differ, so that neither must begin before the other. Only between gateways it is time that
   tells who called whom: the caller began earlier, or at the same moment and took longer.
4. Of several entries a call's is the first, with what else its service tells of it: by other
   reporters, and by as many attempts as the call made. The last attempt is the request. Later
   entries of the trace are hops whose callers' tellings are missing; they stay unknown.
5. Whoever is at one end of a request knows what others there know of its caller.
6. The request began when the gateway's call did, so that both tellings count in one minute.

Which ids gateways log and propagate: Kong ``trace_id.w3c``, ``traceparent``, B3; AWS X-Ray's root
id without its dashes; Apigee the headers its template logs; Envoy ``x-request-id``, which spans of
Envoys carry as ``guid:x-request-id``.
"""

from collections.abc import Sequence
from typing import Final

import polars as pl

from pipeline.analyze import names
from pipeline.analyze.access_log import from_access_logs
from pipeline.analyze.outcome import OK
from pipeline.analyze.telling import TELLING, from_spans
from pipeline.model.topology import CLIENTS, NOT_RECEIVED, NodeKind, Reporter

IDS: Final = ("trace_id_high", "trace_id_low", "request_id")
"""Columns that tellings must have beside those of ``TELLING`` to be joined."""

CALLS_PER_ID: Final = 64
"""Calls of one id that are looked at, the earliest: an id that never changes joins nothing more,
and does not cost the square of its use."""

_ENDS: Final = ("client", "server")
_WAYS: Final = (("trace_id_high", "trace_id_low"), ("request_id",))


def tellings(
    spans: pl.DataFrame,
    access_logs: pl.DataFrame,
    known: tuple[pl.DataFrame, pl.DataFrame],
    *,
    keep: Sequence[str] = (),
) -> pl.DataFrame:
    """What spans and access logs tell of calls, joined.

    Args:
        spans: see ``telling.from_spans``.
        access_logs: see ``access_log.from_access_logs``.
        known: answer of ``identity.identify``.
        keep: columns of both to answer beside, for those who ask which row told it.

    Returns:
        Columns of ``TELLING``, and those to keep; spans before access logs.
    """
    resources, identities = known
    beside = [*IDS, *keep]
    told = pl.concat(
        [
            from_spans(spans, resources, keep=beside),
            from_access_logs(access_logs, resources, keep=beside),
        ]
    )
    told = _beside(joined(told, identities), identities)
    return _at_ends(told, identities).select(*TELLING, *keep)


def joined(told: pl.DataFrame, identities: pl.DataFrame) -> pl.DataFrame:
    """Let calls of gateways and what was served behind them know of each other.

    Args:
        told: tellings of whole traces and requests by all signals, with the columns ``IDS``; the
            rows of one trace, and of one request, must all be there.
        identities: second frame of ``identity.identify``.

    Returns:
        The same tellings in the same order; ``server`` of calls, and ``client``, ``begin`` and
        ``requests`` of entries, as found.
    """
    told = told.with_row_index("row")
    calls, entries = _calls(told, identities), _entries(told, identities)
    if calls.is_empty() or entries.is_empty():
        return told.drop("row")
    traces = _traces(told)
    calls, entries = _in_question(_traced(calls, traces), _traced(entries, traces))
    if calls.is_empty():
        return told.drop("row")
    calls = calls.join(_places(told, calls["call"], "call"), on="call")
    entries = entries.join(_places(told, entries["entry"], "entry"), on="entry")
    pairs = _pairs(calls, entries)
    if pairs.is_empty():
        return told.drop("row")
    return _with_callers(_with_callees(told, pairs), pairs).drop("row")


def _beside(told: pl.DataFrame, identities: pl.DataFrame) -> pl.DataFrame:
    """Tellings of a caller that is unknown, with the caller that others at the same end know of.

    A server's access log knows the caller's certificate, which its spans do not.
    """
    told = told.with_row_index("row")
    serving = told.filter(pl.col("serves") & pl.col("server").is_not_null())
    if serving.select(_TELLER).unique().height < 2:
        return told.drop("row")
    unknown = _entries(serving, identities).filter(pl.col("asked_by").is_null())
    if unknown.is_empty():
        return told.drop("row")
    beside = serving.select(
        *IDS,
        *(pl.col(name).alias(f"other_{name}") for name in (*_CLIENT, *_TELLER, "begin")),
        node=_node_of("server", identities),
        known=pl.col("client").is_not_null()
        | (pl.col("client_alias").is_not_null() & (pl.col("client_alias") != NOT_RECEIVED)),
    )
    traces = _traces(told)
    unknown, beside = _traced(unknown, traces), _traced(beside, traces)
    met = pl.concat(_told_beside(unknown, beside, way) for way in _WAYS)
    who = [f"other_{name}" for name in _CLIENT]
    # of every other teller the telling nearest to it is of the same call
    nearest = met.sort("entry", "apart", ~pl.col("known"), "other_begin", *who).unique(
        ["entry", *(f"other_{name}" for name in _TELLER)], keep="first", maintain_order=True
    )
    callers = nearest.filter("known").unique("entry", keep="first", maintain_order=True)
    found = callers.select(pl.col("entry").alias("row"), pl.col("known").alias("found"), *who)
    return _changed(told, found, **{name: pl.col(f"other_{name}") for name in _CLIENT}).drop("row")


def _told_beside(unknown: pl.DataFrame, beside: pl.DataFrame, way: Sequence[str]) -> pl.DataFrame:
    """What others at the same end tell under one id, for each whose caller is unknown."""
    on = [*way, "node"]
    mine = unknown.drop_nulls(list(way))
    others = beside.join(mine, on=on, how="semi")
    few = others.sort(pl.all()).with_columns(nth=pl.int_range(pl.len()).over(on))
    return (
        mine.join(few.filter(pl.col("nth") < CALLS_PER_ID), on=on)
        .filter(
            (pl.col("reporter") != pl.col("other_reporter"))
            | (pl.col("signal") != pl.col("other_signal"))
        )
        .select("entry", "known", pl.col("^other_.*$"), apart=_apart())
    )


def _apart() -> pl.Expr:
    return (pl.col("begin") - pl.col("other_begin")).abs()


_TELLER: Final = ("reporter", "signal")
_CLIENT: Final = ("client", "client_name", "client_kind", "client_alias")


def _at_ends(told: pl.DataFrame, identities: pl.DataFrame) -> pl.DataFrame:
    """Tellings in which a gateway that another gateway called reports as the server's proxy.

    Both are gateways and tell of one call; as one reporter their counts would be added up.
    """
    between = (
        pl.col("serves") & _by_gateway() & pl.col("client").is_in(_gateways(identities).implode())
    ).fill_null(value=False)
    reporter = pl.when(between).then(pl.lit(Reporter.SERVER_PROXY.value)).otherwise("reporter")
    return told.with_columns(reporter=reporter)


def _calls(told: pl.DataFrame, identities: pl.DataFrame) -> pl.DataFrame:
    """What was sent on and nobody answered for; ``expected`` unless a gateway sent it."""
    return told.filter(
        ~pl.col("serves")
        & pl.col("server").is_null()
        & pl.col("server_name").is_null()
        & pl.col("client").is_not_null()
    ).select(
        *IDS,
        pl.col("row").alias("call"),
        pl.col("begin").alias("called"),
        pl.when(pl.col("requests") > 0)
        .then(pl.col("attempts") // pl.col("requests"))
        .otherwise(1)
        .alias("tries"),
        pl.col("client").alias("caller"),
        pl.col("duration_ns").alias("call_duration_ns"),
        node=_node_of("client", identities),
        expected=pl.when(~_by_gateway()).then(_expected(_node_of("client", identities))),
    )


def _expected(caller: pl.Expr) -> pl.Expr:
    """The node that a call's name for the other end says, as far as the name alone tells."""
    name = pl.col("server_alias").fill_null("")
    host = name.str.extract(r"^([a-z][a-z0-9-]*)(?::\d+)?$")
    namespace = caller.str.extract(r"^([^/]+)/")
    return pl.coalesce(
        names.node(name),
        pl.when(name.str.contains(r"^[a-z0-9.-]+/[a-z0-9.-]+$")).then(name),
        pl.concat_str(namespace, host, separator="/"),
        host,
        pl.lit(""),
    )


def _entries(told: pl.DataFrame, identities: pl.DataFrame) -> pl.DataFrame:
    """What was served for a caller of whom nothing is known, or for a gateway, ``asked_by``."""
    nobody = (
        pl.col("client").is_null()
        & (pl.col("client_name").is_null() | (pl.col("client_name") == CLIENTS))
        & (pl.col("client_alias").is_null() | (pl.col("client_alias") == NOT_RECEIVED))
    )
    of_gateway = pl.col("client").is_in(_gateways(identities).implode())
    return told.filter(
        pl.col("serves")
        & pl.col("server").is_not_null()
        & (nobody | of_gateway.fill_null(value=False))
    ).select(
        *IDS,
        pl.col("row").alias("entry"),
        "begin",
        "server",
        "reporter",
        "signal",
        "duration_ns",
        "outcome",
        node=_node_of("server", identities),
        asked_by=_node_of("client", identities),
    )


def _traces(told: pl.DataFrame) -> pl.DataFrame:
    """The one trace that a request is known to belong to, by a row that carries both ids."""
    return (
        told.select(pl.struct(_WAYS[0]).alias("trace"), *IDS)
        .drop_nulls(["trace_id_low", "request_id"])
        .group_by("request_id")
        .agg(pl.col("trace").first(), pl.col("trace").n_unique().alias("traces"))
        .filter(pl.col("traces") == 1)
        .select("request_id", found=pl.col("trace"))
    )


def _traced(rows: pl.DataFrame, traces: pl.DataFrame) -> pl.DataFrame:
    """Rows that carry a request id only, with the trace id that others carry with it."""
    told = rows.join(traces, on="request_id", how="left", maintain_order="left")
    return told.with_columns(
        pl.when(pl.col("trace_id_low").is_null())
        .then(pl.col("found").struct.field(name))
        .otherwise(name)
        .alias(name)
        for name in _WAYS[0]
    ).drop("found")


def _in_question(calls: pl.DataFrame, entries: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The calls and entries that have an id in common, and a name where one is expected."""
    named = pl.col("expected").is_not_null()
    met_calls, met_entries = [], []
    for way in _WAYS:
        told = list(way)
        mine, theirs = calls.drop_nulls(told), entries.drop_nulls(told)
        for some, by, of in (
            (mine.filter(~named), told, told),
            (mine.filter(named), [*told, "expected"], [*told, "node"]),
        ):
            met_calls.append(some.join(theirs, left_on=by, right_on=of, how="semi"))
            met_entries.append(theirs.join(some, left_on=of, right_on=by, how="semi"))
    return pl.concat(met_calls).unique("call"), pl.concat(met_entries).unique("entry")


def _places(told: pl.DataFrame, rows: pl.Series, name: str) -> pl.DataFrame:
    """The place of rows among each other by all they tell, whatever order they came in."""
    some = told[rows]
    place = pl.struct(*TELLING, *IDS).rank("ordinal").alias(f"{name}_place")
    return some.select(pl.col("row").alias(name), place)


def _gateways(identities: pl.DataFrame) -> pl.Series:
    return identities.filter(pl.col("kind") == NodeKind.GATEWAY)["identity"]


def _node_of(end: str, identities: pl.DataFrame) -> pl.Expr:
    """The node id of an end: several identities are one service."""
    return pl.col(end).replace_strict(
        identities["identity"], identities["node"], default=None, return_dtype=pl.String
    )


def _pairs(calls: pl.DataFrame, entries: pl.DataFrame) -> pl.DataFrame:
    """Rules 2 to 4: which entry tells of which call."""
    met = pl.concat([_met(calls, entries, way) for way in _WAYS]).unique(["call", "entry"])
    nearest = met.sort(
        "entry",
        (pl.col("begin") - pl.col("called")).abs(),
        "called",
        "call_place",
    ).unique("entry", keep="first", maintain_order=True)
    first = (
        nearest.sort("call", pl.col("asked_by").is_null(), "begin", "node", "entry_place")
        .unique("call", keep="first", maintain_order=True)
        .select("call", answering="node")
    )
    mine = nearest.join(first, left_on=["call", "node"], right_on=["call", "answering"])
    tried = pl.struct("begin", "entry_place").rank("ordinal")
    of_reporter = ("call", "reporter", "signal")
    kept = mine.with_columns(tried.over(of_reporter).alias("attempt")).filter(
        pl.col("attempt") <= pl.col("tries")
    )
    last = pl.struct(pl.col("outcome") == OK, "attempt").rank("ordinal", descending=True)
    return kept.with_columns((last.over(of_reporter) == 1).alias("request"))


def _met(calls: pl.DataFrame, entries: pl.DataFrame, way: Sequence[str]) -> pl.DataFrame:
    """Calls and entries of one id, other than of one node."""
    few = (
        calls.drop_nulls(list(way))
        .with_columns(pl.struct("called", "call_place").rank("ordinal").over(way).alias("nth"))
        .filter(pl.col("nth") <= CALLS_PER_ID)
        .select(
            *way,
            "call",
            "called",
            "tries",
            "caller",
            "call_duration_ns",
            "call_place",
            "expected",
            calling="node",
        )
    )
    return (
        entries.drop_nulls(list(way))
        .join(few, on=list(way))
        .filter(pl.col("expected").is_null() | (pl.col("expected") == pl.col("node")))
        .filter(
            (pl.col("node") != pl.col("calling"))
            & pl.when(pl.col("asked_by").is_null())
            .then(_later() | ~_by_gateway())
            .otherwise(pl.col("asked_by") == pl.col("calling"))
        )
        .drop(IDS, strict=False)
    )


def _by_gateway() -> pl.Expr:
    return pl.col("reporter") == Reporter.GATEWAY


def _later() -> pl.Expr:
    """Whether the entry lies inside of the call, as far as their beginnings tell."""
    same = pl.col("called") == pl.col("begin")
    longer = pl.col("call_duration_ns") > pl.col("duration_ns")
    return (pl.col("called") < pl.col("begin")) | (same & longer.fill_null(value=False))


def _with_callees(told: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """Calls with who answered them: the teller of the last attempt."""
    answers = (
        pairs.sort("call", "begin", "server", descending=[False, True, False])
        .unique("call", keep="first", maintain_order=True)
        .select(row="call", found="server")
    )
    return _changed(
        told,
        answers,
        server=pl.col("found"),
        server_kind=pl.lit(None, pl.String),
        unpaired=pl.lit(value=False),
    )


def _with_callers(told: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """Entries with who called them, and when."""
    unknown = pairs.filter(pl.col("asked_by").is_null())
    callers = unknown.select("called", "request", row="entry", found="caller")
    return _changed(
        told,
        callers,
        client=pl.col("found"),
        client_name=pl.lit(None, pl.String),
        client_kind=pl.lit(None, pl.String),
        client_alias=pl.lit(None, pl.String),
        begin=pl.col("called"),
        requests=pl.when("request").then("requests").otherwise(0),
        unpaired=pl.lit(value=False),
    )


def _changed(told: pl.DataFrame, found: pl.DataFrame, **columns: pl.Expr) -> pl.DataFrame:
    """Tellings with other values where something was found."""
    with_found = told.join(found, on="row", how="left", maintain_order="left")
    known = pl.col("found").is_not_null()
    return with_found.with_columns(
        pl.when(known).then(value).otherwise(pl.col(name)).alias(name)
        for name, value in columns.items()
    ).select(told.columns)
