"""Pods as targets: Prometheus' labels, OpenTelemetry's attributes, and what is customary."""

from typing import Any

import pytest
from hypothesis import given, strategies as st

from collectors.scrape.config import ScrapeJob
from collectors.scrape.pods import conventional, found_in, resource_of
from collectors.scrape.target import target_of
from tests.collectors.scrape.pod_objects import (
    consul_pod,
    container,
    istio_pod,
    linkerd_pod,
    pod,
)

ANNOTATED = {"prometheus.io/scrape": "true"}


def urls(of: dict[str, Any], **job: Any) -> list[str]:
    """What is scraped of a pod by convention, or by the rules of a job."""
    found = found_in(of)
    if "relabel_configs" not in job:
        found = conventional(found)
    made = ScrapeJob.model_validate({"job_name": "pods"} | job)
    targets = [target_of(one, made, interval=15, timeout=10) for one in found]
    return [target.url for target in targets if target is not None]


def test_istio_s_merged_metrics_are_scraped_once() -> None:
    assert urls(istio_pod()) == ["http://10.1.0.7:15020/stats/prometheus"]


def test_without_merging_envoy_is_scraped_beside_the_application() -> None:
    plain = istio_pod()
    plain["metadata"]["annotations"] = ANNOTATED | {"prometheus.io/port": "8080"}
    assert urls(plain) == [
        "http://10.1.0.7:8080/metrics",
        "http://10.1.0.7:15090/stats/prometheus",
    ]
    plain["metadata"]["annotations"] = {}
    assert urls(plain) == ["http://10.1.0.7:15090/stats/prometheus"]


def test_linkerd_s_proxy_is_scraped_without_being_asked() -> None:
    assert urls(linkerd_pod()) == ["http://10.1.0.7:4191/metrics"]
    asked = linkerd_pod()
    asked["metadata"]["annotations"] |= ANNOTATED
    assert urls(asked) == ["http://10.1.0.7:8080/metrics", "http://10.1.0.7:4191/metrics"]
    asked["metadata"]["annotations"]["prometheus.io/port"] = "4191"
    assert urls(asked) == ["http://10.1.0.7:4191/metrics"]


def test_whose_port_it_is_is_told_where_that_is_known() -> None:
    def containers(of: dict[str, Any]) -> list[str | None]:
        return [one.resource.get("k8s.container.name") for one in conventional(found_in(of))]

    assert containers(linkerd_pod()) == ["linkerd-proxy"]
    assert containers(istio_pod()) == [None]  # no container declares 15020
    app = istio_pod()
    app["metadata"]["annotations"]["prometheus.io/port"] = "8080"
    assert containers(app) == ["app", "istio-proxy"]


def test_consul_s_proxy_is_scraped_where_its_injector_says() -> None:
    assert urls(consul_pod()) == ["http://10.1.0.7:20200/metrics"]


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ({}, []),
        ({"prometheus.io/scrape": "false"}, []),
        (ANNOTATED, ["http://10.1.0.7:80/metrics", "http://10.1.0.7:81/metrics"]),
        (ANNOTATED | {"prometheus.io/port": "9"}, ["http://10.1.0.7:9/metrics"]),
        (
            ANNOTATED | {"prometheus.io/port": "9", "prometheus.io/path": "/m?x=1",
                         "prometheus.io/scheme": "https"},
            ["https://10.1.0.7:9/m?x=1"],
        ),
        ({"prometheus.io/port": "9"}, []),
    ],
)  # fmt: skip
def test_annotations_are_honoured(annotations: dict[str, str], expected: list[str]) -> None:
    assert urls(pod("a", annotations=annotations, containers=[container("a", x=80, y=81)])) == (
        expected
    )


def test_who_says_no_is_left_alone_with_all_its_ports() -> None:
    refusing = linkerd_pod()
    refusing["metadata"]["annotations"]["prometheus.io/scrape"] = "false"
    assert urls(refusing) == []


def test_an_annotated_port_need_not_be_declared_nor_the_address_be_version_4() -> None:
    annotations = ANNOTATED | {"prometheus.io/port": "9"}
    bare = pod("a", annotations=annotations, containers=[container("a")], ip="fd00::7")
    assert urls(bare) == ["http://[fd00::7]:9/metrics"]


@pytest.mark.parametrize(
    "gone", [{"ip": None, "phase": "Pending"}, {"phase": "Succeeded"}, {"phase": "Failed"}]
)
def test_nothing_is_found_in_a_pod_that_is_not_there_or_over(gone: dict[str, Any]) -> None:
    assert found_in(istio_pod(**gone)) == []


def test_with_rules_every_port_is_found_and_rules_choose() -> None:
    rule = {
        "source_labels": ["__meta_kubernetes_pod_container_port_name"],
        "action": "keep",
        "regex": "linkerd-admin",
    }
    assert urls(linkerd_pod(), relabel_configs=[rule]) == ["http://10.1.0.7:4191/metrics"]


def test_labels_are_those_of_prometheus() -> None:
    found = found_in(istio_pod())
    ports = [one.labels.get("__meta_kubernetes_pod_container_port_number") for one in found]
    assert ports == ["8080", None, "15090"]
    labels = dict(found[2].labels)
    assert (
        labels.items()
        >= {
            "__address__": "10.1.0.7:15090",
            "__meta_kubernetes_namespace": "shop",
            "__meta_kubernetes_pod_name": "cart-6d5f7c9b8-x2x4z",
            "__meta_kubernetes_pod_uid": "uid-of-cart-6d5f7c9b8-x2x4z",
            "__meta_kubernetes_pod_ip": "10.1.0.7",
            "__meta_kubernetes_pod_host_ip": "192.168.0.4",
            "__meta_kubernetes_pod_phase": "Running",
            "__meta_kubernetes_pod_ready": "true",
            "__meta_kubernetes_pod_node_name": "node-a",
            "__meta_kubernetes_pod_controller_kind": "ReplicaSet",
            "__meta_kubernetes_pod_controller_name": "cart-6d5f7c9b8",
            "__meta_kubernetes_pod_container_name": "istio-proxy",
            "__meta_kubernetes_pod_container_image": "registry/istio-proxy:1",
            "__meta_kubernetes_pod_container_init": "true",
            "__meta_kubernetes_pod_container_port_name": "http-envoy-prom",
            "__meta_kubernetes_pod_container_port_protocol": "TCP",
            "__meta_kubernetes_pod_label_app": "cart",
            "__meta_kubernetes_pod_labelpresent_app": "true",
            "__meta_kubernetes_pod_label_service_istio_io_canonical_name": "cart",
            "__meta_kubernetes_pod_annotation_prometheus_io_port": "15020",
            "__meta_kubernetes_pod_annotationpresent_prometheus_io_port": "true",
        }.items()
    )
    assert found[1].labels["__address__"] == "10.1.0.7"


def test_attributes_are_those_of_opentelemetry() -> None:
    told = resource_of(istio_pod())
    labels = {name for name in told if name.startswith("k8s.pod.label.")}
    assert {name: value for name, value in told.items() if name not in labels} == {
        "k8s.namespace.name": "shop",
        "k8s.pod.name": "cart-6d5f7c9b8-x2x4z",
        "k8s.pod.uid": "uid-of-cart-6d5f7c9b8-x2x4z",
        "k8s.pod.ip": "10.1.0.7",
        "k8s.node.name": "node-a",
        "k8s.replicaset.name": "cart-6d5f7c9b8",
        "k8s.deployment.name": "cart",
        "service.name": "cart",
        "service.version": "v2",
    }
    assert told["k8s.pod.label.app"] == "cart"
    assert len(labels) == 6


@pytest.mark.parametrize(
    ("labels", "owner", "service", "version"),
    [
        ({"app": "a", "app.kubernetes.io/name": "b", "app.kubernetes.io/version": "1.2",
          "version": "v1"}, ("ReplicaSet", "d-1"), "b", "1.2"),
        ({"app": "a", "version": "v1"}, ("ReplicaSet", "d-1"), "a", "v1"),
        ({"k8s-app": "dns"}, ("DaemonSet", "d"), "dns", None),
        ({"pod-template-hash": "1"}, ("ReplicaSet", "d-1"), "d", None),
        ({}, ("ReplicaSet", "d-1"), "d-1", None),
        ({}, ("StatefulSet", "s"), "s", None),
        ({}, ("DaemonSet", "n"), "n", None),
        ({}, ("Job", "j"), "j", None),
        ({}, ("Rollout", "r"), "pod", None),
        ({}, None, "pod", None),
    ],
)  # fmt: skip
def test_the_service_is_what_istio_calls_canonical(
    labels: dict[str, str], owner: tuple[str, str] | None, service: str, version: str | None
) -> None:
    told = resource_of(pod("pod", labels=labels, owner=owner))
    assert told["service.name"] == service
    assert told.get("service.version") == version


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["metadata", "spec", "status", "labels", "annotations", "containers",
                             "ports", "ownerReferences", "podIP", "name", "controller",
                             "containerPort", "conditions", "prometheus.io/scrape"]),
            inner, max_size=4,
        )
    ),
    max_leaves=30,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["metadata", "spec", "status"]), JSON))
def test_no_pod_however_odd_fails(odd: dict[str, Any]) -> None:
    for one in conventional(found_in(odd)):
        assert all(isinstance(value, str) for value in (*one.labels.values(), *one.resource))
