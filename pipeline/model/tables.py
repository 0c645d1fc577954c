"""Every table, declared once: Arrow schema, DuckDB DDL and the documentation derive from here.

Promoted columns carry OpenTelemetry semantic-convention names with ``_`` for ``.``; whatever is
not promoted stays in ``attributes`` as JSON text. Nanosecond times are UTC. The
store, never a decoder, sets the column ``slice`` of a raw table: the number of the commit
that wrote the row.
"""

from typing import Final

from pipeline.model.table import Column, Table

SLICE: Final = Column("slice", "i64", "number of the store commit that wrote the row")

UNIT: Final = Column(
    "slice",
    "i64",
    "lowest slice of the unit it was derived from; null: from metrics, by the minute",
)

RESOURCES: Final = Table(
    "resources",
    "one set of resource attributes, shared by all rows that carry its `resource_id`",
    (
        Column(
            "resource_id", "text", "11 characters: base64url of a 64-bit hash of the attributes"
        ),
        Column("service_namespace", "text", "`service.namespace`, else `k8s.namespace.name`"),
        Column("service_name", "text", "`service.name`; of an Envoy node, its cluster"),
        Column("service_version", "text", "`service.version`"),
        Column("service_instance_id", "text", "`service.instance.id`; of an Envoy node, its id"),
        Column("workload", "text", "deployment, stateful set, daemon set, job or workload name"),
        Column("cluster", "text", "`k8s.cluster.name`, else the mesh's cluster id"),
        Column("zone", "text", "`cloud.availability_zone`; of an Envoy node, its locality's zone"),
        Column(
            "system", "text", "who speaks: istio, linkerd, consul, kong, apigee, aws, envoy, otel"
        ),
        Column("attributes", "json", "all attributes as received, one JSON object"),
    ),
)

SCOPES: Final = Table(
    "scopes",
    "one instrumentation scope, shared by all rows that carry its `scope_id`",
    (
        Column("scope_id", "text", "11 characters: base64url of a 64-bit hash of the scope"),
        Column("name", "text", "name of the instrumentation scope"),
        Column("version", "text", "version of the instrumentation scope"),
        Column("attributes", "json", "attributes of the scope, one JSON object"),
    ),
)

_CONSUMER: Final = (
    "who was authenticated: `app:`, `user:`, `key:`, `developer:`, `subject:` or `principal:` and"
    " an id; of a person `person-` and a hash"
)

SPANS: Final = Table(
    "spans",
    "one span as received",
    (
        Column("trace_id_high", "u64", "first 8 bytes of the trace id, big-endian"),
        Column("trace_id_low", "u64", "last 8 bytes of the trace id, big-endian"),
        Column("span_id", "u64", "span id, big-endian"),
        Column("parent_span_id", "u64", "span id of the parent; null for a root"),
        Column("resource_id", "text", "refers to `resources`"),
        Column("scope_id", "text", "refers to `scopes`"),
        Column("name", "text", "span name"),
        Column(
            "kind",
            "u8",
            "SpanKind: 0 unspecified, 1 internal, 2 server, 3 client, 4 producer, 5 consumer",
        ),
        Column("start_time", "time", "when the operation began"),
        Column(
            "duration_ns", "i64", "end minus start in nanoseconds; negative when the sender said so"
        ),
        Column("status_code", "u8", "0 unset, 1 ok, 2 error"),
        Column("status_message", "text", "status description"),
        Column("sampling_threshold", "u64", "T of tracestate `ot=th`, 56 bits; null when not told"),
        Column("http_request_method", "text", "`http.request.method`"),
        Column(
            "http_response_status_code", "u16", "`http.response.status_code`; 0 when none was sent"
        ),
        Column("http_route", "text", "`http.route`"),
        Column(
            "http_request_resend_count",
            "u32",
            "`http.request.resend_count`, Envoy `retry.count`; null for a first attempt",
        ),
        Column("url_path", "text", "`url.path`"),
        Column("server_address", "text", "`server.address`"),
        Column("server_port", "u32", "`server.port`"),
        Column(
            "network_peer_address",
            "text",
            "`network.peer.address`, with `:port` where the sender wrote it so",
        ),
        Column("network_peer_port", "u32", "`network.peer.port`"),
        Column("service_peer_name", "text", "`service.peer.name`, formerly `peer.service`"),
        Column("rpc_system_name", "text", "`rpc.system.name`"),
        Column("rpc_method", "text", "`rpc.method`, with the service in front when told apart"),
        Column(
            "rpc_status_code",
            "text",
            "`rpc.status_code`: a gRPC status as a number in text, or a name",
        ),
        Column("db_system_name", "text", "`db.system.name`"),
        Column("db_namespace", "text", "`db.namespace`"),
        Column("messaging_system", "text", "`messaging.system`"),
        Column("messaging_destination_name", "text", "`messaging.destination.name`"),
        Column("error_type", "text", "`error.type`"),
        Column("upstream_cluster", "text", "Envoy's upstream cluster"),
        Column("response_flags", "text", "Envoy's response flags, comma-separated; null when none"),
        Column("request_id", "text", "x-request-id (`guid:x-request-id`)"),
        Column("is_proxy", "bool", "true when a proxy wrote the span, not the application"),
        Column("consumer", "text", _CONSUMER),
        Column("trace_state", "text", "W3C tracestate"),
        Column("attributes", "json", "attributes that are not promoted, one JSON object"),
        Column("events", "json", "span events, a JSON array; null when none"),
        Column("links", "json", "span links, a JSON array with hex ids; null when none"),
    ),
)

ACCESS_LOGS: Final = Table(
    "access_logs",
    "one proxy's account of one request or connection",
    (
        Column("start_time", "time", "when the first byte of the request arrived at the proxy"),
        Column(
            "duration_ns",
            "i64",
            "until the last byte left the proxy, nanoseconds; null when not told",
        ),
        Column("resource_id", "text", "the reporting proxy; refers to `resources`"),
        Column("log_name", "text", "name of the log as configured at the proxy"),
        Column("log_type", "u8", "Envoy AccessLogType; only 0, 3 and 6 are whole requests"),
        Column("protocol", "text", "http or tcp"),
        Column("protocol_version", "text", "HTTP/1.0, HTTP/1.1, HTTP/2, HTTP/3"),
        Column("request_id", "text", "x-request-id"),
        Column("stream_id", "text", "the proxy's own id of the stream"),
        Column("trace_id_high", "u64", "first 8 bytes of the trace id, when the log carries one"),
        Column("trace_id_low", "u64", "last 8 bytes of the trace id, when the log carries one"),
        Column("http_request_method", "text", "`http.request.method`"),
        Column("authority", "text", "host or :authority"),
        Column("url_path", "text", "path without the query"),
        Column("route_name", "text", "name of the proxy's route"),
        Column("upstream_cluster", "text", "name of the cluster the request was sent to"),
        Column("http_response_status_code", "u16", "status sent downstream; 0 when none was sent"),
        Column(
            "upstream_response_status_code",
            "u16",
            "status the upstream sent, where the log tells both; of several attempts the last",
        ),
        Column("rpc_status_code", "text", "gRPC status as a number in text"),
        Column("response_flags", "text", "short names, comma-separated; null when none"),
        Column("response_code_details", "text", "why the proxy answered as it did"),
        Column("attempt_count", "u32", "attempts sent upstream"),
        Column(
            "request_bytes",
            "i64",
            "bytes of the request body (of Kong: headers too), or received from downstream (tcp)",
        ),
        Column(
            "response_bytes",
            "i64",
            "bytes of the response body (of Kong: headers too), or sent downstream (tcp)",
        ),
        Column(
            "upstream_duration_ns",
            "i64",
            "first byte sent upstream to last byte received, nanoseconds",
        ),
        Column(
            "downstream_direct_remote_address", "text", "ip:port of the peer connected to the proxy"
        ),
        Column(
            "downstream_remote_address",
            "text",
            "ip:port of the client, x-forwarded-for considered; of API gateways a hash",
        ),
        Column("downstream_local_address", "text", "ip:port the peer connected to"),
        Column("upstream_remote_address", "text", "ip:port of the host the request was sent to"),
        Column("upstream_local_address", "text", "ip:port the proxy sent from"),
        Column(
            "tls_version", "text", "TLS version of the downstream connection; null for plain text"
        ),
        Column("tls_sni", "text", "server name the peer asked for"),
        Column("tls_peer_identity", "text", "URI (or DNS) name in the peer's certificate"),
        Column("tls_local_identity", "text", "URI (or DNS) name in the proxy's certificate"),
        Column("consumer", "text", _CONSUMER),
        Column("user_agent", "text", "`user_agent.original`"),
        Column("sample_rate", "f64", "share of requests this log keeps, 0..1; null when not told"),
        Column("attributes", "json", "everything else the log told, one JSON object"),
    ),
)

LOGS: Final = Table(
    "logs",
    "one log record",
    (
        Column("time", "time", "when it happened, else when it was observed"),
        Column("observed_time", "time", "when it was observed"),
        Column("resource_id", "text", "refers to `resources`"),
        Column("scope_id", "text", "refers to `scopes`"),
        Column("severity_number", "u8", "1..24; 0 unspecified"),
        Column("severity_text", "text", "severity as the source wrote it"),
        Column("event_name", "text", "name of the event, when it is one"),
        Column("body", "text", "body as text; structured bodies as JSON"),
        Column("trace_id_high", "u64", "first 8 bytes of the trace id"),
        Column("trace_id_low", "u64", "last 8 bytes of the trace id"),
        Column("span_id", "u64", "span id"),
        Column("flags", "u32", "W3C trace flags and OTLP bits"),
        Column("attributes", "json", "attributes, one JSON object"),
    ),
)

METRIC_POINTS: Final = Table(
    "metric_points",
    "one data point of one metric stream",
    (
        Column("time", "time", "time of the point"),
        Column("start_time", "time", "start of the interval; null when not told"),
        Column("resource_id", "text", "refers to `resources`"),
        Column("scope_id", "text", "refers to `scopes`"),
        Column("name", "text", "metric name"),
        Column("unit", "text", "UCUM unit"),
        Column("type", "text", "gauge, sum, histogram, exponential_histogram, summary"),
        Column("temporality", "u8", "0 unspecified, 1 delta, 2 cumulative"),
        Column("is_monotonic", "bool", "of a sum"),
        Column("value", "f64", "value of a gauge or sum"),
        Column("value_int", "i64", "the same, exact, when the sender wrote an integer"),
        Column("count", "u64", "number of measurements"),
        Column("sum", "f64", "sum of measurements"),
        Column("min", "f64", "smallest measurement"),
        Column("max", "f64", "largest measurement"),
        Column("explicit_bounds", "f64[]", "upper bounds of a histogram's buckets"),
        Column("bucket_counts", "u64[]", "counts of a histogram's buckets"),
        Column("scale", "i32", "of an exponential histogram: base is 2**(2**-scale)"),
        Column("zero_count", "u64", "of an exponential histogram"),
        Column("zero_threshold", "f64", "of an exponential histogram"),
        Column("positive_offset", "i32", "index of the first positive bucket"),
        Column("positive_counts", "u64[]", "counts of the positive buckets"),
        Column("negative_offset", "i32", "index of the first negative bucket"),
        Column("negative_counts", "u64[]", "counts of the negative buckets"),
        Column("quantiles", "f64[]", "of a summary: the quantiles"),
        Column("quantile_values", "f64[]", "of a summary: their values"),
        Column("flags", "u32", "data point flags; bit 0: no recorded value"),
        Column("attributes", "json", "attributes of the point, one JSON object"),
        Column("exemplars", "json", "exemplars, a JSON array with hex ids; null when none"),
    ),
)

QUARANTINE: Final = Table(
    "quarantine",
    "one message, or one record of a message, that could not be decoded",
    (
        Column("received_at", "time", "when the collector took it; when it was read, if untold"),
        Column("topic", "text", "bus topic"),
        Column("partition", "i32", "bus partition"),
        Column("position", "i64", "bus offset"),
        Column("format", "text", "format it claimed to be"),
        Column("source", "text", "who sent it"),
        Column("reason", "text", "why it was set aside"),
        Column("byte_offset", "i64", "first byte that could not be accepted; null when unknown"),
        Column("records", "i64", "how many records it stands for"),
        Column("payload", "text", "the message in base64, cut at 64 KiB; null for single records"),
    ),
)

CALL_KEY: Final = (
    Column("minute", "time", "start of the minute in which the request began"),
    Column("client", "text", "node id of the caller; null when the row does not know"),
    Column("client_kind", "text", "node kind of the caller"),
    Column("client_workload", "text", "workload of the caller"),
    Column("client_version", "text", "version of the caller"),
    Column(
        "client_alias",
        "text",
        "what the caller is known by when its identity is not: an address or certificate name",
    ),
    Column("server", "text", "node id of the callee; null when the row does not know"),
    Column("server_kind", "text", "node kind of the callee"),
    Column("server_workload", "text", "workload of the callee"),
    Column("server_version", "text", "version of the callee"),
    Column(
        "server_alias", "text", "what the callee was addressed by when its identity is not known"
    ),
    Column("protocol", "text", "http, grpc, tcp, db, messaging or rpc"),
    Column("reporter", "text", "client, client_proxy, server_proxy, server or gateway"),
    Column("signal", "text", "what the reporter told it by: spans, access_logs or metrics"),
    Column("system", "text", "system of the reporter"),
)

MEASURES: Final = (
    Column("rows", "i64", "tellings summed here; of metrics, the requests that were counted"),
    Column("unpaired", "i64", "of these, tellings whose other side was not found"),
    Column("sampled", "i64", "of these, tellings that stand for more than one request"),
    Column("requests", "i64", "logical requests, in millionths, corrected for sampling"),
    Column("attempts", "i64", "attempts sent, in millionths, corrected for sampling"),
    Column("client_errors", "i64", "requests answered 4xx, in millionths"),
    Column("server_errors", "i64", "requests that failed at the server, in millionths"),
    Column("connection_errors", "i64", "requests that found no server, in millionths"),
    Column("tls_known", "i64", "tellings that know whether TLS was mutual, in millionths"),
    Column("tls_mutual", "i64", "of these, mutual, in millionths"),
    Column("duration_ns", "i64", "sum of durations, nanoseconds"),
    Column("buckets", "i16[]", "indexes of an exponential histogram of scale 5 over seconds"),
    Column("counts", "i64[]", "requests in each bucket, in millionths"),
    Column(
        "widths",
        "i16[]",
        "of metrics, how many such buckets wide each one is, and ends with this; 0 for one of this"
        " scale, -1 from zero, -2 open above; null where durations themselves were told",
    ),
)

BY_METRICS: Final = (
    Column("request_bytes", "i64", "bytes that went to the callee; null when not told"),
    Column("response_bytes", "i64", "bytes that came back; null when not told"),
    Column(
        "told_twice",
        "i64",
        "of the requests, those of proxies whose metrics came by several paths, in millionths",
    ),
    Column("told_again", "i64", "the same as another path told it, in millionths"),
)
"""Measures of edges that metrics alone tell; null in all other rows."""

EDGE_MINUTES: Final = Table(
    "edge_minutes",
    "what one reporter told of one edge in one minute, from one slice of arrival",
    (UNIT, *CALL_KEY, *MEASURES, *BY_METRICS),
)

NODE_MINUTES: Final = Table(
    "node_minutes",
    "what one reporter told of the requests one node served in one minute, by route",
    (
        UNIT,
        Column("minute", "time", "start of the minute in which the request began"),
        Column("node", "text", "node id"),
        Column("kind", "text", "node kind"),
        Column("workload", "text", "workload"),
        Column("version", "text", "version"),
        Column("route", "text", "method and route template, or the RPC method; null when not told"),
        Column("reporter", "text", "client, client_proxy, server_proxy, server or gateway"),
        Column("signal", "text", "what the reporter told it by: spans, access_logs or metrics"),
        Column("system", "text", "system of the reporter"),
        *MEASURES,
    ),
)

CONSUMER_MINUTES: Final = Table(
    "consumer_minutes",
    "what one reporter told of the requests of one API consumer that entered at one node in one"
    " minute, by route",
    (
        SLICE,
        Column("minute", "time", "start of the minute in which the request began"),
        Column("consumer", "text", "as in `access_logs`; `other` for those past the largest"),
        *(column for column in CALL_KEY if column.name.startswith("server")),
        Column("protocol", "text", "http, grpc, tcp, db, messaging or rpc"),
        Column("route", "text", "method and route template, or the RPC method; null when not told"),
        Column("reporter", "text", "client, client_proxy, server_proxy, server or gateway"),
        Column("signal", "text", "what the reporter told it by: spans or access_logs"),
        Column("system", "text", "system of the reporter"),
        *MEASURES,
    ),
)

ALIASES: Final = Table(
    "aliases",
    "one name or address under which a node was seen to be known",
    (
        SLICE,
        Column("client", "text", "node id of the caller that uses the alias; null when anybody's"),
        Column("alias", "text", "address, cluster name or certificate name"),
        Column("node", "text", "node id it stands for"),
        Column("kind", "text", "node kind"),
        Column("workload", "text", "workload, where the alias belongs to one"),
        Column("version", "text", "version, where the alias belongs to one"),
        Column("seen", "i64", "how many tellings said so"),
    ),
)

RAW: Final = (SPANS, ACCESS_LOGS, LOGS, METRIC_POINTS)
"""Tables of rows as received; the store adds the column `slice`."""

INTERNED: Final = (RESOURCES, SCOPES)
"""Tables whose rows are written once however often they are received."""

DERIVED: Final = (EDGE_MINUTES, NODE_MINUTES, CONSUMER_MINUTES, ALIASES)
"""Tables that can be recomputed from the raw ones at any time."""
