-- Every minute that has points of some metrics.
-- $names: names of metrics.
SELECT DISTINCT epoch_ns(date_trunc('minute', time)::TIMESTAMP_NS) AS minute
FROM metric_points
WHERE name IN (SELECT unnest($names::VARCHAR[])) AND time IS NOT NULL
ORDER BY 1
