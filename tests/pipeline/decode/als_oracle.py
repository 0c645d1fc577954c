"""What Envoy's access log service says, told a second time with the official protobuf objects."""

import base64
import json
import re
from collections.abc import Iterator

from envoy.data.accesslog.v3.accesslog_pb2 import (
    AccessLogCommon,
    HTTPAccessLogEntry,
    TCPAccessLogEntry,
)
from envoy.service.accesslog.v3.als_pb2 import StreamAccessLogsMessage
from google.protobuf.struct_pb2 import Struct
from google.protobuf.wrappers_pb2 import StringValue

from pipeline.model.decoded import Decoded
from pipeline.model.tables import ACCESS_LOGS, RESOURCES
from tests.pipeline.decode.otlp_oracle import Row, double, plain_times

LAST_START, LAST_DURATION = 9_223_372_030, 4_611_686_010
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"]
FLAGS = (
    *("LH", "UH", "UT", "LR", "UR", "UF", "UC", "UO", "NR", "DI", "FI", "RL", "UAEX", "RLSE"),
    *("DC", "URX", "SI", "IH", "DPE", "UMSDR", "RFCF", "NFCF", "DT", "UPE", "NC", "OM", "DF", "DR"),
)
VERSIONS = {1: "HTTP/1.0", 2: "HTTP/1.1", 3: "HTTP/2", 4: "HTTP/3"}
TLS = {1: "TLSv1", 2: "TLSv1.1", 3: "TLSv1.2", 4: "TLSv1.3"}
WITH_QUERY = {
    ":path",
    "referer",
    "location",
    "content-location",
    "x-envoy-original-path",
    "x-original-uri",
    "x-original-url",
    "x-forwarded-uri",
    "x-rewrite-url",
}
TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{16})([0-9a-f]{16})-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")


def rows(message: StreamAccessLogsMessage) -> Iterator[Row]:
    """The rows of a message, without those that must be refused."""
    origin = {
        "log_name": message.identifier.log_name or None,
        "node": message.identifier.node.id,
    }
    for entry in message.http_logs.log_entry:
        if representable(entry.common_properties):
            yield _row(origin, _common(entry.common_properties), _http(entry))
    for entry in message.tcp_logs.log_entry:
        if representable(entry.common_properties):
            yield _row(origin, _common(entry.common_properties), _tcp(entry))


def _row(origin: Row, common: Row, own: Row) -> Row:
    row = dict.fromkeys(ACCESS_LOGS.names)
    del row["resource_id"]
    attributes = common.pop("attributes") | own.pop("attributes")
    return row | origin | common | own | {"attributes": attributes}


def representable(common: AccessLogCommon) -> bool:
    """Whether all its times fit 64 bits of nanoseconds."""
    if abs(common.start_time.seconds) > LAST_START:
        return False
    durations = [
        getattr(common, field.name)
        for field in common.DESCRIPTOR.fields
        if field.name.startswith("time_to_") or field.name == "duration"
    ]
    return all(abs(duration.seconds) <= LAST_DURATION for duration in durations)


def nanoseconds(span) -> int:
    """A Timestamp or Duration in nanoseconds."""
    return span.seconds * 10**9 + span.nanos


def _time(common: AccessLogCommon, name: str) -> int | None:
    return nanoseconds(getattr(common, name)) if common.HasField(name) else None


def address(told) -> str | None:
    """An address as one text."""
    match told.WhichOneof("address"):
        case "pipe":
            return told.pipe.path or None
        case "envoy_internal_address":
            internal = told.envoy_internal_address
            listener, endpoint = internal.server_listener_name, internal.endpoint_id
            return f"envoy://{listener}/{endpoint}" if endpoint else f"envoy://{listener}"
        case "socket_address":
            socket = told.socket_address
            host = f"[{socket.address}]" if ":" in socket.address else socket.address
            port = socket.named_port if socket.WhichOneof("port_specifier") == "named_port" else ""
            return f"{host}:{port or socket.port_value}" if host else None
    return None


def _without_query(path: str) -> str:
    return re.split(r"[?#]", path, maxsplit=1)[0]


def _identity(certificate) -> str | None:
    names = certificate.subject_alt_name
    uris = [name.uri for name in names if name.uri]
    return next(iter(uris + [name.dns for name in names if name.dns]), None)


def _flags(told) -> str | None:
    names = [FLAGS[field.number - 1] for field, _ in told.ListFields()]
    return ",".join(names) or None


def _common(common: AccessLogCommon) -> Row:
    attempts = common.upstream_request_attempt_count
    first, last = (
        _time(common, name)
        for name in ("time_to_first_upstream_tx_byte", "time_to_last_upstream_rx_byte")
    )
    duration = _time(common, "duration")
    if duration is None:
        duration = _time(common, "time_to_last_downstream_tx_byte")
    upstream = address(common.upstream_remote_address)
    tls = common.tls_properties
    kind = common.access_log_type
    return {
        "start_time": _time(common, "start_time"),
        "duration_ns": duration,
        "log_type": kind if 0 <= kind <= 255 else None,
        "stream_id": common.stream_id or None,
        "route_name": common.route_name or None,
        "upstream_cluster": common.upstream_cluster or None,
        "response_flags": _flags(common.response_flags),
        "attempt_count": attempts if attempts or upstream is None else None,
        "upstream_duration_ns": None if first is None or last is None else last - first,
        "downstream_direct_remote_address": address(common.downstream_direct_remote_address),
        "downstream_remote_address": address(common.downstream_remote_address),
        "downstream_local_address": address(common.downstream_local_address),
        "upstream_remote_address": upstream,
        "upstream_local_address": address(common.upstream_local_address),
        "tls_version": TLS.get(tls.tls_version),
        "tls_sni": tls.tls_sni_hostname or None,
        "tls_peer_identity": _identity(tls.peer_certificate_properties),
        "tls_local_identity": _identity(tls.local_certificate_properties),
        "sample_rate": common.sample_rate if 0 < common.sample_rate <= 1 else None,
        "attributes": _common_attributes(common),
    }


def _common_attributes(common: AccessLogCommon) -> Row:
    told: Row = dict(common.custom_tags)
    for name in (
        "upstream_transport_failure_reason",
        "downstream_transport_failure_reason",
        "connection_termination_details",
        "intermediate_log_entry",
        "downstream_wire_bytes_sent",
        "downstream_wire_bytes_received",
        "upstream_wire_bytes_sent",
        "upstream_wire_bytes_received",
    ):
        if getattr(common, name):
            told[f"envoy.{name}"] = getattr(common, name)
    for field, value in common.ListFields():
        if field.name.startswith("time_to_"):
            told[f"envoy.{field.name}_ns"] = nanoseconds(value)
    if common.metadata.filter_metadata:
        told["envoy.metadata"] = {
            name: struct(value) for name, value in common.metadata.filter_metadata.items()
        }
    if common.filter_state_objects:
        told["envoy.filter_state"] = {
            name: _any(value) for name, value in common.filter_state_objects.items()
        }
    return told | _tls_attributes(common.tls_properties)


def _tls_attributes(tls) -> Row:
    told: Row = {}
    if tls.HasField("tls_cipher_suite"):
        told["envoy.tls_cipher_suite"] = tls.tls_cipher_suite.value
    if tls.tls_session_id:
        told["envoy.tls_session_id"] = tls.tls_session_id
    if tls.ja3_fingerprint:
        told["tls.client.ja3"] = tls.ja3_fingerprint
    for side, certificate in (
        ("client", tls.peer_certificate_properties),
        ("server", tls.local_certificate_properties),
    ):
        for name in ("subject", "issuer"):
            if getattr(certificate, name):
                told[f"tls.{side}.{name}"] = getattr(certificate, name)
    return told


def struct(value: Struct) -> object:
    """A Struct as JSON."""
    return {key: _json(one) for key, one in value.fields.items()}


def _json(value) -> object:
    match value.WhichOneof("kind"):
        case "number_value":
            return double(value.number_value)
        case "string_value" | "bool_value" as kind:
            return getattr(value, kind)
        case "struct_value":
            return struct(value.struct_value)
        case "list_value":
            return [_json(one) for one in value.list_value.values]
    return None


def _any(value) -> object:
    for kind, plain in ((Struct, struct), (StringValue, lambda text: text.value)):
        if value.Is(kind.DESCRIPTOR):
            inner = kind()
            value.Unpack(inner)
            return plain(inner)
    return {"type": value.type_url, "value": base64.b64encode(value.value).decode()}


def _headers(kind: str, told) -> Row:
    return {
        f"http.{kind}.{name}": _without_query(value) if name.lower() in WITH_QUERY else value
        for name, value in told.items()
    }


def _http(entry: HTTPAccessLogEntry) -> Row:
    request, response = entry.request, entry.response
    headers = request.request_headers
    traced = TRACEPARENT.fullmatch(headers.get("traceparent", ""))
    high, low = (int(half, 16) for half in traced.group(1, 2)) if traced else (0, 0)
    status = [
        told.get("grpc-status") for told in (response.response_trailers, response.response_headers)
    ]
    code = response.response_code.value
    method = request.request_method
    grpc = headers.get("content-type", "").startswith("application/grpc")
    return {
        "protocol": "grpc" if grpc else "http",
        "protocol_version": VERSIONS.get(entry.protocol_version),
        "request_id": request.request_id or None,
        "trace_id_high": high if high or low else None,
        "trace_id_low": low if high or low else None,
        "http_request_method": METHODS[method - 1] if 1 <= method <= len(METHODS) else None,
        "authority": request.authority or None,
        "url_path": _without_query(request.path) or None,
        "http_response_status_code": code if code < 2**16 else None,
        "rpc_status_code": status[0] or status[1] or None,
        "response_code_details": response.response_code_details or None,
        "request_bytes": _bytes(request.request_body_bytes),
        "response_bytes": _bytes(response.response_body_bytes),
        "user_agent": request.user_agent or None,
        "attributes": _http_attributes(request, response),
    }


def _http_attributes(request, response) -> Row:
    told = {
        "url.scheme": request.scheme,
        "http.request.header.referer": _without_query(request.referer),
        "http.request.header.x-forwarded-for": request.forwarded_for,
        "envoy.original_path": _without_query(request.original_path),
        "envoy.request_headers_bytes": request.request_headers_bytes,
        "envoy.upstream_header_bytes_sent": request.upstream_header_bytes_sent,
        "envoy.downstream_header_bytes_received": request.downstream_header_bytes_received,
        "envoy.response_headers_bytes": response.response_headers_bytes,
        "envoy.upstream_header_bytes_received": response.upstream_header_bytes_received,
        "envoy.downstream_header_bytes_sent": response.downstream_header_bytes_sent,
        "server.port": request.port.value,
    }
    return (
        _headers("request.header", request.request_headers)
        | _headers("response.header", response.response_headers)
        | _headers("response.trailer", response.response_trailers)
        | {name: value for name, value in told.items() if value}
    )


def _bytes(count: int) -> int | None:
    return count if count < 2**63 else None


def _tcp(entry: TCPAccessLogEntry) -> Row:
    connection = entry.connection_properties
    return {
        "protocol": "tcp",
        "request_bytes": _bytes(connection.received_bytes),
        "response_bytes": _bytes(connection.sent_bytes),
        "attributes": {},
    }


def decoded_rows(decoded: Decoded) -> list[Row]:
    """The rows of the decoder in the oracle's form."""
    if ACCESS_LOGS.name not in decoded.batches:
        return []
    resources = {row["resource_id"]: row for row in decoded.batches[RESOURCES.name].to_pylist()}
    told = plain_times(decoded.batches[ACCESS_LOGS.name])
    for row in told:
        row["node"] = resources[row.pop("resource_id")]["service_instance_id"] or ""
        row["attributes"] = json.loads(row["attributes"] or "{}")
    return told
