-- Access log entries that began at some moments, as received, with who sent them.
-- $slices: list of slice numbers; $times: list of Unix nanoseconds.
SELECT
    a.* EXCLUDE (slice),
    r.service_namespace, r.service_name, r.attributes AS resource_attributes
FROM access_logs a
LEFT JOIN resources r ON r.resource_id = a.resource_id
WHERE a.slice IN (SELECT unnest($slices::BIGINT[]))
  AND epoch_ns(a.start_time) IN (SELECT unnest($times::BIGINT[]))
