"""Bootstrap configurations of the demo's Envoys: a gateway, and one sidecar per instance.

Everything is static and on loopback. A sidecar has an inbound listener that demands a certificate
of the mesh, and an outbound listener to which its application sends all its calls; the gateway has
one listener in plain text. All of them tell of each request thrice: as spans (OTLP) and as
access-log entries (ALS), both to one gRPC address, and in metrics, which are scraped where
``stats`` listens. Field names are those of Envoy's API, version 3.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from api.demo.certificates import Identity
from api.demo.mesh import CONSUMER_HEADER, GATEWAY_VERSION, Mesh, Service, Version
from api.demo.teller import (
    TELEMETRY_CLUSTER,
    TYPE,
    JsonObject,
    Teller,
    plain_connection_manager,
)

LOOPBACK: Final = "127.0.0.1"
STATS_PATH: Final = "/stats/prometheus"
"""Where an Envoy exposes its metrics; the rest of its admin interface is not reachable."""

_ADMIN_CLUSTER: Final = "admin"
_CALL_TIMEOUT: Final = "60s"
_CONNECT_TIMEOUT: Final = "30s"
"""Longer than a busy machine keeps a call waiting: only what the mesh declares is to fail."""
_HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
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
        stats: where the proxy's metrics are scraped.
        admin: path of the proxy's admin socket.
        identity: its certificate.
    """

    service: Service
    version: Version
    inbound: Address
    outbound: Address
    application: Address
    stats: Address
    admin: Path
    identity: Identity

    @property
    def workload(self) -> str:
        """Name of the instance: service and version."""
        return workload(self.service, self.version)


@dataclass(frozen=True, slots=True)
class Gateway:
    """The gateway: where consumers call it, where it is scraped, its admin socket, its identity."""

    listener: Address
    stats: Address
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
        teller = Teller(self.mesh, place.service.name, place.version.name, role="sidecar")
        callees = self.mesh.callees(place.service)
        listeners = [self._inbound(place, teller)]
        if callees:
            listeners.append(self._outbound(place, teller, callees))
        return self._bootstrap(
            teller,
            place,
            listeners,
            [_cluster("inbound", place.application), *self._upstreams(place.identity, callees)],
        )

    def gateway(self, place: Gateway) -> JsonObject:
        """The configuration of the gateway."""
        teller = Teller(self.mesh, self.mesh.gateway, GATEWAY_VERSION, role="gateway")
        entry = self.mesh.service(self.mesh.entry)
        manager = teller.connection_manager("gateway", [_host(self.mesh, entry, ["*"])])
        # an edge: nothing that a consumer says of its own address or request id is believed;
        # it tells of both of its sides, as a gateway of Istio does
        manager["use_remote_address"] = True
        manager["tracing"]["spawn_upstream_span"] = True
        listener = _listener("gateway", place.listener, manager, direction="OUTBOUND")
        return self._bootstrap(teller, place, [listener], self._upstreams(place.identity, (entry,)))

    def _inbound(self, place: Sidecar, teller: Teller) -> JsonObject:
        routes = [{"match": {"prefix": "/"}, "route": {"cluster": "inbound"}}]
        hosts = [{"name": "inbound", "domains": ["*"], "routes": routes}]
        manager = teller.connection_manager("inbound", hosts)
        manager["forward_client_cert_details"] = "SANITIZE_SET"
        manager["set_current_client_cert_details"] = {"uri": True}
        trusted = {"prefix": f"spiffe://{self.mesh.trust_domain}/"}
        context = _tls_context(place.identity, trusted)
        tls = {
            "@type": f"{TYPE}envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": context | {"alpn_protocols": ["h2"]},
            "require_client_certificate": True,
        }
        return _listener("inbound", place.inbound, manager, direction="INBOUND", tls=tls)

    def _outbound(self, place: Sidecar, teller: Teller, callees: tuple[Service, ...]) -> JsonObject:
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
                "@type": f"{TYPE}envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "common_tls_context": _tls_context(identity, expected) | {"alpn_protocols": ["h2"]},
                "sni": authority(self.mesh, callee.service),
            }
        )
        return cluster

    def _bootstrap(
        self,
        teller: Teller,
        place: Sidecar | Gateway,
        listeners: list[JsonObject],
        clusters: list[JsonObject],
    ) -> JsonObject:
        return {
            "node": teller.node,
            # a socket file in a directory of the owner's: no port, and nobody else can stop a proxy
            "admin": {"address": {"pipe": {"path": str(place.admin), "mode": 0o600}}},
            "static_resources": {
                "listeners": [*listeners, _stats_listener(place.stats)],
                "clusters": [
                    *clusters,
                    _cluster(TELEMETRY_CLUSTER, self.telemetry, http2=True),
                    _cluster(_ADMIN_CLUSTER, place.admin),
                ],
            },
            "stats_config": {
                "stats_matcher": {
                    "inclusion_list": {
                        "patterns": [{"safe_regex": {"regex": regex}} for regex in _STATS]
                    }
                }
            },
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
    action: JsonObject = {"cluster": cluster_name(callee, version), "timeout": _CALL_TIMEOUT}
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


def _cluster(name: str, address: Address | Path, *, http2: bool = False) -> JsonObject:
    protocol = "http2_protocol_options" if http2 else "http_protocol_options"
    place = (
        {"pipe": {"path": str(address)}} if isinstance(address, Path) else _socket_address(address)
    )
    endpoint = {"endpoint": {"address": place}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": _CONNECT_TIMEOUT,
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "typed_extension_protocol_options": {
            _HTTP_OPTIONS: {
                "@type": f"{TYPE}{_HTTP_OPTIONS}",
                "explicit_http_config": {protocol: {}},
            }
        },
    }


def _stats_listener(address: Address) -> JsonObject:
    """What lets others read metrics, and nothing else of the admin interface, as Istio has it."""
    routes = [{"match": {"path": STATS_PATH}, "route": {"cluster": _ADMIN_CLUSTER}}]
    hosts = [{"name": "stats", "domains": ["*"], "routes": routes}]
    return _listener(
        "stats", address, plain_connection_manager("stats", hosts), direction="INBOUND"
    )


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
