-- Access log entries of some requests, as received, with who sent them; start_time is Unix nanoseconds.
-- $slices: list of slice numbers; $traces: list of the lower halves of trace ids; $requests: list of
-- request ids; $resources: list of resource ids whose entries without a request id are wanted too, or
-- an empty list;
-- $start, $end: Unix nanoseconds, of entries without a request id.
SELECT
    a.* REPLACE (epoch_ns(a.start_time) AS start_time),
    r.service_namespace, r.service_name, r.attributes AS resource_attributes
FROM access_logs a
LEFT JOIN resources r ON r.resource_id = a.resource_id
WHERE a.slice IN (SELECT unnest($slices::BIGINT[]))
  AND (
    a.request_id IN (SELECT unnest($requests::VARCHAR[]))
    OR a.trace_id_low IN (SELECT unnest($traces::UBIGINT[]))
    OR (
        a.request_id IS NULL
        AND a.resource_id IN (SELECT unnest($resources::VARCHAR[]))
        AND a.start_time >= make_timestamp_ns($start::BIGINT)
        AND a.start_time < make_timestamp_ns($end::BIGINT)
    )
  )
