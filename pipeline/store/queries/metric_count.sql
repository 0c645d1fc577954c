-- How many points of some metrics there are in a stretch of time.
-- $names: names of metrics. $start, $end: Unix nanoseconds, of points at or after $start and before $end.
SELECT count(*) AS points
FROM metric_points
WHERE name IN (SELECT unnest($names::VARCHAR[]))
  AND time >= make_timestamp_ns($start::BIGINT)
  AND time < make_timestamp_ns($end::BIGINT)
