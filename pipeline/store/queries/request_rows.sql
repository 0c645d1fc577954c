-- Requests as told, oldest first.
-- $slices: list of slice numbers; $start, $end: Unix nanoseconds, $end excluded; $limit: rows at most.
SELECT *
FROM requests
WHERE slice IN (SELECT unnest($slices::BIGINT[]))
  AND time >= make_timestamp_ns($start::BIGINT)
  AND time < make_timestamp_ns($end::BIGINT)
ORDER BY time, trace_id, span_id
LIMIT $limit::BIGINT
