-- Which minutes each slice has points of some metrics of.
-- $slices: list of slice numbers. $names: names of metrics.
SELECT DISTINCT slice AS cause, epoch_ns(date_trunc('minute', time)::TIMESTAMP_NS) AS minute
FROM metric_points
WHERE slice IN (SELECT unnest($slices::BIGINT[]))
  AND name IN (SELECT unnest($names::VARCHAR[]))
  AND time IS NOT NULL
