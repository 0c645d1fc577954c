-- Access log entries of a stretch of time that carry neither a trace id nor a request id, oldest first;
-- start_time is Unix nanoseconds.
-- $start, $end: Unix nanoseconds, $end excluded; $limit: entries at most.
SELECT * EXCLUDE (attributes) REPLACE (epoch_ns(start_time) AS start_time)
FROM access_logs
WHERE request_id IS NULL AND trace_id_low IS NULL
  AND start_time >= make_timestamp_ns($start::BIGINT)
  AND start_time < make_timestamp_ns($end::BIGINT)
ORDER BY start_time, resource_id
LIMIT $limit::BIGINT
