-- Which traces and requests the rows of some traces or requests carry, with the lowest slice of each
-- combination; an entry or span may carry both.
-- $low, $high: the range of slices, both included. $traces: last 8 bytes of trace ids.
-- $requests: request ids.
SELECT min(slice) AS slice, trace_id_high, trace_id_low, request_id
FROM (
    SELECT slice, trace_id_high, trace_id_low, request_id FROM spans
    WHERE slice BETWEEN $low AND $high AND (
        trace_id_low IN (SELECT unnest($traces::UBIGINT[]))
        OR request_id IN (SELECT unnest($requests::VARCHAR[]))
    )
    UNION ALL
    SELECT slice, trace_id_high, trace_id_low, request_id FROM access_logs
    WHERE slice BETWEEN $low AND $high AND (
        trace_id_low IN (SELECT unnest($traces::UBIGINT[]))
        OR request_id IN (SELECT unnest($requests::VARCHAR[]))
    )
)
GROUP BY ALL
