-- Spans of some traces, as received, with who sent them; start_time is Unix nanoseconds.
-- $slices: list of slice numbers; $traces: list of the lower halves of trace ids.
SELECT
    s.* REPLACE (epoch_ns(s.start_time) AS start_time),
    r.service_namespace, r.service_name, r.attributes AS resource_attributes
FROM spans s
LEFT JOIN resources r ON r.resource_id = s.resource_id
WHERE s.slice IN (SELECT unnest($slices::BIGINT[]))
  AND s.trace_id_low IN (SELECT unnest($traces::UBIGINT[]))
