-- Which traces each slice has spans of, and the requests that spans of Envoys name.
-- $slices: list of slice numbers.
SELECT DISTINCT slice, trace_id_high, trace_id_low, request_id
FROM spans
WHERE slice IN (SELECT unnest($slices::BIGINT[]))
