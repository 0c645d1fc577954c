"""Access-log messages as a real Envoy 1.40 sidecar streams them, each entry different."""

from collections.abc import Iterator

from envoy.data.accesslog.v3.accesslog_pb2 import AccessLogCommon, HTTPAccessLogEntry
from envoy.service.accesslog.v3.als_pb2 import StreamAccessLogsMessage

ENTRIES = 200
"""Entries in a message; Envoy sends what 16 KiB hold, or a second's worth."""

_TIMES = (
    "time_to_last_rx_byte", "time_to_first_upstream_tx_byte", "time_to_last_upstream_tx_byte",
    "time_to_first_upstream_rx_byte", "time_to_last_upstream_rx_byte",
    "time_to_first_downstream_tx_byte", "time_to_last_downstream_tx_byte",
)  # fmt: skip


def messages(count: int) -> Iterator[bytes]:
    """So many messages."""
    for number in range(count):
        message = StreamAccessLogsMessage()
        message.identifier.log_name = "outbound"
        message.identifier.node.id = "sidecar~10.8.0.1~cart-v1-0.shop~shop.svc.cluster.local"
        message.identifier.node.cluster = "cart.shop"
        for entry in range(ENTRIES):
            _fill(message.http_logs.log_entry.add(), number * ENTRIES + entry)
        yield message.SerializeToString()


def _fill(entry: HTTPAccessLogEntry, number: int) -> None:
    _fill_common(entry.common_properties, number)
    entry.protocol_version = HTTPAccessLogEntry.HTTP2
    request, response = entry.request, entry.response
    request.request_method = 1
    request.scheme, request.authority = "http", "catalog.shop:8080"
    request.path, request.user_agent = f"/items/{number}?x=1", "checkout/2.1"
    request.request_id = f"6e7b1c1e-0a0d-9d4b-8b52-{number:012x}"
    request.request_headers["x-consumer"] = "web"
    request.request_headers_bytes = request.downstream_header_bytes_received = 300
    request.upstream_header_bytes_sent = 310
    response.response_code.value = 200
    response.response_headers_bytes = response.upstream_header_bytes_received = 120
    response.downstream_header_bytes_sent = 130
    response.response_body_bytes = 512
    response.response_code_details = "via_upstream"


def _fill_common(common: AccessLogCommon, number: int) -> None:
    common.start_time.seconds, common.start_time.nanos = divmod(number * 997_000, 10**9)
    common.start_time.seconds += 1_764_000_000
    common.duration.nanos = 31_000_000 + number
    for step, name in enumerate(_TIMES, start=1):
        getattr(common, name).nanos = step * 4_000_000 + number
    common.upstream_cluster = "outbound|8080||catalog.shop.svc.cluster.local"
    common.route_name, common.stream_id = "default", f"stream-{number}"
    for address, host, port in (
        (common.downstream_remote_address, "10.8.0.1", 1024 + number % 60_000),
        (common.downstream_direct_remote_address, "10.8.0.1", 1024 + number % 60_000),
        (common.downstream_local_address, "10.96.14.3", 8080),
        (common.upstream_remote_address, f"10.8.2.{number % 250}", 8080),
        (common.upstream_local_address, "10.8.0.1", 1024 + number % 50_000),
    ):
        address.socket_address.address, address.socket_address.port_value = host, port
    tls = common.tls_properties
    tls.tls_version = 4
    tls.tls_sni_hostname = "outbound_.8080_._.catalog.shop.svc.cluster.local"
    for side, name in (("peer", "cart"), ("local", "catalog")):
        certificate = getattr(tls, f"{side}_certificate_properties")
        certificate.subject_alt_name.add().uri = f"spiffe://cluster.local/ns/shop/sa/{name}"
    common.upstream_request_attempt_count = 1
    common.downstream_wire_bytes_sent, common.downstream_wire_bytes_received = 1000, 400
    common.upstream_wire_bytes_sent, common.upstream_wire_bytes_received = 390, 980
