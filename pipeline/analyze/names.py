"""What the names that systems give to services mean: one table, a row for each grammar.

A proxy knows the other end by the name of a cluster, a route, a certificate or a host, and every
system writes these in its own way. Here is what each of them says of namespace, service, version,
cluster and port. A name that fits no row stays what it is; what a row cannot say stays null, and
never guessed: an Envoy Gateway's route rule names no service, and neither does a load balancer.

Sources: istio/istio ``pilot/pkg/model/service.go`` (BuildSubsetKey, BuildDNSSrvSubsetKey),
``pilot/pkg/networking/core/cluster_waypoint.go``; hashicorp/consul ``agent/connect/sni.go`` and
``uri_service.go``; linkerd/linkerd2 ``pkg/identity``; envoyproxy/gateway ``internal/xds``;
Kubernetes ``DNS for Services and Pods``.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import polars as pl

from pipeline.model.pods import service_of_pod

PARTS: Final = ("namespace", "name", "version", "cluster", "port", "pod")
"""What a grammar may tell; in a pattern each is a group of that name. Where only the pod is told,
the name is that of the workload it belongs to."""


class Meaning(StrEnum):
    """What a name stands for."""

    SERVICE = "service"
    EXTERNAL = "external"
    ROUTE = "route"
    SELF = "self"
    PLUMBING = "plumbing"


@dataclass(frozen=True, slots=True)
class Form:
    """One grammar.

    Attributes:
        system: whose it is.
        what: what it names, in that system's words.
        meaning: what that is to the graph. Of SELF the proxy itself answers; PLUMBING is a hop
            inside of a proxy, or between a proxy and its control plane, and no call.
        pattern: a regular expression whose groups are some of ``PARTS``.
        example: a name of this form.
    """

    system: str
    what: str
    meaning: Meaning
    pattern: str
    example: str


_LABEL: Final = r"[^.|/:]+"
_SVC: Final = rf"(?P<name>{_LABEL})\.(?P<namespace>{_LABEL})\.svc(?:\.[^|/:]+)?"
_CONSUL: Final = rf"^(?:[^~.]+~)?(?:passthrough~)?(?:(?P<version>{_LABEL})\.)?(?P<name>{_LABEL})"
_TRUST: Final = r"[^.]+\.consul$"

FORMS: Final = (
    Form(
        "istio", "cluster of a service", Meaning.SERVICE,
        rf"^(?:outbound|inbound-vip)\|(?P<port>\d+)\|(?:(?:http|tcp)/?)?(?P<version>[^|]*)\|{_SVC}$",
        "outbound|80|v1|reviews.bookinfo.svc.cluster.local",
    ),
    Form(
        "istio", "cluster of a host outside of the mesh", Meaning.EXTERNAL,
        r"^outbound\|(?P<port>\d+)\|[^|]*\|(?P<name>[^|]+)$",
        "outbound|443||api.stripe.com",
    ),
    Form(
        "istio", "server name that callers ask for", Meaning.SERVICE,
        rf"^outbound_\.(?P<port>\d+)_\.(?P<version>[^_]*)_\.{_SVC}$",
        "outbound_.80_.v1_.reviews.bookinfo.svc.cluster.local",
    ),
    Form(
        "istio", "cluster of the application behind the proxy", Meaning.SELF,
        r"^inbound\|(?P<port>\d+)\|[^|]*\|.*$|^InboundPassthroughCluster(?:Ipv[46])?$",
        "inbound|8080||",
    ),
    Form(
        "istio", "cluster of hosts that no configuration names", Meaning.EXTERNAL,
        r"^(?P<name>PassthroughCluster|BlackHoleCluster|AllowAnyDynamicDNSCluster)$",
        "PassthroughCluster",
    ),
    Form(
        "istio", "hop inside of a waypoint, or to the control plane", Meaning.PLUMBING,
        r"^(?:main_internal|connect_originate|connect_terminate|inner_connect_originate"
        r"|outer_connect_originate|encap|forward_inner_connect|xds-grpc|sds-grpc|agent"
        r"|prometheus_stats|local_cluster)$",
        "connect_originate",
    ),
    Form(
        "istio", "certificate of a service account", Meaning.SERVICE,
        rf"^spiffe://[^/]+/ns/(?P<namespace>{_LABEL})/sa/(?P<name>[^/]+)$",
        "spiffe://cluster.local/ns/bookinfo/sa/reviews",
    ),
    Form(
        "istio", "node id of a proxy", Meaning.SERVICE,
        rf"^(?:sidecar|router|waypoint|ztunnel)~[^~]*~(?P<pod>{_LABEL})\.(?P<namespace>{_LABEL})~.*$",
        "sidecar~10.244.0.24~reviews-v1-6b7c8d9f7d-x2x9k.bookinfo~bookinfo.svc.cluster.local",
    ),
    Form(
        "consul", "cluster or server name of a service", Meaning.SERVICE,
        rf"{_CONSUL}\.(?P<namespace>{_LABEL})\.(?P<cluster>{_LABEL})\.internal\.{_TRUST}",
        "v1.web.default.dc1.internal.11111111-2222-3333-4444-555555555555.consul",
    ),
    Form(
        "consul", "cluster or server name of a service in a partition", Meaning.SERVICE,
        rf"{_CONSUL}\.(?P<namespace>{_LABEL})\.{_LABEL}\.(?P<cluster>{_LABEL})\.internal-v1\.{_TRUST}",
        "web.default.billing.dc1.internal-v1.11111111-2222-3333-4444-555555555555.consul",
    ),
    Form(
        "consul", "cluster or server name of a service of a peer", Meaning.SERVICE,
        rf"{_CONSUL}\.(?P<namespace>{_LABEL})\.(?P<cluster>{_LABEL})\.external\.{_TRUST}",
        "web.default.partner.external.11111111-2222-3333-4444-555555555555.consul",
    ),
    Form(
        "consul", "prepared query", Meaning.SERVICE,
        rf"^(?P<name>{_LABEL})\.(?P<namespace>default)\.(?P<cluster>{_LABEL})\.query\.{_TRUST}",
        "geo-db.default.dc1.query.11111111-2222-3333-4444-555555555555.consul",
    ),
    Form(
        "consul", "certificate of a service", Meaning.SERVICE,
        rf"^spiffe://[^/]+(?:/ap/[^/]+)?/ns/(?P<namespace>{_LABEL})/dc/(?P<cluster>[^/]+)"
        r"/svc/(?P<name>[^/]+)$",
        "spiffe://11111111-2222-3333-4444-555555555555.consul/ns/default/dc/dc1/svc/web",
    ),
    Form(
        "consul", "cluster of the application behind the proxy", Meaning.SELF,
        r"^local_app(?:_.*)?$|^self_admin$",
        "local_app",
    ),
    Form(
        "consul", "cluster of hosts that no configuration names", Meaning.EXTERNAL,
        r"^(?P<name>original-destination)$",
        "original-destination",
    ),
    Form(
        "consul", "hop to the control plane", Meaning.PLUMBING,
        r"^(?:consul-dataplane|prometheus_backend|local_agent)$",
        "consul-dataplane",
    ),
    Form(
        "linkerd", "side of the proxy that a span tells of", Meaning.PLUMBING,
        r"^(?:outbound|inbound)$",
        "outbound",
    ),
    Form(
        "linkerd", "identity of a service account", Meaning.SERVICE,
        rf"^(?P<name>{_LABEL})\.(?P<namespace>{_LABEL})\.serviceaccount\.identity\..+$",
        "web.emojivoto.serviceaccount.identity.linkerd.cluster.local",
    ),
    Form(
        "envoy-gateway", "cluster or route of a rule", Meaning.ROUTE,
        rf"^(?P<name>(?:http|grpc|tcp|tls|udp)route/(?P<namespace>{_LABEL})/[^/]+/rule/-?\d+)(?:/.*)?$",
        "httproute/default/shop/rule/0",
    ),
    Form(
        "envoy-gateway", "cluster of a backend", Meaning.SERVICE,
        rf"^service/(?P<namespace>{_LABEL})/(?P<name>{_LABEL})/(?P<port>\d+)(?:/[a-z0-9]+)?$",
        "service/default/orders/8080",
    ),
    Form(
        "kubernetes", "name of a service in DNS", Meaning.SERVICE,
        rf"^(?:[a-z][a-z0-9+.-]*://)?(?:{_LABEL}\.)?{_SVC}(?::(?P<port>\d+))?(?:/.*)?$",
        "reviews.bookinfo.svc.cluster.local:9080",
    ),
    Form(
        "url", "host behind a gateway", Meaning.EXTERNAL,
        r"^[a-z][a-z0-9+.-]*://(?P<name>[^/:?#]+)(?::(?P<port>\d+))?(?:[/?#].*)?$",
        "https://api.example.com/v1",
    ),
)  # fmt: skip
"""The table; of several rows that a name fits the first says what it means."""

NO_SERVICE: Final = r"^(?:http|grpc|tcp|tls|udp)route/|^route "
"""Names that somebody has for a call rather than for who answers it."""

RULE: Final = r"^(?:http|grpc|tcp|tls|udp)route/"
"""Clusters that are named after a rule of a route, whatever backends it has."""

AT_RULE: Final = rf"({RULE}.*) at (\S+)$"
"""A rule, and the address that one request went to by it."""


def at_rule(cluster: pl.Expr, address: pl.Expr) -> pl.Expr:
    """A cluster's name; of one that is a rule's with the address behind, where that is known."""
    return (
        pl.when(cluster.str.contains(RULE) & address.is_not_null())
        .then(pl.format("{} at {}", cluster, address))
        .otherwise(cluster)
    )


MEANT: Final = pl.Schema(
    {"meaning": pl.String(), "system": pl.String()} | dict.fromkeys(PARTS, pl.String())
)
"""Columns of an answer."""


def meant(names: pl.Series) -> pl.DataFrame:
    """What names mean, each a row of columns ``MEANT``; all null where no grammar fits."""
    name = pl.col("told")
    rows = pl.DataFrame({"told": names.cast(pl.String)}).with_columns(
        form=pl.coalesce(
            pl.when(name.str.contains(form.pattern)).then(pl.lit(number, pl.Int16))
            for number, form in enumerate(FORMS)
        )
    )
    known = pl.col("form")
    told = {
        "meaning": known.replace_strict(
            dict(enumerate(form.meaning.value for form in FORMS)),
            default=None, return_dtype=pl.String,
        ),
        "system": known.replace_strict(
            dict(enumerate(form.system for form in FORMS)), default=None, return_dtype=pl.String
        ),
    }  # fmt: skip
    found = rows.select(**told, **{part: _part(part) for part in PARTS}).cast(MEANT)
    return found.with_columns(name=pl.coalesce("name", service_of_pod(pl.col("pod"))))


def _part(part: str) -> pl.Expr:
    """One part of each name, by the group of the pattern that the name fits."""
    found = pl.coalesce(
        pl.when(pl.col("form") == number).then(
            pl.col("told").str.extract(form.pattern, _group(form.pattern, part))
        )
        for number, form in enumerate(FORMS)
        if f"(?P<{part}>" in form.pattern
    )
    return pl.when(found != "").then(found)


def _group(pattern: str, part: str) -> int:
    """The number of a named group."""
    return re.compile(pattern).groupindex[part]


def node(names: pl.Expr) -> pl.Expr:
    """Node ids of the services that names mean; null for names that mean none.

    There are few different names in many rows: each is looked at once.
    """
    return names.map_batches(_nodes, return_dtype=pl.String)


def _nodes(names: pl.Series) -> pl.Series:
    different = names.unique().drop_nulls()
    found = meant(different)
    ids = found.select(
        pl.when((pl.col("meaning") == Meaning.SERVICE) & pl.col("namespace").is_not_null()).then(
            pl.concat_str("namespace", "name", separator="/")
        )
    ).to_series()
    return names.replace_strict(different, ids, default=None, return_dtype=pl.String)
