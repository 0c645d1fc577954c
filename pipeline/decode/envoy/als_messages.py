"""The messages of Envoy's access log service, declared for the walk.

Field numbers from ``envoy/service/accesslog/v3/als.proto``, ``envoy/data/accesslog/v3/
accesslog.proto`` and ``envoy/config/core/v3/{base,address}.proto``. Tables:

* ``identifiers``: who speaks, and ``node_metadata``, the bytes of the node's Struct.
* ``entries``: one row for each entry, HTTP or TCP; ``http`` or ``tcp`` tells which.
* ``requests``, ``responses``, ``connections``, ``flags``, ``tls`` and the addresses: parts of an
  entry, in rows of their own because an entry has more cells than a row may have. A part that is
  told twice has two rows; of a cell that both tell, the later counts.
* maps and lists: rows of what they belong to.
"""

from typing import Final

from pipeline.decode.envoy.words import RESPONSE_FLAGS, UNAUTHORIZED
from pipeline.decode.wire.declaration import Action, Check, Enter, Messages, Row, Store
from pipeline.decode.wire.walk import Format

ADDRESSES: Final = {
    2: "downstream_remote_address",
    3: "downstream_local_address",
    13: "upstream_remote_address",
    14: "upstream_local_address",
    20: "downstream_direct_remote_address",
}
"""Field number in AccessLogCommon to table and column."""

TIMES: Final = {
    6: "time_to_last_rx_byte",
    7: "time_to_first_upstream_tx_byte",
    8: "time_to_last_upstream_tx_byte",
    9: "time_to_first_upstream_rx_byte",
    10: "time_to_last_upstream_rx_byte",
    11: "time_to_first_downstream_tx_byte",
    12: "time_to_last_downstream_tx_byte",
}
"""Field number in AccessLogCommon to name of the Duration."""

TEXTS_BY_TEXT: Final = {
    "request_headers": "http.request.header.",
    "response_headers": "http.response.header.",
    "response_trailers": "http.response.trailer.",
    "custom_tags": "",
}
"""Tables of text by text, and what stands before their keys among the attributes."""


def _span(name: str) -> dict[int, Action]:
    """A Timestamp or Duration: its two cells."""
    return {1: Store("int64", f"{name}.seconds"), 2: Store("int32", f"{name}.nanos")}


def _flag(number: int, name: str) -> Action:
    return Enter("Unauthorized", name) if number == UNAUTHORIZED else Store("bool", name)


def _certificate(side: str) -> dict[int, Action]:
    return {
        1: Row("SubjectAltName", f"{side}_names"),
        2: Store("bytes", f"{side}.subject"),
        3: Store("bytes", f"{side}.issuer"),
    }


_TEXT_ENTRY: Final = {1: Store("bytes", "key"), 2: Store("bytes", "value")}

_COMMON: Final[dict[int, Action]] = {
    1: Store("fixed64", "sample_rate"),
    4: Row("TLSProperties", "tls"),
    5: Enter("start_time", "start_time"),
    15: Store("bytes", "upstream_cluster"),
    16: Row("ResponseFlags", "flags"),
    17: Enter("Metadata"),
    18: Store("bytes", "upstream_transport_failure_reason"),
    19: Store("bytes", "route_name"),
    21: Row("FilterStateEntry", "filter_state"),
    22: Row("TextEntry", "custom_tags"),
    23: Enter("duration", "duration"),
    24: Store("uint32", "attempt_count"),
    25: Store("bytes", "connection_termination_details"),
    26: Store("bytes", "stream_id"),
    27: Store("bool", "intermediate_log_entry"),
    28: Store("bytes", "downstream_transport_failure_reason"),
    29: Store("int64", "downstream_wire_bytes_sent"),
    30: Store("int64", "downstream_wire_bytes_received"),
    31: Store("int64", "upstream_wire_bytes_sent"),
    32: Store("int64", "upstream_wire_bytes_received"),
    33: Store("int32", "log_type"),
    **{number: Row("Address", table) for number, table in ADDRESSES.items()},
    **{number: Enter(name, name) for number, name in TIMES.items()},
}

MESSAGES: Final[Messages] = {
    "StreamAccessLogsMessage": {
        1: Row("Identifier", "identifiers"),
        2: Enter("HTTPAccessLogEntries"),
        3: Enter("TCPAccessLogEntries"),
    },
    "Identifier": {1: Enter("Node"), 2: Store("bytes", "log_name")},
    "HTTPAccessLogEntries": {1: Row("HTTPAccessLogEntry", "entries", raw="http")},
    "TCPAccessLogEntries": {1: Row("TCPAccessLogEntry", "entries", raw="tcp")},
    "HTTPAccessLogEntry": {
        1: Enter("AccessLogCommon"),
        2: Store("int32", "protocol_version"),
        3: Row("HTTPRequestProperties", "requests"),
        4: Row("HTTPResponseProperties", "responses"),
    },
    "TCPAccessLogEntry": {
        1: Enter("AccessLogCommon"),
        2: Row("ConnectionProperties", "connections"),
    },
    "ConnectionProperties": {
        1: Store("int64", "received_bytes"),
        2: Store("int64", "sent_bytes"),
    },
    "AccessLogCommon": _COMMON,
    **{name: _span(name) for name in ("start_time", "duration", *TIMES.values())},
    "HTTPRequestProperties": {
        1: Store("int32", "method"),
        2: Store("bytes", "scheme"),
        3: Store("bytes", "authority"),
        4: Enter("Port"),
        5: Store("bytes", "path"),
        6: Store("bytes", "user_agent"),
        7: Store("bytes", "referer"),
        8: Store("bytes", "forwarded_for"),
        9: Store("bytes", "request_id"),
        10: Store("bytes", "original_path"),
        11: Store("int64", "request_headers_bytes"),
        12: Store("int64", "request_body_bytes"),
        13: Row("TextEntry", "request_headers"),
        14: Store("int64", "upstream_header_bytes_sent"),
        15: Store("int64", "downstream_header_bytes_received"),
    },
    "Port": {1: Store("uint32", "port")},
    "HTTPResponseProperties": {
        1: Enter("ResponseCode"),
        2: Store("int64", "response_headers_bytes"),
        3: Store("int64", "response_body_bytes"),
        4: Row("TextEntry", "response_headers"),
        5: Row("TextEntry", "response_trailers"),
        6: Store("bytes", "response_code_details"),
        7: Store("int64", "upstream_header_bytes_received"),
        8: Store("int64", "downstream_header_bytes_sent"),
    },
    "ResponseCode": {1: Store("uint32", "response_code")},
    "TextEntry": _TEXT_ENTRY,
    "ResponseFlags": {number: _flag(number, name) for number, name in RESPONSE_FLAGS.items()},
    "Unauthorized": {},
    "Address": {
        1: Enter("SocketAddress", case="kind"),
        2: Enter("Pipe", case="kind"),
        3: Enter("EnvoyInternalAddress", case="kind"),
    },
    "SocketAddress": {
        2: Store("bytes", "host"),
        3: Store("uint32", "port", case="port_kind"),
        4: Store("bytes", "named_port", case="port_kind"),
    },
    "Pipe": {1: Store("bytes", "path")},
    "EnvoyInternalAddress": {1: Store("bytes", "listener"), 2: Store("bytes", "endpoint")},
    "TLSProperties": {
        1: Store("int32", "version"),
        2: Enter("CipherSuite", "cipher_suite_told"),
        3: Store("bytes", "sni"),
        4: Enter("LocalCertificate"),
        5: Enter("PeerCertificate"),
        6: Store("bytes", "session_id"),
        7: Store("bytes", "ja3"),
    },
    "CipherSuite": {1: Store("uint32", "cipher_suite")},
    "LocalCertificate": _certificate("local"),
    "PeerCertificate": _certificate("peer"),
    "SubjectAltName": {
        1: Store("bytes", "name", case="kind"),
        2: Store("bytes", "name", case="kind"),
    },
    "Metadata": {1: Row("FilterMetadataEntry", "metadata"), 2: Check("FilterStateEntry")},
    "FilterMetadataEntry": {1: Store("bytes", "key"), 2: Row("Struct", "structs", raw="value")},
    "FilterStateEntry": {1: Store("bytes", "key"), 2: Enter("Any")},
    "Any": {1: Store("bytes", "type_url"), 2: Store("bytes", "value")},
    "Node": {
        1: Store("bytes", "id"),
        2: Store("bytes", "cluster"),
        3: Row("Struct", "node_metadata", raw="value"),
        4: Enter("Locality"),
        6: Store("bytes", "user_agent_name"),
        8: Check("BuildVersion"),
        9: Check("Extension"),
        11: Check("Address"),
        12: Check("DynamicParameter"),
    },
    "Struct": {1: Check("StructField")},
    "StructField": {2: Check("Value")},
    "Value": {5: Check("Struct"), 6: Check("ListValue")},
    "ListValue": {1: Check("Value")},
    "Locality": {
        1: Store("bytes", "region"),
        2: Store("bytes", "zone"),
        3: Store("bytes", "sub_zone"),
    },
    "BuildVersion": {1: Check("SemanticVersion"), 2: Check("Struct")},
    "SemanticVersion": {},
    "Extension": {4: Check("BuildVersion")},
    "DynamicParameter": {2: Check("ContextParams")},
    "ContextParams": {1: Check("ParamsEntry")},
    "ParamsEntry": {},
}

ENVOY_ALS: Final = Format("envoy_als", "StreamAccessLogsMessage", MESSAGES)
