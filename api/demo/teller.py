"""What a proxy of the demo says of itself, and how it tells of its requests.

Spans and access logs carry the same identity: service, namespace, version, workload. Field
names are those of Envoy's API, version 3.
"""

from dataclasses import dataclass
from typing import Any, Final

from api.demo.mesh import CONSUMER_HEADER, Mesh

JsonObject = dict[str, Any]

TYPE: Final = "type.googleapis.com/"
"""What precedes the name of a message in an ``@type``."""

TELEMETRY_CLUSTER: Final = "telemetry"
"""Cluster in every proxy that leads to Meshweir."""

FLUSH: Final = "0.5s"
"""How long access-log entries may wait in a proxy; spans wait as long."""


@dataclass(frozen=True, slots=True)
class Teller:
    """One proxy as a teller.

    Attributes:
        mesh: the declaration.
        service: the service it stands before, or the gateway's name.
        version: its version.
        role: ``sidecar`` or ``gateway``.
    """

    mesh: Mesh
    service: str
    version: str
    role: str

    @property
    def workload(self) -> str:
        """Name of the instance: service and version."""
        return f"{self.service}-{self.version}"

    @property
    def node(self) -> JsonObject:
        """The node, as the proxy names itself to an access log service."""
        return {
            "id": f"{self.role}~{self.workload}.{self.mesh.namespace}",
            "cluster": self.service,
            "metadata": {
                "role": self.role,
                "namespace": self.mesh.namespace,
                "workload": self.workload,
                "app": self.service,
                "version": self.version,
            },
        }

    def resource_detectors(self) -> list[JsonObject]:
        """Where spans take their resource attributes from: this very text."""
        name = "envoy.tracers.opentelemetry.resource_detectors"
        return [
            {
                "name": f"{name}.static_config",
                "typed_config": {
                    "@type": f"{TYPE}envoy.extensions.tracers.opentelemetry.resource_detectors.v3"
                    ".StaticConfigResourceDetectorConfig",
                    "attributes": {
                        "service.name": self.service,
                        "service.namespace": self.mesh.namespace,
                        "service.version": self.version,
                        "service.instance.id": f"{self.role}~{self.workload}.{self.mesh.namespace}",
                        "k8s.deployment.name": self.workload,
                    },
                },
            }
        ]

    def connection_manager(self, name: str, hosts: list[JsonObject]) -> JsonObject:
        """An HTTP connection manager that traces, logs and routes; ``name`` is its log's name."""
        return plain_connection_manager(name, hosts) | {
            "tracing": self._tracing(),
            "access_log": [self._access_log(name)],
        }

    def _tracing(self) -> JsonObject:
        return {
            "spawn_upstream_span": False,
            "custom_tags": [
                {"tag": "consumer", "request_header": {"name": CONSUMER_HEADER}},
            ],
            "provider": {
                "name": "envoy.tracers.opentelemetry",
                "typed_config": {
                    "@type": f"{TYPE}envoy.config.trace.v3.OpenTelemetryConfig",
                    "grpc_service": _grpc_service(),
                    "service_name": self.service,
                    "resource_detectors": self.resource_detectors(),
                },
            },
        }

    def _access_log(self, name: str) -> JsonObject:
        return {
            "name": "envoy.access_loggers.http_grpc",
            "typed_config": {
                "@type": f"{TYPE}envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig",
                "common_config": {
                    "log_name": name,
                    "transport_api_version": "V3",
                    "grpc_service": _grpc_service(),
                    "buffer_flush_interval": FLUSH,
                },
                "additional_request_headers_to_log": [CONSUMER_HEADER],
            },
        }


def plain_connection_manager(name: str, hosts: list[JsonObject]) -> JsonObject:
    """An HTTP connection manager that routes, and tells nobody."""
    network = "envoy.extensions.filters.network.http_connection_manager.v3"
    return {
        "@type": f"{TYPE}{network}.HttpConnectionManager",
        "stat_prefix": name,
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{TYPE}envoy.extensions.filters.http.router.v3.Router"},
            }
        ],
        "route_config": {"name": name, "virtual_hosts": hosts},
    }


def _grpc_service() -> JsonObject:
    return {"envoy_grpc": {"cluster_name": TELEMETRY_CLUSTER}, "timeout": "5s"}
