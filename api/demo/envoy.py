"""Bootstrap configurations of the demo's Envoys: a gateway, and one sidecar per instance.

Everything is static and on loopback. A sidecar has an inbound listener that demands a certificate
of the mesh, and an outbound listener to which its application sends all its calls; the gateway has
one listener in plain text. All of them tell of each request thrice: as spans (OTLP), as access-log
entries (ALS) and in metrics (OTLP), all to one gRPC address. Field names are those of Envoy's API,
version 3.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from api.demo.certificates import Identity
from api.demo.mesh import CONSUMER_HEADER, GATEWAY_VERSION, Mesh, Service, Version

LOOPBACK: Final = "127.0.0.1"
FLUSH: Final = "0.5s"
"""How long access-log entries may wait in a proxy; spans wait as long."""

STATS_FLUSH: Final = "5s"
"""How often metrics are sent."""

JsonObject = dict[str, Any]

_TYPE: Final = "type.googleapis.com/"
_HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_TELEMETRY: Final = "telemetry"
_STATS: Final = (
    r"^cluster\.[^.]+\.(upstream_rq_(total|completed|time|retry|retry_success|[1-5]xx)|upstream_cx_(total|connect_fail))$",
    r"^http\.(inbound|outbound|gateway)\.downstream_rq_(total|completed|time|[1-5]xx)$",
    r"^(listener|cluster)\..*\.ssl\.(handshake|fail_verify_error|fail_verify_no_cert|fail_verify_san)$",
)


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP address on loopback."""

    port: int
    host: str = LOOPBACK

    def __str__(self) -> str:
        """``host:port``."""
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Sidecar:
    """One instance of a service, and where its proxy and its application listen.

    Attributes:
        service: the service.
        version: which of its versions.
        inbound: where other proxies call it, with mutual TLS.
        outbound: where its application sends its own calls.
        application: where the application answers.
        admin: path of the proxy's admin socket.
        identity: its certificate.
    """

    service: Service
    version: Version
    inbound: Address
    outbound: Address
    application: Address
    admin: Path
    identity: Identity

    @property
    def workload(self) -> str:
        """Name of the instance: service and version."""
        return workload(self.service, self.version)


@dataclass(frozen=True, slots=True)
class Gateway:
    """The gateway: where consumers call it, its admin socket and its certificate."""

    listener: Address
    admin: Path
    identity: Identity


def workload(service: Service, version: Version) -> str:
    """The workload of one version of a service."""
    return f"{service.name}-{version.name}"


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """Renders the configurations of one mesh.

    Attributes:
        mesh: the declaration.
        sidecars: all instances.
        telemetry: where Meshweir takes OTLP/gRPC and ALS.
    """

    mesh: Mesh
    sidecars: tuple[Sidecar, ...]
    telemetry: Address

    def sidecar(self, place: Sidecar) -> JsonObject:
        """The configuration of an instance's proxy."""
        teller = _Teller(self.mesh, place.service.name, place.version.name, role="sidecar")
        callees = self.mesh.callees(place.service)
        listeners = [self._inbound(place, teller)]
        if callees:
            listeners.append(self._outbound(place, teller, callees))
        return self._bootstrap(
            teller,
            place.admin,
            listeners,
            [_cluster("inbound", place.application), *self._upstreams(place.identity, callees)],
        )

    def gateway(self, place: Gateway) -> JsonObject:
        """The configuration of the gateway."""
        teller = _Teller(self.mesh, self.mesh.gateway, GATEWAY_VERSION, role="gateway")
        entry = self.mesh.service(self.mesh.entry)
        manager = teller.connection_manager("gateway", [_host(self.mesh, entry, ["*"])])
        # an edge: nothing that a consumer says of its own address or request id is believed;
        # it tells of both of its sides, as a gateway of Istio does
        manager["use_remote_address"] = True
        manager["tracing"]["spawn_upstream_span"] = True
        listener = _listener("gateway", place.listener, manager, direction="OUTBOUND")
        return self._bootstrap(
            teller, place.admin, [listener], self._upstreams(place.identity, (entry,))
        )

    def _inbound(self, place: Sidecar, teller: "_Teller") -> JsonObject:
        routes = [{"match": {"prefix": "/"}, "route": {"cluster": "inbound"}}]
        hosts = [{"name": "inbound", "domains": ["*"], "routes": routes}]
        manager = teller.connection_manager("inbound", hosts)
        manager["forward_client_cert_details"] = "SANITIZE_SET"
        manager["set_current_client_cert_details"] = {"uri": True}
        trusted = {"prefix": f"spiffe://{self.mesh.trust_domain}/"}
        context = _tls_context(place.identity, trusted)
        tls = {
            "@type": f"{_TYPE}envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": context | {"alpn_protocols": ["h2"]},
            "require_client_certificate": True,
        }
        return _listener("inbound", place.inbound, manager, direction="INBOUND", tls=tls)

    def _outbound(
        self, place: Sidecar, teller: "_Teller", callees: tuple[Service, ...]
    ) -> JsonObject:
        hosts = [
            _host(self.mesh, callee, [callee.name, authority(self.mesh, callee)])
            for callee in callees
        ]
        manager = teller.connection_manager("outbound", hosts)
        return _listener("outbound", place.outbound, manager, direction="OUTBOUND")

    def _upstreams(self, identity: Identity, callees: tuple[Service, ...]) -> list[JsonObject]:
        return [
            self._upstream(identity, callee)
            for callee in self.sidecars
            if callee.service in callees
        ]

    def _upstream(self, identity: Identity, callee: Sidecar) -> JsonObject:
        expected = {"exact": self.mesh.spiffe(callee.service.name)}
        cluster = _cluster(cluster_name(callee.service, callee.version), callee.inbound, http2=True)
        cluster["transport_socket"] = _transport_socket(
            {
                "@type": f"{_TYPE}envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "common_tls_context": _tls_context(identity, expected) | {"alpn_protocols": ["h2"]},
                "sni": authority(self.mesh, callee.service),
            }
        )
        return cluster

    def _bootstrap(
        self,
        teller: "_Teller",
        admin: Path,
        listeners: list[JsonObject],
        clusters: list[JsonObject],
    ) -> JsonObject:
        return {
            "node": teller.node,
            # a socket file in a directory of the owner's: no port, and nobody else can stop a proxy
            "admin": {"address": {"pipe": {"path": str(admin), "mode": 0o600}}},
            "static_resources": {
                "listeners": listeners,
                "clusters": [*clusters, _cluster(_TELEMETRY, self.telemetry, http2=True)],
            },
            "stats_flush_interval": STATS_FLUSH,
            "stats_config": {
                "stats_matcher": {
                    "inclusion_list": {
                        "patterns": [{"safe_regex": {"regex": regex}} for regex in _STATS]
                    }
                }
            },
            "stats_sinks": [teller.stats_sink()],
            "layered_runtime": {
                "layers": [
                    {
                        "name": "demo",
                        "static_layer": {
                            "tracing.opentelemetry.flush_interval_ms": 500,
                            "tracing.opentelemetry.min_flush_spans": 100,
                        },
                    }
                ]
            },
        }


@dataclass(frozen=True, slots=True)
class _Teller:
    """What one proxy says of itself, and how it tells of its requests."""

    mesh: Mesh
    service: str
    version: str
    role: str

    @property
    def workload(self) -> str:
        return f"{self.service}-{self.version}"

    @property
    def node(self) -> JsonObject:
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
        name = "envoy.tracers.opentelemetry.resource_detectors"
        return [
            {
                "name": f"{name}.static_config",
                "typed_config": {
                    "@type": f"{_TYPE}envoy.extensions.tracers.opentelemetry.resource_detectors.v3"
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

    def stats_sink(self) -> JsonObject:
        return {
            "name": "envoy.stat_sinks.open_telemetry",
            "typed_config": {
                "@type": f"{_TYPE}envoy.extensions.stat_sinks.open_telemetry.v3.SinkConfig",
                "grpc_service": _grpc_service(),
                "resource_detectors": self.resource_detectors(),
                "emit_tags_as_attributes": True,
                "use_tag_extracted_name": True,
                "prefix": "envoy",
            },
        }

    def connection_manager(self, name: str, hosts: list[JsonObject]) -> JsonObject:
        """An HTTP connection manager that traces, logs and routes; ``name`` is its log's name."""
        network = "envoy.extensions.filters.network.http_connection_manager.v3"
        return {
            "@type": f"{_TYPE}{network}.HttpConnectionManager",
            "stat_prefix": name,
            "http_filters": [
                {
                    "name": "envoy.filters.http.router",
                    "typed_config": {
                        "@type": f"{_TYPE}envoy.extensions.filters.http.router.v3.Router"
                    },
                }
            ],
            "route_config": {"name": name, "virtual_hosts": hosts},
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
                    "@type": f"{_TYPE}envoy.config.trace.v3.OpenTelemetryConfig",
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
                "@type": f"{_TYPE}envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig",
                "common_config": {
                    "log_name": name,
                    "transport_api_version": "V3",
                    "grpc_service": _grpc_service(),
                    "buffer_flush_interval": FLUSH,
                },
                "additional_request_headers_to_log": [CONSUMER_HEADER],
            },
        }


def authority(mesh: Mesh, service: Service) -> str:
    """The host name by which a service is called."""
    return f"{service.name}.{mesh.namespace}"


def cluster_name(service: Service, version: Version) -> str:
    """The cluster of a service, or of one version when there are several."""
    return service.name if len(service.versions) == 1 else workload(service, version)


def _host(mesh: Mesh, callee: Service, domains: list[str]) -> JsonObject:
    """A virtual host that sends each consumer to the version that serves it."""
    routes = [
        _route(callee, version, consumer)
        for version in callee.versions
        for consumer in version.consumers
    ]
    routes += [_route(callee, version) for version in callee.versions if not version.consumers]
    return {
        "name": authority(mesh, callee),
        "domains": domains,
        "routes": routes,
        # tells the callee whether it sees a retry
        "include_request_attempt_count": True,
    }


def _route(callee: Service, version: Version, consumer: str | None = None) -> JsonObject:
    match: JsonObject = {"prefix": "/"}
    if consumer is not None:
        match["headers"] = [{"name": CONSUMER_HEADER, "string_match": {"exact": consumer}}]
    action: JsonObject = {"cluster": cluster_name(callee, version), "timeout": "10s"}
    if callee.retries:
        action["retry_policy"] = {"retry_on": "5xx", "num_retries": callee.retries}
    return {"name": cluster_name(callee, version), "match": match, "route": action}


def _listener(
    name: str,
    address: Address,
    manager: JsonObject,
    *,
    direction: str,
    tls: JsonObject | None = None,
) -> JsonObject:
    chain: JsonObject = {
        "filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
        ]
    }
    if tls is not None:
        chain["transport_socket"] = _transport_socket(tls)
    return {
        "name": name,
        "traffic_direction": direction,
        "address": _socket_address(address),
        "filter_chains": [chain],
    }


def _cluster(name: str, address: Address, *, http2: bool = False) -> JsonObject:
    protocol = "http2_protocol_options" if http2 else "http_protocol_options"
    endpoint = {"endpoint": {"address": _socket_address(address)}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "2s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "typed_extension_protocol_options": {
            _HTTP_OPTIONS: {
                "@type": f"{_TYPE}{_HTTP_OPTIONS}",
                "explicit_http_config": {protocol: {}},
            }
        },
    }


def _tls_context(identity: Identity, peer: JsonObject) -> JsonObject:
    """Own certificate, and which URI the peer's must carry."""
    return {
        "tls_params": {
            "tls_minimum_protocol_version": "TLSv1_3",
            "tls_maximum_protocol_version": "TLSv1_3",
        },
        "tls_certificates": [
            {
                "certificate_chain": {"filename": str(identity.certificate)},
                "private_key": {"filename": str(identity.key)},
            }
        ],
        "validation_context": {
            "trusted_ca": {"filename": str(identity.authority)},
            "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": peer}],
        },
    }


def _transport_socket(context: JsonObject) -> JsonObject:
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


def _socket_address(address: Address) -> JsonObject:
    return {"socket_address": {"address": address.host, "port_value": address.port}}


def _grpc_service() -> JsonObject:
    return {"envoy_grpc": {"cluster_name": _TELEMETRY}, "timeout": "5s"}
