-- The derived rows of the graph, with the unit of slices (slice to high) each was derived from.
-- $start, $end: Unix nanoseconds; minutes that begin at or after $start and before $end.
SELECT e.*, coalesce(u.high, e.slice) AS high
FROM edge_minutes e
LEFT JOIN units u ON u.low = e.slice
WHERE e.minute >= make_timestamp_ns($start::BIGINT)
  AND e.minute < make_timestamp_ns($end::BIGINT)
