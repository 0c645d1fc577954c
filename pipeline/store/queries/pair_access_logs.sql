-- Access logs, all but what was not promoted.
-- $slices: list of slice numbers.
SELECT * EXCLUDE (attributes) REPLACE (epoch_ns(start_time) AS start_time)
FROM access_logs
WHERE slice IN (SELECT unnest($slices::BIGINT[]))
