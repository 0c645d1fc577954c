"""Pods of Kubernetes as targets: Prometheus' labels of them, and OpenTelemetry's attributes.

Sources: Prometheus' ``kubernetes_sd_config``, role ``pod``; OpenTelemetry's semantic conventions of
``k8s.*`` and ``service.*``; Istio's rule for the canonical service of a pod.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from collectors.scrape.target import ADDRESS, PATH, SCHEME, SERVICE, Found

Json = Mapping[str, Any]

POD: Final = "__meta_kubernetes_pod_"
_ANNOTATION: Final = POD + "annotation_prometheus_io_"
_PORT_NAME: Final = POD + "container_port_name"
_PORT_NUMBER: Final = POD + "container_port_number"
_CONTAINER: Final = POD + "container_name"

_OVER: Final = frozenset({"Succeeded", "Failed"})
_NOT_A_WORD: Final = re.compile(r"[^a-zA-Z0-9_]")

PROXIES: Final = frozenset({"istio-proxy", "linkerd-proxy", "consul-dataplane", "envoy-sidecar"})
"""Containers whose ports are those of a mesh."""

MESH_PORTS: Final[Mapping[str, str]] = {
    "http-envoy-prom": "/stats/prometheus",
    "linkerd-admin": "/metrics",
}
"""Names of ports on which the proxies of meshes expose metrics, and the paths: Istio, Linkerd."""

MERGED_PORT: Final = "15020"
"""Where Istio's agent exposes Envoy's metrics together with those of the application."""

_SERVICE_LABELS: Final = (
    "service.istio.io/canonical-name", "app.kubernetes.io/name", "app", "k8s-app",
)  # fmt: skip
_VERSION_LABELS: Final = (
    "service.istio.io/canonical-revision", "app.kubernetes.io/version", "version",
)  # fmt: skip

_WORKLOADS: Final[Mapping[str, str]] = {
    "ReplicaSet": "k8s.replicaset.name",
    "StatefulSet": "k8s.statefulset.name",
    "DaemonSet": "k8s.daemonset.name",
    "Job": "k8s.job.name",
    "ReplicationController": "k8s.replicationcontroller.name",
}
_HASH_LABEL: Final = "pod-template-hash"


def found_in(pod: Json) -> list[Found]:
    """The ports of a pod, as Prometheus has them: one for each that a container declares.

    A container without ports counts once, with the pod's address alone. Nothing is found in a pod
    without address, or one that has ended.
    """
    status = _part(pod, "status")
    address = _text(status, "podIP")
    if not address or _text(status, "phase") in _OVER:
        return []
    resource = resource_of(pod)
    common = _labels(pod)
    host = f"[{address}]" if ":" in address else address
    return [
        Found({ADDRESS: host + port, **common, **labels}, _in_container(resource, labels))
        for port, labels in _ports(_part(pod, "spec"))
    ]


def conventional(found: Sequence[Found]) -> list[Found]:
    """Of the ports of one pod those to scrape, by the annotations and ports that are customary.

    ``prometheus.io/scrape: "true"`` asks for the port of ``prometheus.io/port``, or for all that
    containers declare which are no proxies of a mesh; ``prometheus.io/path`` and ``/scheme`` say
    how. ``"false"`` keeps all of the pod from being scraped. Ports by which the proxies of meshes
    are known are scraped without being asked, unless Istio's merged port, which is annotated, has
    the same already.
    """
    if not found:
        return []
    told = found[0].labels
    wanted = told.get(_ANNOTATION + "scrape", "").lower()
    if wanted == "false":
        return []
    annotated = list(_annotated(found)) if wanted == "true" else []
    merged = told.get(_ANNOTATION + "port") == MERGED_PORT and bool(annotated)
    proxies = [one for one in found if one.labels.get(_PORT_NAME) in MESH_PORTS]
    targets = annotated + [
        _with(one, {PATH: MESH_PORTS[one.labels[_PORT_NAME]]})
        for one in proxies
        if not (merged and one.labels[_PORT_NAME] == "http-envoy-prom")
    ]
    where = {(one.labels[ADDRESS], one.labels.get(PATH, "/metrics")): one for one in targets}
    return list(where.values())


def resource_of(pod: Json) -> dict[str, str]:
    """The resource attributes of a pod, by OpenTelemetry's names.

    The service is what Istio calls canonical: a label that names it, else the workload. The
    Deployment is told from the name of its ReplicaSet, as the API tells it nowhere else.
    """
    metadata, spec, status = (_part(pod, name) for name in ("metadata", "spec", "status"))
    labels = _texts(metadata.get("labels"))
    workloads = _workloads(metadata, labels)
    workload = workloads.get("k8s.deployment.name") or next(iter(workloads.values()), None)
    attributes = {
        "k8s.namespace.name": metadata.get("namespace"),
        "k8s.pod.name": metadata.get("name"),
        "k8s.pod.uid": metadata.get("uid"),
        "k8s.pod.ip": status.get("podIP"),
        "k8s.node.name": spec.get("nodeName"),
        **workloads,
        SERVICE: _first(labels, _SERVICE_LABELS) or workload or metadata.get("name"),
        "service.version": _first(labels, _VERSION_LABELS),
        **{f"k8s.pod.label.{name}": value for name, value in labels.items()},
    }
    return {name: str(value) for name, value in attributes.items() if value}


def _annotated(found: Sequence[Found]) -> Iterator[Found]:
    told = found[0].labels
    how = {
        PATH: told.get(_ANNOTATION + "path", ""),
        SCHEME: told.get(_ANNOTATION + "scheme", ""),
    }
    how = {name: value for name, value in how.items() if value}
    port = told.get(_ANNOTATION + "port", "")
    if port:
        host = told[ADDRESS].removesuffix(f":{told.get(_PORT_NUMBER, '')}")
        declared = [one for one in found if one.labels.get(_PORT_NUMBER) == port]
        # whose port it is, nobody can tell when no container declares it
        whose = declared[0] if declared else Found(told, _in_container(found[0].resource, {}))
        yield _with(whose, {ADDRESS: f"{host}:{port}", **how})
        return
    for one in found:
        if _PORT_NUMBER in one.labels and one.labels.get(_CONTAINER) not in PROXIES:
            yield _with(one, how)


def _in_container(resource: Mapping[str, str], labels: Mapping[str, str]) -> dict[str, str]:
    """The resource with the name of the container of these labels, or with none."""
    name = {"k8s.container.name": labels[_CONTAINER]} if labels.get(_CONTAINER) else {}
    return {key: value for key, value in resource.items() if key != "k8s.container.name"} | name


def _with(found: Found, labels: Mapping[str, str]) -> Found:
    return Found({**found.labels, **labels}, found.resource)


def _labels(pod: Json) -> dict[str, str]:
    metadata, spec, status = (_part(pod, name) for name in ("metadata", "spec", "status"))
    controller = _controller(metadata)
    ready = [one for one in _list(status, "conditions") if one.get("type") == "Ready"]
    labels = {
        "__meta_kubernetes_namespace": metadata.get("namespace"),
        POD + "name": metadata.get("name"),
        POD + "uid": metadata.get("uid"),
        POD + "ip": status.get("podIP"),
        POD + "host_ip": status.get("hostIP"),
        POD + "phase": status.get("phase"),
        POD + "node_name": spec.get("nodeName"),
        POD + "ready": _text(ready[0], "status").lower() if ready else "unknown",
        POD + "controller_kind": controller.get("kind"),
        POD + "controller_name": controller.get("name"),
    }
    for kind in ("label", "annotation"):
        for name, value in _texts(metadata.get(f"{kind}s")).items():
            word = _NOT_A_WORD.sub("_", name)
            labels[f"{POD}{kind}_{word}"] = value
            labels[f"{POD}{kind}present_{word}"] = "true"
    return {name: str(value) for name, value in labels.items() if value}


def _ports(spec: Json) -> Iterator[tuple[str, dict[str, str]]]:
    """What to put behind the address for each port of each container, and the labels of both."""
    for key, starts in (("containers", "false"), ("initContainers", "true")):
        for container in _list(spec, key):
            labels = {
                _CONTAINER: _text(container, "name"),
                POD + "container_image": _text(container, "image"),
                POD + "container_init": starts,
            }
            ports = _list(container, "ports")
            if not ports:
                yield "", labels
            for port in ports:
                number = _text(port, "containerPort")
                yield (
                    f":{number}",
                    labels
                    | {
                        _PORT_NUMBER: number,
                        _PORT_NAME: _text(port, "name"),
                        POD + "container_port_protocol": _text(port, "protocol") or "TCP",
                    },
                )


def _workloads(metadata: Json, labels: Mapping[str, str]) -> dict[str, str]:
    controller = _controller(metadata)
    kind, name = _text(controller, "kind"), _text(controller, "name")
    if kind not in _WORKLOADS or not name:
        return {}
    names = {_WORKLOADS[kind]: name}
    template = labels.get(_HASH_LABEL)
    if kind == "ReplicaSet" and template and name.endswith(f"-{template}"):
        names["k8s.deployment.name"] = name.removesuffix(f"-{template}")
    return names


def _controller(metadata: Json) -> Json:
    owners = _list(metadata, "ownerReferences")
    return next((owner for owner in owners if owner.get("controller")), {})


def _first(labels: Mapping[str, str], names: Sequence[str]) -> str | None:
    return next((labels[name] for name in names if labels.get(name)), None)


def _text(of: Json, name: str) -> str:
    value = of.get(name)
    return "" if value is None else str(value)


def _texts(value: object) -> dict[str, str]:
    return {str(k): str(v) for k, v in value.items()} if isinstance(value, Mapping) else {}


def _part(of: Json, name: str) -> Json:
    value = of.get(name)
    return value if isinstance(value, Mapping) else {}


def _list(of: Json, name: str) -> list[Json]:
    value = of.get(name)
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []
