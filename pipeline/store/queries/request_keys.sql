-- Which requests, and which traces, each slice has access logs of.
-- $slices: list of slice numbers.
SELECT DISTINCT slice, trace_id_high, trace_id_low, request_id
FROM access_logs
WHERE slice IN (SELECT unnest($slices::BIGINT[]))
