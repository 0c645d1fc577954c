-- What nodes were known by in what arrived in a stretch of time, each telling summed; units are counted
-- by when their first slice was written, those whose raw rows passed their age are left out.
-- $start, $end: Unix nanoseconds, $end excluded.
SELECT client, alias, node, kind, workload, version, sum(seen)::BIGINT AS seen
FROM aliases
WHERE slice IN (
    SELECT slice FROM slices
    WHERE written_at >= make_timestamp_ns($start::BIGINT)
      AND written_at < make_timestamp_ns($end::BIGINT)
)
GROUP BY ALL
ORDER BY ALL
