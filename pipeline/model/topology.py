"""The words of the graph: node kinds, reporters, and the graph itself."""

from dataclasses import dataclass
from enum import StrEnum

import polars as pl


class NodeKind(StrEnum):
    """What a node is. Virtual kinds carry their name in front of the node's id."""

    SERVICE = "service"
    GATEWAY = "gateway"
    WAYPOINT = "waypoint"
    DATABASE = "database"
    MESSAGING = "messaging"
    EXTERNAL = "external"
    CLIENTS = "clients"
    CONSUMER = "consumer"
    UNKNOWN = "unknown"


class Reporter(StrEnum):
    """Who tells of a call, seen from the call: never add two of them up."""

    CLIENT = "client"
    CLIENT_PROXY = "client_proxy"
    SERVER_PROXY = "server_proxy"
    SERVER = "server"
    GATEWAY = "gateway"


class GroupBy(StrEnum):
    """What a node of the graph stands for."""

    SERVICE = "service"
    WORKLOAD = "workload"
    VERSION = "version"
    NAMESPACE = "namespace"
    CONSUMER = "consumer"


CLIENTS = "clients"
"""Id of the node from which all requests enter whose caller is not known."""

PERSON = "person-"
"""What the name of a consumer begins with that is a person: a hash follows, and no name."""

NOT_RECEIVED = "parent not received"
"""In the place of a caller's alias: there was one, and its span has not come, or not yet."""

OVERFLOW = "overflow"
"""Service name that stands for all services past the limit on distinct names."""


@dataclass(frozen=True, slots=True)
class Graph:
    """The dependency graph of a stretch of time.

    Attributes:
        nodes: one row per node: id, kind, namespace, name, systems (list), requests,
            requests_per_second, error_ratio, latency_p50, latency_p90, latency_p95, latency_p99
            (seconds; null when unknown), and each with ``_resolution`` behind: how far off it may
        be.
        edges: one row per edge: client, server, protocol, requests, attempts,
            requests_per_second, error_ratio, client_error, server_error, connection (counts),
            client_p50 .. client_p99, server_p50 .. server_p99 (seconds), each with ``_resolution``
            behind, mtls_ratio, reporter, signal, reporters (list of struct reporter, requests,
            signals: list of struct signal, requests), agreement, coverage, request_bytes,
            response_bytes (counts; null when unknown), paths_agreement.
    """

    nodes: pl.DataFrame
    edges: pl.DataFrame
