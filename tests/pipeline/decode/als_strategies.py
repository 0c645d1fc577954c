"""Hypothesis strategies that make messages of Envoy's access log service, odd ones included."""

from envoy.config.core.v3.address_pb2 import Address, EnvoyInternalAddress, Pipe, SocketAddress
from envoy.config.core.v3.base_pb2 import Locality, Metadata, Node
from envoy.data.accesslog.v3.accesslog_pb2 import (
    AccessLogCommon,
    ConnectionProperties,
    HTTPAccessLogEntry,
    HTTPRequestProperties,
    HTTPResponseProperties,
    ResponseFlags,
    TCPAccessLogEntry,
    TLSProperties,
)
from envoy.service.accesslog.v3.als_pb2 import StreamAccessLogsMessage
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import ListValue, Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import StringValue, UInt32Value
from hypothesis import strategies as st

from tests.pipeline.decode.otlp_strategies import DOUBLES, TEXT, U32, U64

COUNTS = st.one_of(st.just(0), st.integers(0, 10_000), U64)
NANOS = st.one_of(st.integers(0, 999_999_999), st.integers(-(2**31), 2**31 - 1))
SECONDS = st.one_of(
    st.integers(-5, 5),
    st.integers(1_600_000_000, 1_900_000_000),
    st.sampled_from([-(2**63), 2**63 - 1, 9_223_372_031, 9_223_372_036, -9_223_372_036]),
)
DURATIONS = st.none() | st.builds(Duration, seconds=st.integers(-3, 3), nanos=NANOS)
ODD_DURATIONS = st.one_of(DURATIONS, st.builds(Duration, seconds=SECONDS, nanos=NANOS))
TIMESTAMPS = st.none() | st.builds(Timestamp, seconds=SECONDS, nanos=NANOS)
PATHS = st.sampled_from(["", "/", "/cart?user=1", "/a#b?c", "?token=x"]) | TEXT.map(
    lambda text: "/" + text
)
HOSTS = st.sampled_from(["", "10.0.0.1", "::1", "fe80::1%eth0", "details"])
SOCKETS = st.one_of(
    st.builds(SocketAddress, address=HOSTS),
    st.builds(SocketAddress, address=HOSTS, port_value=U32),
    st.builds(SocketAddress, address=HOSTS, named_port=TEXT),
)
ADDRESSES = st.one_of(
    st.none(),
    st.just(Address()),
    st.builds(Address, socket_address=SOCKETS),
    st.builds(Address, pipe=st.builds(Pipe, path=TEXT)),
    st.builds(
        Address,
        envoy_internal_address=st.builds(
            EnvoyInternalAddress, server_listener_name=TEXT, endpoint_id=TEXT
        ),
    ),
)
SCALARS = st.one_of(
    st.just(Value()),
    st.just(Value(null_value=0)),
    DOUBLES.map(lambda number: Value(number_value=number)),
    TEXT.map(lambda text: Value(string_value=text)),
    st.booleans().map(lambda truth: Value(bool_value=truth)),
)
VALUES = st.recursive(
    SCALARS,
    lambda values: st.one_of(
        st.lists(values, max_size=3).map(lambda items: Value(list_value=ListValue(values=items))),
        st.dictionaries(TEXT, values, max_size=3).map(
            lambda fields: Value(struct_value=Struct(fields=fields))
        ),
    ),
    max_leaves=4,
)
STRUCTS = st.dictionaries(TEXT, VALUES, max_size=3).map(lambda fields: Struct(fields=fields))


def _packed(message) -> Any:
    any_message = Any()
    any_message.Pack(message)
    return any_message


ANYS = st.one_of(
    STRUCTS.map(_packed),
    TEXT.map(lambda text: _packed(StringValue(value=text))),
    st.builds(Any, type_url=TEXT, value=st.binary(max_size=6)),
)
CERTIFICATES = st.none() | st.builds(
    TLSProperties.CertificateProperties,
    subject=TEXT,
    issuer=TEXT,
    subject_alt_name=st.lists(
        st.one_of(
            st.builds(TLSProperties.CertificateProperties.SubjectAltName, uri=TEXT),
            st.builds(TLSProperties.CertificateProperties.SubjectAltName, dns=TEXT),
            st.just(TLSProperties.CertificateProperties.SubjectAltName()),
        ),
        max_size=3,
    ),
)
TLS = st.none() | st.builds(
    TLSProperties,
    tls_version=st.integers(0, 6),
    tls_cipher_suite=st.none() | st.builds(UInt32Value, value=U32),
    tls_sni_hostname=TEXT,
    tls_session_id=TEXT,
    ja3_fingerprint=TEXT,
    local_certificate_properties=CERTIFICATES,
    peer_certificate_properties=CERTIFICATES,
)
UNAUTHORIZED = st.none() | st.builds(ResponseFlags.Unauthorized, reason=st.integers(0, 2))
SWITCHES = [field.name for field in ResponseFlags.DESCRIPTOR.fields if field.message_type is None]
FLAGS = st.none() | st.builds(
    lambda names, unauthorized: ResponseFlags(
        unauthorized_details=unauthorized, **dict.fromkeys(names, True)
    ),
    st.lists(st.sampled_from(SWITCHES), max_size=4),
    UNAUTHORIZED,
)
TIMES = {
    field.name: DURATIONS
    for field in AccessLogCommon.DESCRIPTOR.fields
    if field.name.startswith("time_to_")
}
COMMON = st.none() | st.builds(
    AccessLogCommon,
    sample_rate=st.sampled_from([0.0, 0.25, 1.0, 2.0, -1.0]) | DOUBLES,
    downstream_remote_address=ADDRESSES,
    downstream_local_address=ADDRESSES,
    downstream_direct_remote_address=ADDRESSES,
    upstream_remote_address=ADDRESSES,
    upstream_local_address=ADDRESSES,
    tls_properties=TLS,
    start_time=TIMESTAMPS,
    duration=ODD_DURATIONS,
    upstream_cluster=TEXT,
    response_flags=FLAGS,
    metadata=st.none()
    | st.builds(Metadata, filter_metadata=st.dictionaries(TEXT, STRUCTS, max_size=2)),
    upstream_transport_failure_reason=TEXT,
    route_name=TEXT,
    filter_state_objects=st.dictionaries(TEXT, ANYS, max_size=2),
    custom_tags=st.dictionaries(TEXT, TEXT, max_size=2),
    upstream_request_attempt_count=st.integers(0, 3) | U32,
    connection_termination_details=TEXT,
    stream_id=TEXT,
    intermediate_log_entry=st.booleans(),
    downstream_transport_failure_reason=TEXT,
    downstream_wire_bytes_sent=COUNTS,
    downstream_wire_bytes_received=COUNTS,
    upstream_wire_bytes_sent=COUNTS,
    upstream_wire_bytes_received=COUNTS,
    access_log_type=st.sampled_from([0, 3, 5, 6, 13, 14, 255, 256, -1]),
    **TIMES,
)
TRACEPARENTS = st.sampled_from(
    [
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c",
    ]
)
REQUEST_HEADERS = st.builds(
    lambda others, known: others | known,
    st.dictionaries(TEXT, TEXT, max_size=2),
    st.fixed_dictionaries(
        {},
        optional={
            "traceparent": TRACEPARENTS,
            "content-type": st.sampled_from(["application/grpc", "application/json"]),
            "x-envoy-original-path": PATHS,
            "Referer": PATHS,
        },
    ),
)
ANSWER_HEADERS = st.builds(
    lambda others, known: others | known,
    st.dictionaries(TEXT, TEXT, max_size=2),
    st.fixed_dictionaries(
        {}, optional={"grpc-status": st.sampled_from(["0", "14", ""]), "location": PATHS}
    ),
)
REQUESTS = st.none() | st.builds(
    HTTPRequestProperties,
    request_method=st.integers(0, 11),
    scheme=TEXT,
    authority=TEXT,
    port=st.none() | st.builds(UInt32Value, value=U32),
    path=PATHS,
    user_agent=TEXT,
    referer=PATHS,
    forwarded_for=TEXT,
    request_id=TEXT,
    original_path=PATHS,
    request_headers_bytes=COUNTS,
    request_body_bytes=COUNTS,
    request_headers=REQUEST_HEADERS,
    upstream_header_bytes_sent=COUNTS,
    downstream_header_bytes_received=COUNTS,
)
RESPONSES = st.none() | st.builds(
    HTTPResponseProperties,
    response_code=st.none() | st.builds(UInt32Value, value=st.sampled_from([0, 200, 65535, 65536])),
    response_headers_bytes=COUNTS,
    response_body_bytes=COUNTS,
    response_headers=ANSWER_HEADERS,
    response_trailers=ANSWER_HEADERS,
    response_code_details=TEXT,
    upstream_header_bytes_received=COUNTS,
    downstream_header_bytes_sent=COUNTS,
)
HTTP_ENTRIES = st.builds(
    HTTPAccessLogEntry,
    common_properties=COMMON,
    protocol_version=st.integers(0, 5),
    request=REQUESTS,
    response=RESPONSES,
)
TCP_ENTRIES = st.builds(
    TCPAccessLogEntry,
    common_properties=COMMON,
    connection_properties=st.none()
    | st.builds(ConnectionProperties, received_bytes=COUNTS, sent_bytes=COUNTS),
)
NODES = st.none() | st.builds(
    Node,
    id=TEXT,
    cluster=TEXT,
    metadata=st.none() | STRUCTS,
    locality=st.none() | st.builds(Locality, region=TEXT, zone=TEXT, sub_zone=TEXT),
    user_agent_name=TEXT,
)
IDENTIFIERS = st.none() | st.builds(StreamAccessLogsMessage.Identifier, node=NODES, log_name=TEXT)
MESSAGES = st.one_of(
    st.builds(
        StreamAccessLogsMessage,
        identifier=IDENTIFIERS,
        http_logs=st.builds(
            StreamAccessLogsMessage.HTTPAccessLogEntries,
            log_entry=st.lists(HTTP_ENTRIES, max_size=3),
        ),
    ),
    st.builds(
        StreamAccessLogsMessage,
        identifier=IDENTIFIERS,
        tcp_logs=st.builds(
            StreamAccessLogsMessage.TCPAccessLogEntries,
            log_entry=st.lists(TCP_ENTRIES, max_size=3),
        ),
    ),
    st.builds(StreamAccessLogsMessage, identifier=IDENTIFIERS),
)
