-- The lowest slice within a range that holds access logs of a request.
-- $low, $high: the range of slices, both included. $requests: request ids.
SELECT request_id, min(slice) AS home
FROM access_logs
WHERE slice BETWEEN $low AND $high AND request_id IN (SELECT unnest($requests::VARCHAR[]))
GROUP BY ALL
