-- what each reporter told of each edge in a window: the minutes summed, histograms as their entries in any order.
-- A bucket may occur several times in a row's lists, at the same place in both; whoever reads them adds up.
-- Minutes from $young on are summed apart from those before; `minute` is the last that a row stands for.
-- $start, $end, $young: Unix nanoseconds; minutes that begin at or after $start and before $end.
SELECT
    max(minute) AS minute,
    client, client_kind, client_workload, client_version, client_alias,
    server, server_kind, server_workload, server_version, server_alias,
    protocol, reporter, signal, system,
    {measures},
    {by_metrics}
FROM edge_minutes
WHERE minute >= make_timestamp_ns($start::BIGINT)
  AND minute < make_timestamp_ns($end::BIGINT)
GROUP BY
    client, client_kind, client_workload, client_version, client_alias,
    server, server_kind, server_workload, server_version, server_alias,
    protocol, reporter, signal, system,
    minute >= make_timestamp_ns($young::BIGINT)
