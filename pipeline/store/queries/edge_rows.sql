-- The derived rows of one edge, with the unit of slices (slice to high) each was derived from.
-- $client, $server: node ids, null for a side that is not known;
-- $start, $end: Unix nanoseconds; minutes that begin at or after $start and before $end.
SELECT e.*, coalesce(u.high, e.slice) AS high
FROM edge_minutes e
LEFT JOIN units u ON u.low = e.slice
WHERE e.client IS NOT DISTINCT FROM $client::VARCHAR
  AND e.server IS NOT DISTINCT FROM $server::VARCHAR
  AND e.minute >= make_timestamp_ns($start::BIGINT)
  AND e.minute < make_timestamp_ns($end::BIGINT)
ORDER BY e.minute, e.slice, e.reporter
