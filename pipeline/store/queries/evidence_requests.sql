-- Requests of which some senders have access log entries, by the time of the first; entries without a
-- request id are one together.
-- $slices: list of slice numbers; $resources: list of resource ids; $start, $end: Unix nanoseconds;
-- $limit, $offset: which part of the list.
SELECT request_id
FROM access_logs
WHERE slice IN (SELECT unnest($slices::BIGINT[]))
  AND resource_id IN (SELECT unnest($resources::VARCHAR[]))
  AND start_time >= make_timestamp_ns($start::BIGINT)
  AND start_time < make_timestamp_ns($end::BIGINT)
GROUP BY request_id
ORDER BY min(start_time), request_id
LIMIT $limit::BIGINT OFFSET $offset::BIGINT
