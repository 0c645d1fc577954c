"""Envoy's access logs: golden entries, agreement with the official library, and any bytes."""

import json
import os
from pathlib import Path
from random import Random

import pytest
from envoy.service.accesslog.v3.als_pb2 import StreamAccessLogsMessage
from google.protobuf.json_format import ParseDict
from hypothesis import HealthCheck, given, settings, strategies as st

from pipeline.decode import DECODERS
from pipeline.decode.door import MaskedKeys, admit
from pipeline.decode.envoy_als import LONG, decode
from pipeline.model.tables import ACCESS_LOGS, RESOURCES
from tests.pipeline.decode.als_oracle import decoded_rows, rows
from tests.pipeline.decode.als_strategies import MESSAGES
from tests.pipeline.decode.otlp_oracle import comparable, plain_times
from tests.pipeline.decode.wire_laws import damaged, judged
from tests.pipeline.decode.wire_writer import encode

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""The first example waits for the compiler."""
SHARED = Path(os.environ.get("MESHWEIR_SHARED", Path(__file__).parents[3] / "../shared"))
SAMPLES = SHARED / "samples/mesh"
START = 1_764_000_000_123_456_789

IDENTIFIER = {
    "node": {
        "id": "sidecar~10.4.2.55~cart-v1-7f.shop~shop.svc.cluster.local",
        "cluster": "cart.shop",
        "metadata": {"WORKLOAD_NAME": "cart-v1", "LABELS": {"app": "cart", "version": "v1"}},
        "locality": {"region": "eu-west-1", "zone": "eu-west-1b"},
        "userAgentName": "envoy",
    },
    "logName": "http_envoy_accesslog",
}
SERVER_SIDE = {
    "commonProperties": {
        "sampleRate": 0.5,
        "downstreamRemoteAddress": {"socketAddress": {"address": "203.0.113.9", "portValue": 0}},
        "downstreamLocalAddress": {"socketAddress": {"address": "10.4.2.55", "portValue": 8080}},
        "tlsProperties": {
            "tlsVersion": "TLSv1_3",
            "tlsCipherSuite": 4865,
            "tlsSniHostname": "outbound_.8080_._.cart.shop.svc.cluster.local",
            "localCertificateProperties": {
                "subjectAltName": [{"uri": "spiffe://cluster.local/ns/shop/sa/cart"}]
            },
            "peerCertificateProperties": {
                "subjectAltName": [
                    {"dns": "frontend.shop"},
                    {"uri": "spiffe://cluster.local/ns/shop/sa/frontend"},
                ],
                "subject": "O=shop",
            },
        },
        "startTime": "2025-11-24T16:00:00.123456789Z",
        "timeToLastRxByte": "0.000031206s",
        "timeToFirstUpstreamTxByte": "0.000500s",
        "timeToLastUpstreamRxByte": "0.020500s",
        "timeToLastDownstreamTxByte": "0.021s",
        "upstreamRemoteAddress": {"socketAddress": {"address": "127.0.0.1", "portValue": 8080}},
        "upstreamLocalAddress": {"socketAddress": {"address": "127.0.0.6", "portValue": 41234}},
        "upstreamCluster": "inbound|8080||",
        "responseFlags": {
            "upstreamRequestTimeout": True,
            "unauthorizedDetails": {"reason": "EXTERNAL_SERVICE"},
            "downstreamRemoteReset": True,
        },
        "routeName": "default",
        "downstreamDirectRemoteAddress": {
            "socketAddress": {"address": "fe80::1", "portValue": 51489}
        },
        "customTags": {"tenant": "acme"},
        "duration": "0.022s",
        "upstreamRequestAttemptCount": 2,
        "streamId": "5d1d6d3c-0000-4000-8000-000000000001",
        "accessLogType": "DownstreamEnd",
    },
    "protocolVersion": "HTTP2",
    "request": {
        "requestMethod": "POST",
        "scheme": "http",
        "authority": "cart:8080",
        "path": "/cart/items?token=secret#top",
        "userAgent": "curl/8",
        "referer": "http://shop/?session=secret",
        "forwardedFor": "203.0.113.9",
        "requestId": "5d1d6d3c-0000-4000-8000-000000000001",
        "originalPath": "/v1/cart/items?token=secret",
        "requestHeadersBytes": "310",
        "requestBodyBytes": "42",
        "requestHeaders": {
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "x-envoy-original-path": "/v1/cart/items?token=secret",
        },
    },
    "response": {
        "responseCode": 503,
        "responseBodyBytes": "91",
        "responseCodeDetails": "via_upstream",
        "responseHeaders": {"location": "/login?next=secret", "server": "envoy"},
    },
}


def message_of(*entries: dict, identifier: dict | None = None) -> StreamAccessLogsMessage:
    document = {"identifier": identifier or IDENTIFIER, "httpLogs": {"logEntry": list(entries)}}
    return ParseDict(document, StreamAccessLogsMessage())


def one(entry: dict) -> dict:
    decoded = decode([message_of(entry).SerializeToString()])
    assert decoded.refused == ()
    (row,) = decoded_rows(decoded)
    return {name: value for name, value in row.items() if value is not None}


def common(**told: object) -> dict:
    return one({"commonProperties": told})


def test_it_is_registered():
    assert DECODERS["envoy_als"] is decode


def test_a_request_as_a_server_side_proxy_tells_it():
    assert one(SERVER_SIDE) == {
        "start_time": START,
        "duration_ns": 22_000_000,
        "node": IDENTIFIER["node"]["id"],
        "log_name": "http_envoy_accesslog",
        "log_type": 6,
        "protocol": "http",
        "protocol_version": "HTTP/2",
        "request_id": "5d1d6d3c-0000-4000-8000-000000000001",
        "stream_id": "5d1d6d3c-0000-4000-8000-000000000001",
        "trace_id_high": 0x0AF7651916CD43DD,
        "trace_id_low": 0x8448EB211C80319C,
        "http_request_method": "POST",
        "authority": "cart:8080",
        "url_path": "/cart/items",
        "route_name": "default",
        "upstream_cluster": "inbound|8080||",
        "http_response_status_code": 503,
        "response_flags": "UT,UAEX,DR",
        "response_code_details": "via_upstream",
        "attempt_count": 2,
        "request_bytes": 42,
        "response_bytes": 91,
        "upstream_duration_ns": 20_000_000,
        "downstream_direct_remote_address": "[fe80::1]:51489",
        "downstream_remote_address": "203.0.113.9:0",
        "downstream_local_address": "10.4.2.55:8080",
        "upstream_remote_address": "127.0.0.1:8080",
        "upstream_local_address": "127.0.0.6:41234",
        "tls_version": "TLSv1.3",
        "tls_sni": "outbound_.8080_._.cart.shop.svc.cluster.local",
        "tls_peer_identity": "spiffe://cluster.local/ns/shop/sa/frontend",
        "tls_local_identity": "spiffe://cluster.local/ns/shop/sa/cart",
        "user_agent": "curl/8",
        "sample_rate": 0.5,
        "attributes": {
            "tenant": "acme",
            "url.scheme": "http",
            "http.request.header.referer": "http://shop/",
            "http.request.header.x-forwarded-for": "203.0.113.9",
            "http.request.header.traceparent": SERVER_SIDE["request"]["requestHeaders"][
                "traceparent"
            ],
            "http.request.header.x-envoy-original-path": "/v1/cart/items",
            "http.response.header.location": "/login",
            "http.response.header.server": "envoy",
            "envoy.original_path": "/v1/cart/items",
            "envoy.request_headers_bytes": 310,
            "envoy.time_to_last_rx_byte_ns": 31_206,
            "envoy.time_to_first_upstream_tx_byte_ns": 500_000,
            "envoy.time_to_last_upstream_rx_byte_ns": 20_500_000,
            "envoy.time_to_last_downstream_tx_byte_ns": 21_000_000,
            "envoy.tls_cipher_suite": 4865,
            "tls.client.subject": "O=shop",
        },
    }


def test_the_proxy_is_a_resource():
    decoded = decode([message_of(SERVER_SIDE, {}).SerializeToString()] * 2)
    (resource,) = decoded.batches[RESOURCES.name].to_pylist()
    assert decoded.batches[ACCESS_LOGS.name]["resource_id"].to_pylist() == (
        [resource.pop("resource_id")] * 4
    )
    assert json.loads(resource.pop("attributes")) == {
        "envoy.node.id": IDENTIFIER["node"]["id"],
        "envoy.node.cluster": "cart.shop",
        "envoy.node.locality.region": "eu-west-1",
        "envoy.node.locality.zone": "eu-west-1b",
        "envoy.node.user_agent_name": "envoy",
        "envoy.node.metadata.WORKLOAD_NAME": "cart-v1",
        "envoy.node.metadata.LABELS.app": "cart",
        "envoy.node.metadata.LABELS.version": "v1",
    }
    assert resource == {
        "service_namespace": "shop",
        "service_name": "cart",
        "service_version": "v1",
        "service_instance_id": IDENTIFIER["node"]["id"],
        "workload": "cart-v1",
        "cluster": None,
        "zone": "eu-west-1b",
        "system": "istio",
    }


def test_nothing_secret_of_a_query_is_kept():
    decoded = decode([message_of(SERVER_SIDE).SerializeToString()])
    assert "secret" not in str(plain_times(decoded.batches[ACCESS_LOGS.name]))


def test_a_connection():
    document = {
        "identifier": IDENTIFIER,
        "tcpLogs": {
            "logEntry": [
                {
                    "commonProperties": {
                        "startTime": "2025-11-24T16:00:00.123456789Z",
                        "duration": "3.000000001s",
                        "upstreamRemoteAddress": {"pipe": {"path": "/run/db.sock"}},
                        "accessLogType": "TcpConnectionEnd",
                    },
                    "connectionProperties": {"receivedBytes": "10", "sentBytes": "20"},
                }
            ]
        },
    }
    message = ParseDict(document, StreamAccessLogsMessage()).SerializeToString()
    (row,) = decoded_rows(decode([message]))
    assert {name: value for name, value in row.items() if value is not None} == {
        "start_time": START,
        "duration_ns": 3_000_000_001,
        "node": IDENTIFIER["node"]["id"],
        "log_name": "http_envoy_accesslog",
        "log_type": 3,
        "protocol": "tcp",
        "request_bytes": 10,
        "response_bytes": 20,
        "upstream_remote_address": "/run/db.sock",
        "attributes": {},
    }


def test_an_entry_that_tells_nothing_is_a_row():
    assert one({}) == {
        "node": IDENTIFIER["node"]["id"],
        "log_name": "http_envoy_accesslog",
        "log_type": 0,
        "protocol": "http",
        "http_response_status_code": 0,
        "attempt_count": 0,
        "request_bytes": 0,
        "response_bytes": 0,
        "attributes": {},
    }


def test_grpc_is_known_by_its_content_type_and_its_status_by_the_trailers():
    row = one(
        {
            "request": {"requestHeaders": {"content-type": "application/grpc+proto"}},
            "response": {
                "responseCode": 200,
                "responseHeaders": {"grpc-status": "2"},
                "responseTrailers": {"grpc-status": "14"},
            },
        }
    )
    assert (row["protocol"], row["rpc_status_code"]) == ("grpc", "14")


def test_grpc_status_of_an_answer_without_trailers():
    row = one({"response": {"responseCode": 200, "responseHeaders": {"grpc-status": "0"}}})
    assert (row["protocol"], row["rpc_status_code"]) == ("http", "0")


def test_without_a_duration_the_last_byte_downstream_ends_it():
    assert common(timeToLastDownstreamTxByte="0.5s")["duration_ns"] == 500_000_000


def test_negative_durations_are_kept():
    row = common(duration="-1.5s", timeToFirstUpstreamTxByte="2s", timeToLastUpstreamRxByte="0.25s")
    assert (row["duration_ns"], row["upstream_duration_ns"]) == (-1_500_000_000, -1_750_000_000)


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ({"socketAddress": {"address": "::1", "portValue": 80}}, "[::1]:80"),
        ({"socketAddress": {"address": "10.0.0.1", "namedPort": "http"}}, "10.0.0.1:http"),
        ({"pipe": {"path": "/run/x.sock"}}, "/run/x.sock"),
        ({"envoyInternalAddress": {"serverListenerName": "l"}}, "envoy://l"),
        (
            {"envoyInternalAddress": {"serverListenerName": "l", "endpointId": "e"}},
            "envoy://l/e",
        ),
    ],
)
def test_addresses(address, text):
    assert common(upstreamRemoteAddress=address)["upstream_remote_address"] == text


def test_attempts_are_unknown_when_a_host_was_reached_and_none_is_counted():
    reached = {"socketAddress": {"address": "10.0.0.1", "portValue": 80}}
    assert "attempt_count" not in common(upstreamRemoteAddress=reached)
    assert common()["attempt_count"] == 0


@pytest.mark.parametrize(
    ("names", "identity"),
    [
        ([{"dns": "a.b"}, {"uri": "spiffe://x"}], "spiffe://x"),
        ([{"uri": "spiffe://x"}, {"uri": "spiffe://y"}], "spiffe://x"),
        ([{"dns": "a.b"}, {"dns": "c.d"}], "a.b"),
        ([], None),
    ],
)
def test_identities(names, identity):
    row = common(tlsProperties={"peerCertificateProperties": {"subjectAltName": names}})
    assert row.get("tls_peer_identity") == identity


def test_peers_told_in_filter_state_and_metadata_are_kept():
    peer = {
        "@type": "type.googleapis.com/google.protobuf.Struct",
        "value": {"WORKLOAD_NAME": "frontend-v1"},
    }
    row = common(
        filterStateObjects={"downstream_peer": peer},
        metadata={"filterMetadata": {"rbac": {"policy": "allow", "rank": 1}}},
    )
    assert row["attributes"] == {
        "envoy.filter_state": {"downstream_peer": {"WORKLOAD_NAME": "frontend-v1"}},
        "envoy.metadata": {"rbac": {"policy": "allow", "rank": 1}},
    }


def test_a_time_that_no_column_holds_is_refused_and_its_neighbour_kept():
    late = {"commonProperties": {"startTime": "2300-01-01T00:00:00Z"}}
    decoded = decode([message_of(late, SERVER_SIDE).SerializeToString()])
    (refusal,) = decoded.refused
    assert (refusal.message, refusal.records, refusal.whole) == (0, 1, False)
    assert [row["start_time"] for row in decoded_rows(decoded)] == [START]


def test_an_identifier_told_twice_is_merged():
    first = ParseDict({"identifier": {"logName": "told"}}, StreamAccessLogsMessage())
    second = message_of({}, identifier={"node": {"id": "n-1"}})
    (row,) = decoded_rows(decode([first.SerializeToString() + second.SerializeToString()]))
    assert (row["node"], row["log_name"]) == ("n-1", "told")


def test_a_message_without_identifier_is_decoded():
    message = ParseDict({"httpLogs": {"logEntry": [SERVER_SIDE]}}, StreamAccessLogsMessage())
    decoded = decode([message.SerializeToString()])
    assert decoded.refused == ()
    assert [row["start_time"] for row in decoded_rows(decoded)] == [START]


def test_a_broken_message_is_refused_whole_and_its_neighbours_kept():
    good = message_of(SERVER_SIDE).SerializeToString()
    decoded = decode([good, good[:-1], good])
    (refusal,) = decoded.refused
    assert (refusal.message, refusal.whole) == (1, True)
    assert refusal.offset is not None
    assert len(decoded_rows(decoded)) == 2


def test_batches_have_the_declared_columns():
    batches = decode([message_of(SERVER_SIDE).SerializeToString()]).batches
    for table in (ACCESS_LOGS, RESOURCES):
        assert batches[table.name].schema == table.arrow


@PATIENT
@given(st.lists(MESSAGES, max_size=3), st.integers(0, 2**32))
def test_it_agrees_with_the_official_library(messages, seed):
    random = Random(seed)
    decoded = decode([encode(message, random) for message in messages])
    expected = [row for message in messages for row in rows(message)]
    assert comparable(decoded_rows(decoded)) == comparable(expected)
    entries = sum(
        len(message.http_logs.log_entry) + len(message.tcp_logs.log_entry) for message in messages
    )
    assert sum(refusal.records for refusal in decoded.refused) == entries - len(expected)


@PATIENT
@given(MESSAGES)
def test_fields_in_descending_order(message):
    assert comparable(decoded_rows(decode([encode(message)]))) == comparable(rows(message))


@PATIENT
@given(MESSAGES, st.integers(0, 2**32), st.integers(1, 4))
def test_damaged_bytes_give_rows_or_refusals(message, seed, wounds):
    check_any(damaged(message.SerializeToString(), seed, wounds))


@PATIENT
@given(st.binary(max_size=60))
def test_any_bytes_give_rows_or_refusals(message):
    check_any(message)


def check_any(message: bytes) -> None:
    decoded = decode([message])
    judged(decoded, len(decoded_rows(decoded)), message, StreamAccessLogsMessage)


@pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"no recorded access logs at {SAMPLES}")
def test_recorded_messages_agree_with_the_official_library():
    files = sorted(SAMPLES.glob("als-*.json"))
    assert files
    for file in files:
        message = ParseDict(json.loads(file.read_text()), StreamAccessLogsMessage())
        decoded = decode([message.SerializeToString(), encode(message, Random(1))])
        assert comparable(decoded_rows(decoded)) == comparable(rows(message)) * 2
        (resource,) = decoded.batches[RESOURCES.name].to_pylist()
        assert resource["system"] == "istio"
        assert resource["service_namespace"] in {"default", "istio-system"}


def test_the_door_counts_entries_and_masks_headers_and_tags():
    entry = {
        "commonProperties": {"customTags": {"password": "hunter2", "tenant": "acme"}},
        "request": {"requestHeaders": {"authorization": "Bearer hunter2", "accept": "*/*"}},
        "response": {
            "responseHeaders": {"set-cookie": "id=hunter2"},
            "responseTrailers": {"x-api-key": "hunter2"},
        },
    }
    late = {"commonProperties": {"startTime": "2300-01-01T00:00:00Z"}}
    body = message_of(late, entry).SerializeToString()
    admission = admit("envoy_als", body, MaskedKeys())
    assert (admission.records, admission.rejected) == (1, 1)
    assert len(admission.body) == len(body)
    assert b"hunter2" not in admission.body
    (row,) = decoded_rows(decode([admission.body]))
    assert row["attributes"] == {
        "tenant": "acme",
        "password": "*******",
        "http.request.header.accept": "*/*",
        "http.request.header.authorization": "*" * len("Bearer hunter2"),
        "http.response.header.set-cookie": "*" * len("id=hunter2"),
        "http.response.trailer.x-api-key": "*******",
    }


def test_entries_of_a_log_with_an_endless_name_are_refused() -> None:
    messages = []
    for size in (1024, 1025):
        message = StreamAccessLogsMessage()
        message.identifier.log_name = "l" * size
        message.http_logs.log_entry.add().request.path = "/"
        messages.append(message.SerializeToString())
    decoded = decode(messages)
    assert decoded.batches["access_logs"].num_rows == 1
    assert [(told.message, told.reason, told.records) for told in decoded.refused] == [(1, LONG, 1)]
    assert admit("envoy_als", messages[1], MaskedKeys()).rejected == 1
