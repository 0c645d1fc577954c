"""Timeouts from what attempts were seen to need.

One attempt gets the larger of 1.2 times the 99.9th and 1.5 times the 99th percentile, each of the
worst hour among healthy minutes; the request gets room for all attempts and the waits between
them. Nothing is advised that would have cut more than one healthy request in a thousand.
"""

import math
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import polars as pl
import xxhash

from pipeline.model.policy import Evidence, PolicyTarget, Recommendation, Timeout
from pipeline.model.topology import CLIENTS, NodeKind, Reporter
from pipeline.recommend.latency import merged, quantiles, share_above

NAME: Final = "timeouts"

P99_9_FACTOR: Final = 1.2
P99_FACTOR: Final = 1.5
"""Room above the percentiles: a deadline is to stop what has gone wrong, not what is slow."""

MIN_ROWS: Final = 1000
"""Fewest tellings of healthy requests: of fewer, not one lies past the 99.9th percentile."""
MIN_MINUTES: Final = 10
"""Fewest healthy minutes, so that one burst does not speak for the edge."""
HEALTHY_ERROR_RATIO: Final = 0.05
"""Minutes with a larger share of failures do not count: broken servers answer too fast or never."""
MAX_FALSE_TIMEOUTS: Final = 0.001
"""The largest share of healthy requests that a proposed timeout may have cut."""

FLOOR_SECONDS: Final = 0.025
"""Shorter deadlines would be met by connection set-up and pauses of a runtime, not by work."""
CEILING_SECONDS: Final = 60.0
"""An edge that needs longer carries streams or long polls, for which a deadline is wrong."""
TRIES: Final = 3
"""Attempts the request has room for: two retries, as meshes do by default (Envoy's own is one)."""
BACKOFF_SECONDS: Final = 0.1
"""Most that proxies wait in all before those retries: 25 ms, then 75 ms (Envoy, 25 ms base)."""

FULL_WINDOW: Final = timedelta(days=7)
"""History in which a week's worst hour is; a shorter one halves the confidence at most."""
_Z95: Final = 1.6449

_FULLEST_SHARE: Final = 0.8
"""Reporters that disagree by more than a fifth: the one that saw less does not speak."""
_PREFERENCE: Final = {
    Reporter.CLIENT_PROXY: 0,
    Reporter.CLIENT: 1,
    Reporter.GATEWAY: 2,
    Reporter.SERVER_PROXY: 3,
    Reporter.SERVER: 4,
}
"""The caller's side first: a deadline runs there, and the network is part of what it waits for."""

_EDGE: Final = ("client", "server")
_MILLION: Final = 1_000_000

_Budgets = dict[tuple[str, str], Timeout]


class Timeouts:
    """Advises the deadlines of calls between services."""

    name = NAME

    def recommend(
        self, edges: pl.DataFrame, *, start: datetime, end: datetime
    ) -> Sequence[Recommendation]:
        """One recommendation for each edge with evidence enough, ordered by server and client."""
        told = _best_told(_callable(edges))
        proposed = _proposed(told)
        budgets: _Budgets = {
            (str(row["client"]), str(row["server"])): _policy(row["per_try"])
            for row in proposed.iter_rows(named=True)
        }
        slowest = _slowest_calls(budgets)
        return [
            _recommendation(row, budgets, slowest.get(str(row["server"])), start=start, end=end)
            for row in proposed.sort("server", "client").iter_rows(named=True)
        ]


def _callable(edges: pl.DataFrame) -> pl.DataFrame:
    """Rows of calls whose deadline can be set: a known caller, a service, a request protocol."""
    ends = (NodeKind.SERVICE, NodeKind.GATEWAY)
    return edges.filter(
        pl.col("client").is_not_null()
        & (pl.col("client") != CLIENTS)
        & pl.col("client_kind").is_in(ends)
        & pl.col("server").is_not_null()
        & pl.col("server_kind").is_in(ends)
        & pl.col("protocol").is_in(("http", "grpc"))
        & pl.col("reporter").is_in(list(_PREFERENCE))
        & (pl.col("requests") > 0)
    )


def _best_told(edges: pl.DataFrame) -> pl.DataFrame:
    """The rows of one reporter and signal per edge; tellings are never added up."""
    best = (
        edges.group_by(*_EDGE, "reporter", "signal")
        .agg(pl.col("requests").sum())
        .filter(pl.col("requests") >= _FULLEST_SHARE * pl.col("requests").max().over(*_EDGE))
        .with_columns(rank=pl.col("reporter").replace_strict(_PREFERENCE, return_dtype=pl.Int64))
        .sort("rank", -pl.col("requests"), "signal")
        .unique(_EDGE, keep="first", maintain_order=True)
    )
    return edges.join(best, on=[*_EDGE, "reporter", "signal"], how="semi")


def _proposed(told: pl.DataFrame) -> pl.DataFrame:
    """One row per edge that gets advice: the deadline of an attempt, and its evidence."""
    edges = told.select(_EDGE).unique(maintain_order=True).with_row_index("edge")
    minutes = _judged(told.join(edges, on=list(_EDGE)))
    hourly = merged(_by_hour(minutes.filter("healthy")), ["edge", "hour", "speaks"])
    worst = (
        quantiles(hourly.filter("speaks"), ["edge", "hour"], p99=0.99, p99_9=0.999)
        .group_by("edge")
        .agg(pl.col("p99").max(), pl.col("p99_9").max())
    )
    needed = pl.max_horizontal(
        pl.col("p99_9") * P99_9_FACTOR, pl.col("p99") * P99_FACTOR, pl.lit(FLOOR_SECONDS)
    )
    chosen = (
        worst.with_columns(per_try=_rounded_up(needed))
        .filter(pl.col("per_try") <= CEILING_SECONDS)
        .join(_amounts(minutes), on="edge")
        .filter((pl.col("rows") >= MIN_ROWS) & (pl.col("minutes") >= MIN_MINUTES))
    )
    bounds = chosen.select("edge", "per_try")
    cut = share_above(hourly.join(bounds, on="edge"), ["edge"], "per_try")
    return (
        chosen.join(cut, on="edge")
        .with_columns(false_timeouts=pl.col("above") / pl.col("total"))
        .filter(pl.col("false_timeouts") <= MAX_FALSE_TIMEOUTS)
        .join(edges, on="edge")
    )


def _judged(told: pl.DataFrame) -> pl.DataFrame:
    """The rows with whether the minute of their edge was healthy, over all rows of that minute."""
    failed = pl.col("server_errors") + pl.col("connection_errors")
    return told.with_columns(
        healthy=failed.sum().over("edge", "minute")
        <= HEALTHY_ERROR_RATIO * pl.col("requests").sum().over("edge", "minute")
    )


def _by_hour(minutes: pl.DataFrame) -> pl.DataFrame:
    """Hours to look for the worst in: those with too few tellings to speak are one together."""
    enough = pl.col("rows").sum().over("edge", "hour") >= MIN_ROWS
    return (
        minutes.with_columns(hour=pl.col("minute").dt.truncate("1h").dt.epoch("s"))
        .with_columns(hour=pl.when(enough).then("hour"))
        .with_columns(speaks=enough)
    )


def _amounts(minutes: pl.DataFrame) -> pl.DataFrame:
    """Per edge, how much history there is and how much of it is healthy."""
    good = pl.col("healthy")
    return minutes.group_by("edge").agg(
        pl.col("reporter").first(),
        rows=pl.col("rows").filter(good).sum(),
        minutes=pl.col("minute").filter(good).n_unique(),
        healthy_share=pl.col("requests").filter(good).sum() / pl.col("requests").sum(),
        first=pl.col("minute").min(),
        last=pl.col("minute").max(),
    )


def _rounded_up(seconds: pl.Expr) -> pl.Expr:
    """Two significant digits, upwards: small changes of the history leave the advice as it is."""
    unit = pl.lit(10.0).pow(seconds.log10().floor() - 1)
    return ((seconds / unit - 1e-9).ceil() * unit).round(6)


def _policy(per_try: float) -> Timeout:
    request = math.ceil((per_try * TRIES + BACKOFF_SECONDS) * 100 - 1e-9) / 100
    return Timeout(per_try_seconds=per_try, request_seconds=request, tries=TRIES)


def _slowest_calls(budgets: _Budgets) -> dict[str, tuple[float, str]]:
    """For each caller, how long its longest call may take, and whom it calls."""
    slowest: dict[str, tuple[float, str]] = {}
    for (client, callee), policy in budgets.items():
        if client != callee:
            call = (policy.request_seconds, callee)
            slowest[client] = max(slowest.get(client, call), call)
    return slowest


def _recommendation(
    row: dict[str, Any],
    budgets: _Budgets,
    callee: tuple[float, str] | None,
    *,
    start: datetime,
    end: datetime,
) -> Recommendation:
    client, server = str(row["client"]), str(row["server"])
    policy = budgets[client, server]
    target = PolicyTarget(server=server, client=client)
    reason = (
        f"In the worst hour 99.9 % of attempts from {client} to {server} ended within "
        f"{row['p99_9']:.3g} s; who waits longer than {policy.per_try_seconds:g} s waits in vain."
    )
    if callee and callee[0] > policy.per_try_seconds:
        reason += (
            f" Inversion: {server} may spend {callee[0]:g} s on {callee[1]} with all retries, "
            f"longer than an attempt to {server} is waited for."
        )
    cut, total = row["above"] / _MILLION, row["total"] / _MILLION
    return Recommendation(
        id=_id(target, policy),
        rule=NAME,
        policy=policy,
        target=target,
        reason=reason,
        evidence=tuple(_evidence(row, callee)),
        expected_effect=(
            f"Replayed on {total:,.0f} healthy requests of that time, {cut:,.0f} "
            f"({row['false_timeouts']:.3%}) would have been cut; "
            f"at most {_upper(row):.3%} with 95 % confidence."
        ),
        confidence=_confidence(row),
        undo=(
            f"Remove the timeout and the per-try timeout from the route of {client} to {server}; "
            "calls then wait as they did before."
        ),
        start=start,
        end=end,
    )


def _evidence(row: dict[str, Any], callee: tuple[float, str] | None) -> Iterator[Evidence]:
    source = f"edge_minutes, told by {row['reporter']}"
    yield Evidence("latency_p99_worst_hour", row["p99"], "s", source)
    yield Evidence("latency_p99_9_worst_hour", row["p99_9"], "s", source)
    yield Evidence("observations", float(row["rows"]), "1", source)
    yield Evidence("healthy_minutes", float(row["minutes"]), "min", source)
    yield Evidence("healthy_request_ratio", row["healthy_share"], "1", source)
    yield Evidence("false_timeout_ratio", row["false_timeouts"], "1", f"replay on {source}")
    yield Evidence("false_timeout_ratio_upper_95", _upper(row), "1", f"replay on {source}")
    if callee:
        yield Evidence("slowest_callee_budget", callee[0], "s", f"this rule, for {callee[1]}")


def _upper(row: dict[str, Any]) -> float:
    """Wilson's upper bound of the share of false timeouts, from as many tellings as there are."""
    n, share = float(row["rows"]), float(row["false_timeouts"])
    spread = _Z95**2 / n
    centre = share + spread / 2
    return (centre + _Z95 * math.sqrt(share * (1 - share) / n + spread / (4 * n))) / (1 + spread)


def _confidence(row: dict[str, Any]) -> float:
    """Grows with the observations past the 99.9th percentile, the length and the health of history.

    With k of them the error of that rank falls as 1/sqrt(k): 0.29 at one, 0.9 at a hundred.
    """
    beyond = row["rows"] / 1000
    length = float((row["last"] - row["first"]) / FULL_WINDOW)
    known = 1 - 1 / math.sqrt(1 + beyond)
    return float(round(known * (0.5 + 0.5 * min(1.0, length)) * row["healthy_share"], 3))


def _id(target: PolicyTarget, policy: Timeout) -> str:
    return xxhash.xxh3_64_hexdigest(repr((NAME, target, policy)).encode())
