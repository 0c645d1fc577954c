"""Who an Envoy is: the identity that hides in its node's id, cluster and metadata.

Every mesh fills in the same message in its own way. Istio writes ``<type>~<ip>~<pod>.<namespace>~
<domain>`` into the id and ``<app>.<namespace>`` into the cluster, and has the rest in upper-case
metadata; Consul writes the service into the cluster and names its partition in the metadata; others
write what their operator chose. Sources: istio/istio ``pilot/pkg/model``, hashicorp/consul
``command/connect/envoy``, Envoy ``envoy/config/core/v3/base.proto``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from pipeline.decode.wire.protobuf_struct import Json

ISTIO_TYPES: Final = frozenset({"sidecar", "router", "waypoint", "ztunnel"})
UNNAMED_ISTIO_APP: Final = "istio-proxy"
"""What Istio calls the cluster of a workload that has no app label."""

CANONICAL_NAME: Final = "service.istio.io/canonical-name"
CANONICAL_REVISION: Final = "service.istio.io/canonical-revision"
UNKNOWN_REVISION: Final = "latest"
"""Istio's revision of workloads that have no version label."""


@dataclass(frozen=True, slots=True)
class EnvoyNode:
    """Envoy's ``Node``, as far as it identifies; absent texts are empty."""

    id: str = ""
    cluster: str = ""
    region: str = ""
    zone: str = ""
    sub_zone: str = ""
    user_agent_name: str = ""
    metadata: Mapping[str, Json] = field(default_factory=dict)


def attributes(node: EnvoyNode) -> dict[str, Json]:
    """Everything the node tells, flat: nested metadata has its keys joined with dots."""
    told: dict[str, Json] = {
        "envoy.node.id": node.id,
        "envoy.node.cluster": node.cluster,
        "envoy.node.locality.region": node.region,
        "envoy.node.locality.zone": node.zone,
        "envoy.node.locality.sub_zone": node.sub_zone,
        "envoy.node.user_agent_name": node.user_agent_name,
    }
    told = {name: text for name, text in told.items() if text}
    told.update(_flat("envoy.node.metadata", node.metadata))
    return told


def columns(node: EnvoyNode) -> dict[str, str | None]:
    """The identity columns of a row of ``resources``; None for what cannot be known."""
    facts = _Facts(node)
    name, namespace = _service(node, facts)
    return {
        "service_namespace": namespace,
        "service_name": name or node.id or None,
        "service_version": _version(facts),
        "service_instance_id": node.id or None,
        "workload": facts.text("workload_name", "workload"),
        "cluster": facts.text("cluster_id", "cluster"),
        "zone": node.zone or None,
        "system": _system(node, facts),
    }


class _Facts:
    """Metadata and labels by name, in any letter case."""

    def __init__(self, node: EnvoyNode) -> None:
        self._metadata = {key.lower(): value for key, value in node.metadata.items()}
        labels = self._metadata.get("labels")
        self._labels = labels if isinstance(labels, dict) else {}
        parts = node.id.split("~")
        self.istio = len(parts) == 4 and parts[0] in ISTIO_TYPES
        self.pod_namespace = parts[2].rpartition(".")[2] if self.istio else ""

    def __contains__(self, name: str) -> bool:
        return name in self._metadata

    def text(self, *names: str) -> str | None:
        """The first of the metadata keys that has a text, else None."""
        return _first(self._metadata.get(name) for name in names)

    def label(self, *names: str) -> str | None:
        """The first of the labels that has a text, else None."""
        return _first(self._labels.get(name) for name in names)

    def names(self) -> Iterator[str]:
        """The metadata keys in lower case."""
        return iter(self._metadata)


def _first(values: Iterator[Json]) -> str | None:
    return next((value for value in values if isinstance(value, str) and value), None)


def _service(node: EnvoyNode, facts: _Facts) -> tuple[str | None, str | None]:
    name, namespace = node.cluster, facts.text("namespace")
    if facts.istio:
        front, dot, back = name.rpartition(".")
        if dot and back == facts.pod_namespace:
            name = front
        namespace = namespace or facts.pod_namespace or None
    if not name or (facts.istio and name == UNNAMED_ISTIO_APP):
        named = facts.label(CANONICAL_NAME, "app") or facts.text(
            "service", "app", "workload_name", "workload"
        )
        name = named or name
    return name or None, namespace


def _version(facts: _Facts) -> str | None:
    revision = facts.label(CANONICAL_REVISION)
    if revision and revision != UNKNOWN_REVISION:
        return revision
    return facts.label("version") or facts.text("version")


def _system(node: EnvoyNode, facts: _Facts) -> str:
    if facts.istio or "istio_version" in facts:
        return "istio"
    consul = "partition" in facts or any(name.startswith("consul") for name in facts.names())
    return "consul" if consul or "consul" in node.id.lower() else "envoy"


def _flat(prefix: str, value: Mapping[str, Json]) -> Iterator[tuple[str, Json]]:
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from _flat(f"{prefix}.{key}", inner)
        else:
            yield f"{prefix}.{key}", inner
