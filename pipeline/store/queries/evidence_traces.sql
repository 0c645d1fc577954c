-- Traces in which some senders have spans, by the time of the first.
-- $slices: list of slice numbers; $resources: list of resource ids; $start, $end: Unix nanoseconds;
-- $limit, $offset: which part of the list.
SELECT trace_id_high, trace_id_low
FROM spans
WHERE slice IN (SELECT unnest($slices::BIGINT[]))
  AND resource_id IN (SELECT unnest($resources::VARCHAR[]))
  AND start_time >= make_timestamp_ns($start::BIGINT)
  AND start_time < make_timestamp_ns($end::BIGINT)
GROUP BY trace_id_high, trace_id_low
ORDER BY min(start_time), trace_id_high, trace_id_low
LIMIT $limit::BIGINT OFFSET $offset::BIGINT
