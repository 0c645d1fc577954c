"""Pods as the API of Kubernetes gives them, cut down to what it always has.

Written after the reference of its API, version 1.31 (``Pod`` v1 core), and what the injectors of
Istio 1.24, Linkerd 2.16 and consul-k8s 1.5 put into pods.
"""

from typing import Any

Json = dict[str, Any]


def pod(
    name: str,
    *,
    namespace: str = "shop",
    version: str = "1",
    ip: str | None = "10.1.0.7",
    phase: str = "Running",
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    containers: list[Json] | None = None,
    init_containers: list[Json] | None = None,
    owner: tuple[str, str] | None = None,
) -> Json:
    """One pod."""
    metadata: Json = {
        "name": name,
        "namespace": namespace,
        "uid": f"uid-of-{name}",
        "resourceVersion": version,
        "creationTimestamp": "2026-11-25T10:00:00Z",
        "labels": labels or {},
        "annotations": annotations or {},
    }
    if owner:
        kind, owned_by = owner
        metadata["ownerReferences"] = [
            {
                "apiVersion": "apps/v1",
                "kind": kind,
                "name": owned_by,
                "uid": "u",
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ]
    spec: Json = {"nodeName": "node-a", "containers": containers or [container("app", http=8080)]}
    if init_containers:
        spec["initContainers"] = init_containers
    status: Json = {"phase": phase, "hostIP": "192.168.0.4"}
    if ip:
        status |= {
            "podIP": ip,
            "podIPs": [{"ip": ip}],
            "conditions": [{"type": "Ready", "status": "True"}],
        }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": spec,
        "status": status,
    }


def container(name: str, **ports: int) -> Json:
    """A container; its ports are named with ``_`` for ``-``."""
    listed = [
        {"name": port.replace("_", "-"), "containerPort": number, "protocol": "TCP"}
        for port, number in ports.items()
    ]
    return {"name": name, "image": f"registry/{name}:1", **({"ports": listed} if listed else {})}


def istio_pod(name: str = "cart-6d5f7c9b8-x2x4z", **how: Any) -> Json:
    """A pod with a sidecar of Istio, its metrics merged by the injector, as they are by default."""
    return pod(
        name,
        labels={
            "app": "cart",
            "version": "v2",
            "pod-template-hash": "6d5f7c9b8",
            "security.istio.io/tlsMode": "istio",
            "service.istio.io/canonical-name": "cart",
            "service.istio.io/canonical-revision": "v2",
        },
        annotations={
            "prometheus.io/scrape": "true",
            "prometheus.io/port": "15020",
            "prometheus.io/path": "/stats/prometheus",
        },
        containers=[container("app", http=8080)],
        init_containers=[container("istio-init"), container("istio-proxy", http_envoy_prom=15090)],
        owner=("ReplicaSet", "cart-6d5f7c9b8"),
        **how,
    )


def linkerd_pod(name: str = "web-7f9c-abcde", **how: Any) -> Json:
    """A pod with a proxy of Linkerd, whose application says nothing of metrics."""
    return pod(
        name,
        labels={"app": "web", "linkerd.io/proxy-deployment": "web", "pod-template-hash": "7f9c"},
        annotations={"linkerd.io/inject": "enabled"},
        containers=[
            container("linkerd-proxy", linkerd_proxy=4143, linkerd_admin=4191),
            container("app", http=8080),
        ],
        owner=("ReplicaSet", "web-7f9c"),
        **how,
    )


def consul_pod(name: str = "api-0", **how: Any) -> Json:
    """A pod of Consul's mesh: its metrics are annotated by the injector."""
    return pod(
        name,
        labels={"app": "api", "consul.hashicorp.com/connect-inject-status": "injected"},
        annotations={
            "prometheus.io/scrape": "true",
            "prometheus.io/port": "20200",
            "prometheus.io/path": "/metrics",
        },
        containers=[container("app", http=8080), container("consul-dataplane", proxy_health=20300)],
        owner=("StatefulSet", "api"),
        **how,
    )
