-- One row is one request as one reporter told of it. Tellings of one call are several rows: count one
-- reporter at a time, and multiply by weight.
SELECT
    s.slice,
    s.start_time AS time,
    s.duration_ns,
    'spans' AS signal,
    CASE
        WHEN s.kind IN (3, 4) THEN if(s.is_proxy, 'client_proxy', 'client')
        ELSE if(s.is_proxy, 'server_proxy', 'server')
    END AS reporter,
    r.cluster,
    r.service_namespace,
    r.service_name,
    r.workload,
    r.service_version AS version,
    r.zone,
    r.service_instance_id AS instance,
    r.system,
    CASE
        WHEN s.db_system_name IS NOT NULL THEN 'db'
        WHEN s.messaging_system IS NOT NULL THEN 'messaging'
        WHEN s.rpc_system_name = 'grpc' THEN 'grpc'
        WHEN s.rpc_system_name IS NOT NULL THEN 'rpc'
        WHEN s.http_request_method IS NOT NULL THEN 'http'
    END AS protocol,
    coalesce(s.http_request_method, s.rpc_method) AS method,
    s.http_route AS route,
    s.url_path,
    s.http_response_status_code AS status,
    s.rpc_status_code AS grpc_status,
    s.status_code = 2 AS failed,
    s.response_flags,
    s.http_request_resend_count AS resends,
    NULL::BIGINT AS request_bytes,
    NULL::BIGINT AS response_bytes,
    s.server_address,
    s.server_port,
    s.network_peer_address AS peer_address,
    s.network_peer_port AS peer_port,
    coalesce(s.service_peer_name, s.db_namespace, s.messaging_destination_name) AS peer_name,
    s.upstream_cluster,
    NULL::VARCHAR AS tls_peer_identity,
    s.consumer,
    s.request_id,
    format('{:016x}{:016x}', s.trace_id_high, s.trace_id_low) AS trace_id,
    format('{:016x}', s.span_id) AS span_id,
    format('{:016x}', s.parent_span_id) AS parent_span_id,
    -- OpenTelemetry consistent sampling: kept with probability 1 - T / 2**56
    coalesce(72057594037927936 / (72057594037927936 - s.sampling_threshold::DOUBLE), 1) AS weight
FROM spans s
LEFT JOIN resources r ON r.resource_id = s.resource_id
WHERE s.kind IN (2, 3, 4, 5)
UNION ALL
SELECT
    a.slice,
    a.start_time,
    a.duration_ns,
    'access_logs',
    CASE
        WHEN r.service_instance_id LIKE 'router~%' OR r.system IN ('kong', 'apigee', 'aws') THEN 'gateway'
        WHEN a.upstream_cluster LIKE 'inbound%' OR a.log_name LIKE '%inbound%' THEN 'server_proxy'
        WHEN a.upstream_cluster LIKE 'outbound%' THEN 'client_proxy'
        WHEN a.tls_peer_identity IS NOT NULL THEN 'server_proxy'
        ELSE 'client_proxy'
    END,
    r.cluster,
    r.service_namespace,
    r.service_name,
    r.workload,
    r.service_version,
    r.zone,
    r.service_instance_id,
    r.system,
    if(a.rpc_status_code IS NOT NULL, 'grpc', a.protocol),
    a.http_request_method,
    a.route_name,
    a.url_path,
    a.http_response_status_code,
    a.rpc_status_code,
    a.http_response_status_code >= 500 OR a.http_response_status_code = 0,
    a.response_flags,
    greatest(a.attempt_count, 1) - 1,
    a.request_bytes,
    a.response_bytes,
    a.authority,
    NULL,
    coalesce(a.upstream_remote_address, a.downstream_remote_address),
    NULL,
    NULL,
    a.upstream_cluster,
    a.tls_peer_identity,
    coalesce(
        a.consumer,
        -- a principal of the mesh: a SPIFFE id of Istio or Consul, an identity of Linkerd, else what the
        -- certificate says
        'principal:' || coalesce(
            nullif(regexp_replace(a.tls_peer_identity, '^spiffe://[^/]+/ns/([^/]+)/(?:sa/|dc/[^/]+/svc/)([^/]+)$', '\1/\2'), a.tls_peer_identity),
            nullif(regexp_replace(a.tls_peer_identity, '^([^.]+)\.([^.]+)\.serviceaccount\.identity\..*$', '\2/\1'), a.tls_peer_identity),
            a.tls_peer_identity
        )
    ),
    a.request_id,
    format('{:016x}{:016x}', a.trace_id_high, a.trace_id_low),
    NULL,
    NULL,
    if(a.sample_rate > 0, 1 / a.sample_rate, 1)
FROM access_logs a
LEFT JOIN resources r ON r.resource_id = a.resource_id
WHERE a.log_type IN (0, 3, 6)
