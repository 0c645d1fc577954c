"""Waypoints of Istio's ambient mode in traces: between caller and callee, and neither of them.

What had a span of a waypoint for its parent has the caller's span for it, as if none stood between.
What the waypoint's own server span tells is the call once more, by a proxy at the callee's side: of
the service that its cluster names (``inbound-vip|80|http|reviews.shop.svc.cluster.local``). Where
applications do not trace, it is all there is.
"""

from typing import Final

import polars as pl

from pipeline.analyze import kinds, names, peer

_TRACE: Final = ("trace_id_high", "trace_id_low")
_PARENT: Final = (*_TRACE, "parent_span_id")
_SPAN: Final = (*_TRACE, "span_id")
_IN_A_ROW: Final = 4


def apart(spans: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Spans of others, with parents as if there were no waypoints, and what waypoints tell.

    Args:
        spans: whole traces, with the columns of ``identity.identify``'s resources.

    Returns:
        Two frames: the spans, and those that tell of calls, with the columns that ``pair`` answers
        beside (``side``, ``other``, ``begin``, ``request``, ``attempts``) and ``far``, the caller.
    """
    way = pl.col("waypoint").fill_null(value=False)
    if not spans["waypoint"].any():
        return spans, spans.clear()
    mine = spans.filter(way)
    above = (
        mine.select(*_SPAN, above="parent_span_id")
        .sort("above")
        .unique(_SPAN, keep="first", maintain_order=True)
        .rename({"span_id": "parent_span_id"})
        .with_columns(through=pl.lit(value=True))
    )
    rest = spans.filter(~way)
    # a waypoint has a server's span, and a client's below it
    for _ in range(2 * _IN_A_ROW):
        found = rest.join(above, on=_PARENT, how="left", maintain_order="left")
        parent = pl.when(pl.col("through")).then("above").otherwise("parent_span_id")
        rest = found.with_columns(parent_span_id=parent).select(rest.columns)
    return rest, _told(mine, rest)


def _told(mine: pl.DataFrame, rest: pl.DataFrame) -> pl.DataFrame:
    """The server spans of waypoints that name the service they stand before."""
    served = mine.filter(
        (pl.col("kind") == kinds.SERVER) & names.node(pl.col("upstream_cluster")).is_not_null()
    ).unique([*_SPAN, "start_time"], keep="first", maintain_order=True)
    callers = (
        rest.select(*_SPAN, far="identity")
        .sort("far")
        .unique(_SPAN, keep="first", maintain_order=True)
        .rename({"span_id": "parent_span_id"})
        .with_columns(received=pl.lit(value=True))
    )
    other = (
        pl.when(pl.col("received"))
        .then(0)
        .when(pl.col("parent_span_id").is_null())
        .then(kinds.ROOT)
        .otherwise(kinds.MISSING)
    )
    return served.join(callers, on=_PARENT, how="left", maintain_order="left").with_columns(
        side=pl.lit(kinds.SERVER_SIDE, pl.UInt8),
        other=other.cast(pl.Int64),
        begin=pl.col("start_time"),
        request=pl.lit(1, pl.UInt8),
        attempts=pl.lit(1, pl.Int32),
    )


def of_service(told: pl.DataFrame, cluster: pl.Series) -> pl.DataFrame:
    """Tellings of waypoints, with the service that ``cluster`` names for the callee."""
    service = pl.DataFrame({"cluster": cluster}).select(names.node(pl.col("cluster"))).to_series()
    return told.with_columns(
        pl.lit(None, pl.Int32).alias("server"),
        service.alias("server_alias"),
        pl.select(peer.alias_kind(pl.lit(service))).to_series().alias("server_kind"),
    )
