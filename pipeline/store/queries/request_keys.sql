-- Which requests each slice has access logs of.
-- $slices: list of slice numbers.
SELECT DISTINCT slice, request_id
FROM access_logs
WHERE slice IN (SELECT unnest($slices::BIGINT[]))
