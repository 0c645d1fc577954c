-- The lowest slice within a range that holds spans of a trace.
-- $low, $high: the range of slices, both included. $traces: last 8 bytes of the trace ids.
SELECT trace_id_high, trace_id_low, min(slice) AS home
FROM spans
WHERE slice BETWEEN $low AND $high AND trace_id_low IN (SELECT unnest($traces::UBIGINT[]))
GROUP BY ALL
