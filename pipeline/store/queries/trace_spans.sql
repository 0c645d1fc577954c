-- One trace: its spans as received, with who sent them, in the order in which they began.
-- $trace_id_high, $trace_id_low: the two halves of the trace id.
SELECT
    s.* EXCLUDE (resource_id, scope_id),
    r.service_namespace, r.service_name, r.service_version, r.service_instance_id, r.workload,
    r.cluster, r.zone, r.system, r.attributes AS resource_attributes,
    c.name AS scope_name, c.version AS scope_version
FROM spans s
LEFT JOIN resources r ON r.resource_id = s.resource_id
LEFT JOIN scopes c ON c.scope_id = s.scope_id
WHERE s.trace_id_low = $trace_id_low::UBIGINT AND s.trace_id_high = $trace_id_high::UBIGINT
ORDER BY s.start_time, s.span_id, s.kind
