"""The identifier of a stream of Envoy, which goes in front of every later message of it."""

from functools import partial
from random import Random

import pytest
from envoy.config.core.v3.base_pb2 import Node
from envoy.service.accesslog.v3.als_pb2 import StreamAccessLogsMessage

from pipeline.decode import DECODERS
from pipeline.decode.envoy.identifier import envoy_identifier
from pipeline.errors import DecodeError
from tests.pipeline.decode.wire_writer import encode, tagged

LOG_NAME = tagged(2, 2, b"http_envoy")

identifier = partial(envoy_identifier, format_name="envoy_als")


@pytest.mark.parametrize("parts", [[], [LOG_NAME], [LOG_NAME, b""], [LOG_NAME * 30]])
def test_the_identifier_of_a_stream(parts):
    told = b"".join(tagged(1, 2, part) for part in parts)
    found = identifier(tagged(2, 2, b"") + told + tagged(9, 0, b"\x01"))
    assert bool(found) == bool(parts)
    assert StreamAccessLogsMessage.FromString(found) == StreamAccessLogsMessage.FromString(told)


def usual_node() -> Node:
    """A node as an Istio sidecar of today tells it."""
    node = Node(
        id="sidecar~10.0.3.7~cart-5d8f7c-x2k9p.shop~shop.svc.cluster.local",
        cluster="cart.shop",
        user_agent_name="envoy",
        user_agent_version="1.35.1",
        client_features=["envoy.lb.does_not_support_overprovisioning"] * 4,
    )
    node.metadata.update(
        {
            "NAME": "cart-5d8f7c-x2k9p",
            "NAMESPACE": "shop",
            "LABELS": {"app": "cart", "service.istio.io/canonical-revision": "v2"},
            "ISTIO_VERSION": "1.29.0",
        }
    )
    node.locality.region, node.locality.zone = "eu-1", "eu-1-b"
    node.user_agent_build_version.version.major_number = 1
    node.user_agent_build_version.metadata["revision.sha"] = "0" * 40
    for number in range(200):
        node.extensions.add(
            name=f"envoy.filters.http.number_{number}",
            category="envoy.filters.http",
            type_urls=[f"envoy.extensions.filters.http.number_{number}.v3.Number"],
        )
    return node


def test_the_identifier_is_who_and_where_and_not_what_it_was_built_with():
    node = usual_node()
    first = StreamAccessLogsMessage()
    first.identifier.node.CopyFrom(node)
    first.identifier.log_name = "outbound"
    wanted = StreamAccessLogsMessage.FromString(first.SerializeToString())
    for left_out in ("extensions", "client_features", "user_agent_build_version"):
        wanted.identifier.node.ClearField(left_out)
    told = identifier(first.SerializeToString())
    assert StreamAccessLogsMessage.FromString(told) == wanted
    assert len(first.SerializeToString()) > 9_000
    assert len(told) < 500


def test_what_is_left_out_of_the_identifier_changes_no_row():
    entry = StreamAccessLogsMessage()
    entry.http_logs.log_entry.add().request.path = "/"
    first = StreamAccessLogsMessage()
    first.identifier.node.CopyFrom(usual_node())
    first.identifier.log_name = "outbound"
    body, later = first.SerializeToString(), entry.SerializeToString()
    whole = DECODERS["envoy_als"]([body + later])
    small = DECODERS["envoy_als"]([identifier(body) + later])
    assert not small.refused
    assert set(small.batches) == set(whole.batches)
    for table, rows in whole.batches.items():
        assert small.batches[table].equals(rows)
    assert small.batches["resources"]["service_name"].to_pylist() == ["cart"]


@pytest.mark.parametrize("seed", range(30))
def test_an_identifier_may_come_in_any_pieces(seed):
    message = StreamAccessLogsMessage()
    message.identifier.node.id, message.identifier.log_name = "a", "b"
    message.identifier.node.locality.zone = "z"
    message.identifier.node.metadata["NAME"] = "pod"
    told = StreamAccessLogsMessage.FromString(identifier(encode(message, Random(seed))))
    told.DiscardUnknownFields()
    assert told == message


def test_a_malformed_identifier_is_refused():
    with pytest.raises(DecodeError, match="envoy_als"):
        identifier(b"\x0a\x05")
