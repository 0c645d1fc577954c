"""Identities out of Envoy nodes, as each mesh writes them."""

import pytest

from pipeline.decode.envoy.node import EnvoyNode, attributes, columns

SIDECAR = EnvoyNode(
    id="sidecar~10.4.2.55~reviews-v2-6d8c-x7kq.shop~shop.svc.cluster.local",
    cluster="reviews.shop",
    zone="eu-west-1b",
    metadata={
        "NAMESPACE": "shop",
        "WORKLOAD_NAME": "reviews-v2",
        "CLUSTER_ID": "Kubernetes",
        "ISTIO_VERSION": "1.30.0",
        "LABELS": {
            "app": "reviews",
            "version": "v2",
            "service.istio.io/canonical-name": "reviews",
            "service.istio.io/canonical-revision": "v2",
        },
    },
)


def told(node: EnvoyNode) -> dict[str, str]:
    return {name: value for name, value in columns(node).items() if value is not None}


def test_an_istio_sidecar_tells_all():
    assert columns(SIDECAR) == {
        "service_namespace": "shop",
        "service_name": "reviews",
        "service_version": "v2",
        "service_instance_id": SIDECAR.id,
        "workload": "reviews-v2",
        "cluster": "Kubernetes",
        "zone": "eu-west-1b",
        "system": "istio",
    }


@pytest.mark.parametrize("kind", ["sidecar", "router", "waypoint"])
def test_an_istio_id_alone_splits_the_cluster(kind):
    node = EnvoyNode(
        id=f"{kind}~10.4.2.55~gw-7b.edge.team-a~team-a.svc.cluster.local", cluster="gw.v1.team-a"
    )
    assert told(node) == {
        "service_namespace": "team-a",
        "service_name": "gw.v1",
        "service_instance_id": node.id,
        "system": "istio",
    }


def test_a_cluster_with_a_dot_is_not_split_for_others():
    node = EnvoyNode(id="edge-1", cluster="api.example")
    assert told(node) == {
        "service_name": "api.example",
        "service_instance_id": "edge-1",
        "system": "envoy",
    }


def test_a_cluster_of_another_namespace_is_not_split():
    node = EnvoyNode(id="sidecar~1.2.3.4~cart-1.shop~shop.svc.cluster.local", cluster="cart.v1")
    assert told(node)["service_name"] == "cart.v1"


def test_an_istio_workload_without_app_label_is_named_by_its_canonical_name():
    node = EnvoyNode(
        id="sidecar~1.2.3.4~job-1.shop~shop.svc.cluster.local",
        cluster="istio-proxy.shop",
        metadata={"LABELS": {"service.istio.io/canonical-name": "nightly"}},
    )
    assert told(node)["service_name"] == "nightly"


def test_the_revision_latest_says_nothing():
    labels = {"service.istio.io/canonical-revision": "latest"}
    assert "service_version" not in told(EnvoyNode(id="n", metadata={"LABELS": labels}))
    labels["version"] = "v7"
    assert told(EnvoyNode(id="n", metadata={"LABELS": labels}))["service_version"] == "v7"


def test_consul_is_known_by_its_partition():
    node = EnvoyNode(
        id="web-sidecar-proxy",
        cluster="web",
        metadata={"namespace": "default", "partition": "default"},
    )
    assert told(node) == {
        "service_namespace": "default",
        "service_name": "web",
        "service_instance_id": "web-sidecar-proxy",
        "system": "consul",
    }


@pytest.mark.parametrize("case", [str.lower, str.upper, str.title])
def test_plain_metadata_is_read_in_any_letter_case(case):
    metadata = {"namespace": "shop", "workload": "cart-v1", "version": "v1", "service": "cart"}
    node = EnvoyNode(id="cart-1", metadata={case(key): value for key, value in metadata.items()})
    assert told(node) == {
        "service_namespace": "shop",
        "service_name": "cart",
        "service_version": "v1",
        "service_instance_id": "cart-1",
        "workload": "cart-v1",
        "system": "envoy",
    }


def test_the_cluster_names_the_service_before_metadata_and_id_do():
    node = EnvoyNode(id="n-1", cluster="cart", metadata={"service": "basket"})
    assert told(node)["service_name"] == "cart"
    assert told(EnvoyNode(id="n-1"))["service_name"] == "n-1"


def test_a_node_that_says_nothing_has_no_name():
    assert told(EnvoyNode()) == {"system": "envoy"}


def test_metadata_that_is_no_text_is_no_name():
    node = EnvoyNode(id="n", metadata={"namespace": 7.0, "labels": ["a"], "version": {"a": "b"}})
    assert told(node) == {"service_name": "n", "service_instance_id": "n", "system": "envoy"}


def test_attributes_are_flat_and_complete():
    assert attributes(SIDECAR) == {
        "envoy.node.id": SIDECAR.id,
        "envoy.node.cluster": "reviews.shop",
        "envoy.node.locality.zone": "eu-west-1b",
        "envoy.node.metadata.NAMESPACE": "shop",
        "envoy.node.metadata.WORKLOAD_NAME": "reviews-v2",
        "envoy.node.metadata.CLUSTER_ID": "Kubernetes",
        "envoy.node.metadata.ISTIO_VERSION": "1.30.0",
        "envoy.node.metadata.LABELS.app": "reviews",
        "envoy.node.metadata.LABELS.version": "v2",
        "envoy.node.metadata.LABELS.service.istio.io/canonical-name": "reviews",
        "envoy.node.metadata.LABELS.service.istio.io/canonical-revision": "v2",
    }
