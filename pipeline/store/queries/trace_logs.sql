-- One trace: its log records with who sent them, in the order in which they happened.
-- $trace_id_high, $trace_id_low: the two halves of the trace id.
SELECT
    l.* EXCLUDE (resource_id, scope_id),
    r.service_namespace, r.service_name, r.service_version, r.service_instance_id, r.workload
FROM logs l
LEFT JOIN resources r ON r.resource_id = l.resource_id
WHERE l.trace_id_low = $trace_id_low::UBIGINT AND l.trace_id_high = $trace_id_high::UBIGINT
ORDER BY l.time, l.span_id
