"""Who is who: resources as received to the nodes of the graph.

A node id is ``namespace/name`` when a namespace is known, else ``name``. Many resources (pods,
processes) are one identity; tellings carry identities as numbers until they have been summed. What
a resource is called is in its columns, which the decoders filled; a proxy of Linkerd is called like
all of its kind, and says what it stands before by the labels of its pod
(linkerd/linkerd2-proxy ``linkerd/app/src/env/trace.rs``).
"""

import re
from typing import Final

import polars as pl

from pipeline.model.pods import service_of_pod
from pipeline.model.topology import NodeKind

GATEWAY_NAME: Final = (
    r"(?i)(^|[-_.])(api-?gateway|gateway|ingressgateway|egressgateway|ingress|apigw)($|[-_.\d])"
)
"""Names by which gateways are deployed, when nothing better tells; Istio, Kong, Envoy Gateway."""

GATEWAY_SYSTEMS: Final = ("kong", "apigee", "aws")
"""Systems that are nothing but API gateways."""

GATEWAY_NODE: Final = r'"[^"]*id":"router~|"[^"]*(?i:role|node_type)":"(?i:gateway|router)"'
"""What an Envoy node says of itself: Istio's router type, or a role in its metadata."""


WAYPOINT_NODE: Final = r'"[^"]*id":"waypoint~'
"""What a waypoint of Istio's ambient mode says of itself."""

WAYPOINT_NAME: Final = r"^(?:[a-z0-9-]+-)?waypoint(?:\.[a-z0-9-]+)?$"
"""What waypoints are called, alone or with their namespace as Istio writes it into spans."""

LINKERD_PROXY: Final = "linkerd-proxy"
"""Name of every proxy of Linkerd, as a service and as a container."""

_LINKERD_NAMES: Final = (
    "linkerd.io/proxy-deployment", "linkerd.io/proxy-statefulset", "linkerd.io/proxy-daemonset",
    "k8s.deployment.name", "k8s.statefulset.name", "k8s.daemonset.name",
    "app.kubernetes.io/name", "app",
)  # fmt: skip
_LINKERD_NAMESPACES: Final = ("k8s.namespace.name", "linkerd.io/workload-ns")


def node_id(namespace: pl.Expr, name: pl.Expr) -> pl.Expr:
    """``namespace/name``, or ``name`` when there is no namespace."""
    return (
        pl.when(namespace.is_null() | (namespace == ""))
        .then(name)
        .otherwise(pl.concat_str(namespace, name, separator="/", ignore_nulls=True))
    )


def identify(resources: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Number the identities behind resources; one that names nobody has none.

    Args:
        resources: rows of the table ``resources``.

    Returns:
        Two frames. Resources: ``resource_id``, ``identity`` (i32), ``service`` (i32, the same for
        all identities of one node), ``gateway`` (bool), ``proxy`` (bool: all it tells is a
        proxy's), ``waypoint`` (bool: it stands between caller and callee), in no order.
        Identities: ``identity``, ``node``, ``kind``, ``workload``, ``version``, ``system``.
    """
    told = (
        _named(resources)
        .filter(pl.col("service_name").is_not_null())
        .unique("resource_id")
        .select(
            "resource_id",
            node_id(pl.col("service_namespace"), pl.col("service_name")).alias("node"),
            _kind().alias("kind"),
            "proxy",
            "workload",
            pl.col("service_version").alias("version"),
            "system",
        )
    )
    keys = ["node", "kind", "workload", "version", "system"]
    identities = (
        told.select(keys)
        .unique()
        .sort("node", "workload", "version", "system", "kind")
        .with_row_index("identity")
        .with_columns(
            pl.col("identity").cast(pl.Int32),
            pl.col("node").rank("dense").cast(pl.Int32).alias("service"),
        )
    )
    joined = told.join(identities, on=keys, how="inner", nulls_equal=True).select(
        "resource_id",
        "identity",
        "service",
        "proxy",
        gateway=pl.col("kind") == NodeKind.GATEWAY,
        waypoint=pl.col("kind") == NodeKind.WAYPOINT,
    )
    return joined, identities.select("identity", *keys)


def _kind() -> pl.Expr:
    """What a resource is: a waypoint, a gateway, or a service."""
    name = pl.col("service_name")
    waypoint = pl.col("attributes").str.contains(WAYPOINT_NODE) | (
        name.str.contains(WAYPOINT_NAME)
        & ((pl.col("system") == "istio") | name.str.contains(".", literal=True))
    )
    gateway = (
        name.str.contains(GATEWAY_NAME)
        | pl.col("attributes").str.contains(GATEWAY_NODE)
        | pl.col("system").is_in(GATEWAY_SYSTEMS)
    )
    return (
        pl.when(waypoint.fill_null(value=False))
        .then(pl.lit(NodeKind.WAYPOINT.value))
        .when(gateway.fill_null(value=False))
        .then(pl.lit(NodeKind.GATEWAY.value))
        .otherwise(pl.lit(NodeKind.SERVICE.value))
    )


def _named(resources: pl.DataFrame) -> pl.DataFrame:
    """Resources with ``proxy``; proxies of Linkerd under the names of what they stand before."""
    attributes = pl.col("attributes")
    linkerd = attributes.str.contains(f'"k8s.container.name":"{LINKERD_PROXY}"', literal=True)
    proxy = (linkerd | (pl.col("service_name") == LINKERD_PROXY)).fill_null(value=False)
    known = resources.with_columns(proxy=proxy)
    if not known["proxy"].any():
        return known
    nameless = (pl.col("service_name") == LINKERD_PROXY).fill_null(value=False)
    name = pl.coalesce(
        "workload",
        *(attribute(name) for name in _LINKERD_NAMES),
        service_of_pod(attribute("host.name")),
        "service_name",
    )
    namespace = pl.coalesce("service_namespace", *(attribute(name) for name in _LINKERD_NAMESPACES))
    return known.with_columns(
        service_name=pl.when(nameless).then(name).otherwise("service_name"),
        service_namespace=pl.when(nameless).then(namespace).otherwise("service_namespace"),
        system=pl.when("proxy").then(pl.lit("linkerd")).otherwise("system"),
    )


def attribute(name: str) -> pl.Expr:
    """An attribute that is a text without escapes; null when it is something else."""
    return pl.col("attributes").str.extract(rf'"{re.escape(name)}":"([^"\\]+)"')
