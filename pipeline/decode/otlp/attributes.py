"""Which attributes get columns of their own, and under which names senders have told them.

Names are those of the OpenTelemetry semantic conventions: constants where the conventions are
stable, words where they are still moving or where only old senders use them. Envoy's names are
those of its tracing documentation. The first name of a column that is told with a fitting value
wins; what the others say stays among the attributes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from opentelemetry.semconv.attributes import (
    error_attributes as error,
    http_attributes as http,
    network_attributes as network,
    server_attributes as server,
    url_attributes as url,
)

from pipeline.decode.otlp import consumers


@dataclass(frozen=True, slots=True)
class Promoted:
    """One column and the attributes that fill it.

    Attributes:
        names: names of the attribute, the best first.
        kind: ``text`` takes strings that are not empty, and integers as their digits; ``number``
            takes integers from 0 to ``most``, also as digits in a string; ``flag`` takes the string
            ``literal``.
        most: the largest number that fits the column.
        literal: of a flag the string that makes it true; of a text a string that means nothing.
    """

    names: tuple[str, ...]
    kind: Literal["text", "number", "flag"] = "text"
    most: int = 0
    literal: str = ""


U16: Final = (1 << 16) - 1
U32: Final = (1 << 32) - 1

RPC_SERVICE: Final = "rpc_service"
"""No column: what goes in front of ``rpc_method`` where the sender told the two apart."""

SPAN_ATTRIBUTES: Final[Mapping[str, Promoted]] = {
    "http_request_method": Promoted((http.HTTP_REQUEST_METHOD, "http.method")),
    "http_response_status_code": Promoted(
        (http.HTTP_RESPONSE_STATUS_CODE, "http.status_code"), "number", U16
    ),
    "http_route": Promoted((http.HTTP_ROUTE,)),
    "http_request_resend_count": Promoted(
        (http.HTTP_REQUEST_RESEND_COUNT, "http.resend_count", "retry.count"), "number", U32
    ),
    "url_path": Promoted((url.URL_PATH,)),
    "server_address": Promoted((server.SERVER_ADDRESS, "net.peer.name")),
    "server_port": Promoted((server.SERVER_PORT, "net.peer.port"), "number", U32),
    "network_peer_address": Promoted(
        (
            network.NETWORK_PEER_ADDRESS,
            "net.sock.peer.addr",
            "net.peer.ip",
            "upstream_address",
        )
    ),
    "network_peer_port": Promoted((network.NETWORK_PEER_PORT, "net.sock.peer.port"), "number", U32),
    "service_peer_name": Promoted(("service.peer.name", "peer.service")),
    "rpc_system_name": Promoted(("rpc.system.name", "rpc.system")),
    "rpc_method": Promoted(("rpc.method",)),
    RPC_SERVICE: Promoted(("rpc.service",)),
    "rpc_status_code": Promoted(
        (
            "rpc.status_code",
            "rpc.response.status_code",
            "rpc.grpc.status_code",
            "grpc.status_code",
        )
    ),
    "db_system_name": Promoted(("db.system.name", "db.system")),
    "db_namespace": Promoted(("db.namespace", "db.name")),
    "messaging_system": Promoted(("messaging.system",)),
    "messaging_destination_name": Promoted(
        (
            "messaging.destination.name",
            "messaging.destination_name",
            "messaging.destination",
        )
    ),
    "error_type": Promoted((error.ERROR_TYPE,)),
    # Linkerd's proxies say of a span no more than on which side of them it was
    "upstream_cluster": Promoted(("upstream_cluster", "upstream_cluster.name", "direction")),
    "response_flags": Promoted(("response_flags",), literal="-"),
    "request_id": Promoted(("guid:x-request-id",)),
    "is_proxy": Promoted(("component",), "flag", literal="proxy"),
    "consumer": Promoted(consumers.ATTRIBUTES, literal="-"),
}
"""Columns of the table ``spans``."""
