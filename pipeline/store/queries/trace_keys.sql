-- Which traces each slice has spans of.
-- $slices: list of slice numbers.
SELECT DISTINCT slice, trace_id_high, trace_id_low
FROM spans
WHERE slice IN (SELECT unnest($slices::BIGINT[]))
