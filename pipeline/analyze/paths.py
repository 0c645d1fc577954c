"""Proxies whose metrics come by several paths: scraped and sent, or by two Prometheus servers.

A *path* is one way by which series came: their resource, and the labels that those who pass metrics
on put on them. Paths whose series are of one process, as far as these say, are of one *producer*.
What a producer tells of a call by one metric is counted once: by the path with most points near the
minute, and where several have nearly as many, by the same of them every minute. The rules:

1. One pod is one producer: by ``k8s.pod.name``, by the labels ``pod`` and ``namespace``, or by the
   id of its Envoy. A path that names no pod is of the pod that others of its resource name, or of
   the pod that has its address, if just one has.
2. Else an instance that is told as host and port is one, but for loopback, and one that is told by
   a UUID; at last a resource. Other ids may be those of all replicas, as Envoys' often are.
3. Paths of clusters with other names are never of one producer.

Everything is decided by the minute, from points of two minutes before to two after it, so that
whatever else is read with them changes nothing.
"""

from typing import Final

import polars as pl

from pipeline.analyze.counters import MINUTE_NS, NO_VALUE
from pipeline.analyze.identity import attribute
from pipeline.analyze.traffic import PATHS, SCRAPERS

REACH: Final = 2
"""Minutes before and after the one that is decided whose points count."""

ENOUGH: Final = 0.75
"""A path with this share of the points of the fullest is as good: reading times jitter."""

ENVOY_NODE: Final = r"^[a-z]+~([0-9a-fA-F.:]+)~([^~.]+)\.([^~]+)~"
"""Node ids of Istio's Envoys: type, address, pod and namespace, domain."""

ADDRESS: Final = r"^\[?([0-9.]+|[0-9a-fA-F:]+)\]?:\d+$"
HOST_AND_PORT: Final = r"^[^\s/]+:\d+$"
UUID: Final = r"(?i)^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
NOWHERE: Final = r"^(localhost|127\.|0\.0\.0\.0|\[?::1?\]?:)"
"""Instances that mean another process on every machine."""

KEYS: Final = ("pod", "address", "instance", "resource_id")
"""What a producer may be known by."""


def known_by(resources: pl.DataFrame) -> pl.DataFrame:
    """What the producers behind resources are known by.

    Returns:
        ``resource_id``, ``pod`` (namespace and name), ``address``, ``instance``, ``cluster``; null
        where not told.
    """
    id_ = pl.col("service_instance_id")
    namespace = pl.coalesce(attribute("k8s.namespace.name"), "service_namespace")
    somewhere = ~id_.str.contains(NOWHERE)
    own = (id_.str.contains(HOST_AND_PORT) & somewhere) | id_.str.contains(UUID)
    return resources.unique("resource_id").select(
        "resource_id",
        pl.coalesce(
            _pod(namespace, attribute("k8s.pod.name")),
            _pod(id_.str.extract(ENVOY_NODE, 3), id_.str.extract(ENVOY_NODE, 2)),
        ).alias("pod"),
        pl.coalesce(
            attribute("k8s.pod.ip"),
            id_.str.extract(ENVOY_NODE, 1),
            pl.when(somewhere).then(id_.str.extract(ADDRESS, 1)),
        ).alias("address"),
        pl.when(own).then(id_).alias("instance"),
        "cluster",
    )  # fmt: skip


def _pod(namespace: pl.Expr, name: pl.Expr) -> pl.Expr:
    return pl.when(namespace.is_not_null() & name.is_not_null()).then(
        pl.format("{}/{}", namespace, name)
    )


def of_series(series: pl.DataFrame, resources: pl.DataFrame) -> pl.DataFrame:
    """The path of each series, and what its producer is known by.

    Args:
        series: columns ``series``, ``resource_id`` and ``labels`` (those of ``PATHS``).
        resources: rows of ``resources`` that these refer to.

    Returns:
        ``series``, ``path``, ``teller`` (a path, and the pod that it says to tell of), ``KEYS`` and
        ``cluster``.
    """
    labels = {path: pl.col("labels").list.get(n, null_on_oob=True) for n, path in enumerate(PATHS)}
    by_labels = _pod(labels['$."namespace"'], labels['$."pod"'])
    passed_on = [labels[path].fill_null("") for path in SCRAPERS]
    known = series.join(known_by(resources), on="resource_id", how="left")
    pod = pl.coalesce(by_labels, "pod")
    # a collector that passes on what pods told says by its resource where it is itself
    own = by_labels.is_null() | pl.col("pod").is_null() | (by_labels == pl.col("pod"))
    return known.select(
        "series",
        pl.concat_str("resource_id", *passed_on, separator=" ").alias("path"),
        pl.concat_str("resource_id", *passed_on, pod.fill_null(""), separator=" ").alias("teller"),
        pod.alias("pod"),
        *(pl.when(own).then(name).alias(name) for name in ("address", "instance")),
        "resource_id",
        "cluster",
    )


def suspects(paths: pl.DataFrame) -> pl.DataFrame:
    """Of the answer of ``of_series`` the series of tellers that share something with another."""
    shared = [
        pl.col(name).is_not_null() & (pl.col("teller").n_unique().over(name) > 1) for name in KEYS
    ]
    told = paths.filter(pl.any_horizontal(shared))
    return paths.join(told.select("teller").unique(), on="teller", how="semi")


def near(series: pl.DataFrame) -> pl.DataFrame:
    """How many points series have near each minute: ``series``, ``minute``, ``points``."""
    stale = (pl.col("flags").fill_null(0) & NO_VALUE) > 0
    points = (
        series.select("series", "time", "flags")
        .explode("time", "flags", empty_as_null=False)
        .filter(~stale)
        .group_by("series", minute=pl.col("time") // MINUTE_NS * MINUTE_NS)
        .len("points")
    )
    return (
        pl.concat(
            points.with_columns(pl.col("minute") + step * MINUTE_NS)
            for step in range(-REACH, REACH + 1)
        )
        .group_by("series", "minute")
        .agg(pl.col("points").sum())
    )


def producers(paths: pl.DataFrame) -> pl.DataFrame:
    """Who is behind each teller in each minute; answers ``minute``, ``teller``, ``producer``.

    Args:
        paths: one row per minute and teller, with ``KEYS`` and ``cluster``.
    """
    for key in ("resource_id", "address"):
        paths = paths.join(_pods(paths, key), on=["minute", key], how="left")
    pod = pl.coalesce("pod", "pod_by_resource_id", "pod_by_address")
    name = pl.coalesce(
        pl.format("pod {}", pod),
        pl.format("instance {}", "instance"),
        pl.format("resource {}", "resource_id"),
    )
    clusters = pl.col("cluster").drop_nulls().n_unique().over("minute", "name")
    return paths.with_columns(name.alias("name")).select(
        "minute",
        "teller",
        pl.when(clusters > 1)
        .then(pl.format("{} in {}", "name", "cluster"))
        .otherwise("name")
        .fill_null(pl.format("teller {}", "teller"))
        .alias("producer"),
    )


def _pods(paths: pl.DataFrame, key: str) -> pl.DataFrame:
    """By what is known of a minute's paths, the pod that is meant, where it is one alone."""
    return (
        paths.drop_nulls(["pod", key])
        .group_by("minute", key)
        .agg(pl.col("pod").n_unique().alias("pods"), pl.col("pod").min().alias(f"pod_by_{key}"))
        .filter(pl.col("pods") == 1)
        .drop("pods")
    )


def ordered(told: pl.DataFrame, call: list[str]) -> pl.DataFrame:
    """The paths of each call in the order in which they are believed.

    Args:
        told: one row per path and call, with ``points``.
        call: columns that say what is told of which call by whom.

    Returns:
        ``call``, ``path``, ``paths`` (how many there are), and ``place``: 0 for the path that
        counts, 1 for the next.
    """
    enough = pl.col("points") >= pl.col("points").max().over(call) * ENOUGH
    return (
        told.with_columns(enough.alias("enough"))
        .sort(*call, "enough", "path", descending=[*[False] * len(call), True, False])
        .select(
            *call,
            "path",
            pl.len().over(call).alias("paths"),
            pl.int_range(pl.len()).over(call).alias("place"),
        )
    )


def parts(tellers: pl.DataFrame, resources: pl.DataFrame, *, most: int) -> list[list[str]]:
    """Resources in parts of about ``most`` points; those of one producer stand in one part.

    Args:
        tellers: answer to the question ``metric_tellers``.
        resources: rows of ``resources`` that these refer to.
        most: how many points a part may have, but for a producer that has more.
    """
    shared = _joined(of_series(tellers.with_row_index("series"), resources))
    points = tellers.group_by("resource_id").agg(pl.col("points").sum()).sort("resource_id")
    filled: dict[str, int] = {}
    members: dict[str, list[str]] = {}
    for resource, count in points.iter_rows():
        first = shared.get(resource, resource)
        members.setdefault(first, []).append(resource)
        filled[first] = filled.get(first, 0) + count
    found: list[list[str]] = []
    room = 0
    for first, together in members.items():
        if not found or filled[first] > room:
            found.append([])
            room = most
        found[-1] += together
        room -= filled[first]
    return found


def _joined(known: pl.DataFrame) -> dict[str, str]:
    """Of resources that share a key, over whatever others, one that stands for all."""
    first: dict[str, str] = {}

    def root(of: str) -> str:
        while first.setdefault(of, of) != of:
            first[of] = first[first[of]]
            of = first[of]
        return of

    for name in KEYS:
        for sharing in (
            known.drop_nulls(name)
            .group_by(name)
            .agg(pl.col("resource_id").unique().alias("sharing"))["sharing"]
        ):
            roots = sorted({root(one) for one in sharing})
            first.update(dict.fromkeys(roots, roots[0]))
    return {one: root(one) for one in list(first)}
