-- what each reporter told of each API consumer in a window: the minutes and routes summed, as `edge_window` does.
-- $start, $end: Unix nanoseconds; minutes that begin at or after $start and before $end.
SELECT
    max(minute) AS minute,
    consumer,
    server, server_kind, server_workload, server_version, server_alias,
    protocol, reporter, signal, system,
    {measures}
FROM consumer_minutes
WHERE minute >= make_timestamp_ns($start::BIGINT)
  AND minute < make_timestamp_ns($end::BIGINT)
GROUP BY ALL
