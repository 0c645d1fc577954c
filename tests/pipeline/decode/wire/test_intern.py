"""Resources and scopes, each kept once."""

import pytest
from hypothesis import given
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from pipeline.decode.wire import intern
from pipeline.decode.wire.intern import RESOURCE_ROWS, Interner, resource_row, scope_row
from pipeline.model.tables import RESOURCES
from tests.pipeline.decode.otlp_oracle import attributes
from tests.pipeline.decode.otlp_strategies import ATTRIBUTES


def told(**values: str | int) -> dict:
    """What a resource's columns tell beside its id, its attributes, and nothing."""
    row = resource_row({name.replace("_", "."): value for name, value in values.items()})
    return {
        name: value
        for name, value in row.items()
        if name not in {"resource_id", "attributes"} and value is not None
    }


def test_a_whole_resource():
    row = resource_row(
        {
            "service.name": "cart",
            "service.namespace": "shop",
            "service.version": "1.2",
            "service.instance.id": "cart-7",
            "k8s.namespace.name": "ignored",
            "k8s.deployment.name": "cart-v1",
            "k8s.replicaset.name": "cart-v1-5d",
            "k8s.cluster.name": "east",
            "cloud.availability_zone": "eu-west-1b",
        }
    )
    assert {name: row[name] for name in RESOURCES.names[1:-1]} == {
        "service_namespace": "shop",
        "service_name": "cart",
        "service_version": "1.2",
        "service_instance_id": "cart-7",
        "workload": "cart-v1",
        "cluster": "east",
        "zone": "eu-west-1b",
        "system": "otel",
    }


def test_the_order_of_attributes_does_not_matter():
    assert resource_row({"a": 1, "b": 2}) == resource_row({"b": 2, "a": 1})
    assert resource_row({"a": 1})["resource_id"] != resource_row({"a": 2})["resource_id"]


def test_ids_do_not_change_from_version_to_version():
    assert resource_row({"service.name": "cart"})["resource_id"] == "gIWH3D9ptaE"
    assert scope_row("tracer", None, {})["scope_id"] == "pe0KiiXrdCQ"


def test_a_service_without_a_name():
    assert told() == {"service_name": "unknown_service", "system": "otel"}
    assert told(service_name="") == {"service_name": "unknown_service", "system": "otel"}


def test_the_namespace_of_kubernetes_counts_where_none_is_told():
    assert told(k8s_namespace_name="shop")["service_namespace"] == "shop"


@pytest.mark.parametrize(
    ("values", "system"),
    [
        ({"service_name": "linkerd-proxy"}, "linkerd"),
        ({"istio_mesh_id": "m"}, "istio"),
        ({"telemetry_sdk_name": "envoy"}, "envoy"),
        ({"telemetry_sdk_name": "opentelemetry"}, "otel"),
    ],
)
def test_who_speaks(values, system):
    assert told(**values)["system"] == system


@given(ATTRIBUTES)
def test_raw_resources_are_read_as_the_official_library_does(pairs):
    raw = Resource(attributes=pairs).SerializeToString()
    assert RESOURCE_ROWS.rows_of([raw]) == [resource_row(attributes(pairs))]


def test_raw_bytes_seen_before_are_not_read_again():
    read: list[bytes] = []

    def reader(raw):
        read.extend(raw)
        return [resource_row({"service.name": one.decode()}) for one in raw]

    interner = Interner(RESOURCES, reader)
    first = interner.rows_of([b"a", b"b", b"a"])
    assert interner.rows_of([b"b", b"a", b"c"])[:2] == [first[1], first[0]]
    assert read == [b"a", b"b", b"c"]


def test_only_so_many_are_remembered(monkeypatch):
    monkeypatch.setattr(intern, "_REMEMBERED", 2)
    read: list[bytes] = []

    def reader(raw):
        read.extend(raw)
        return [{"resource_id": one.hex()} for one in raw]

    interner = Interner(RESOURCES, reader)
    for one in (b"a", b"b", b"a", b"c", b"a", b"b"):
        interner.rows_of([one])
    assert read == [b"a", b"b", b"c", b"b"]


def test_numbers_can_be_names():
    value = KeyValue(key="service.name", value=AnyValue(int_value=7))
    (row,) = RESOURCE_ROWS.rows_of([Resource(attributes=[value]).SerializeToString()])
    assert row["service_name"] == "7"
