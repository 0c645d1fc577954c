-- The columns of spans that pairing needs.
-- $slices: list of slice numbers.
SELECT
    slice, trace_id_high, trace_id_low, span_id, parent_span_id, resource_id, kind,
    epoch_ns(start_time) AS start_time, duration_ns, status_code, sampling_threshold,
    http_request_method, http_response_status_code, http_route, http_request_resend_count,
    server_address, server_port, network_peer_address, network_peer_port, service_peer_name,
    rpc_system_name, rpc_method, rpc_status_code, db_system_name, db_namespace,
    messaging_system, messaging_destination_name, upstream_cluster, response_flags,
    request_id, is_proxy, consumer,
    -- a route is made of it where none is told
    CASE WHEN kind = 2 AND http_route IS NULL AND rpc_method IS NULL THEN url_path END AS url_path
FROM spans
WHERE slice IN (SELECT unnest($slices::BIGINT[]))
