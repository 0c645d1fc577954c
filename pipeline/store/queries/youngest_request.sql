-- When the youngest stored request began, leaving out clocks that are ahead.
-- $latest: Unix nanoseconds; requests that began later do not count.
SELECT max(began) AS youngest
FROM (
    SELECT max(start_time) AS began FROM spans
    WHERE start_time <= make_timestamp_ns($latest::BIGINT)
    UNION ALL
    SELECT max(start_time) FROM access_logs
    WHERE start_time <= make_timestamp_ns($latest::BIGINT)
    UNION ALL
    -- metrics do not say when a request began: it was counted in this minute
    SELECT max(minute) FROM edge_minutes
    WHERE signal = 'metrics' AND minute <= make_timestamp_ns($latest::BIGINT)
)
