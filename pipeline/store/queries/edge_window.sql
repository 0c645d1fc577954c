-- what each reporter told of each edge in a window: the minutes summed, histograms as their entries in any order.
-- A bucket may occur several times in a row's lists, at the same place in both; whoever reads them adds up.
-- Minutes from $young on are summed apart from those before; `minute` is the last that a row stands for.
-- $start, $end, $young: Unix nanoseconds; minutes that begin at or after $start and before $end.
SELECT
    max(minute) AS minute,
    client, client_kind, client_workload, client_version, client_alias,
    server, server_kind, server_workload, server_version, server_alias,
    protocol, reporter, signal, system,
    sum("rows")::BIGINT AS "rows",
    sum(unpaired)::BIGINT AS unpaired,
    sum(sampled)::BIGINT AS sampled,
    sum(requests)::BIGINT AS requests,
    sum(attempts)::BIGINT AS attempts,
    sum(client_errors)::BIGINT AS client_errors,
    sum(server_errors)::BIGINT AS server_errors,
    sum(connection_errors)::BIGINT AS connection_errors,
    sum(tls_known)::BIGINT AS tls_known,
    sum(tls_mutual)::BIGINT AS tls_mutual,
    sum(duration_ns)::BIGINT AS duration_ns,
    flatten(list(buckets)) AS buckets,
    flatten(list(counts)) AS counts,
    flatten(list(widths)) AS widths,
    sum(request_bytes)::BIGINT AS request_bytes,
    sum(response_bytes)::BIGINT AS response_bytes,
    sum(told_twice)::BIGINT AS told_twice,
    sum(told_again)::BIGINT AS told_again
FROM edge_minutes
WHERE minute >= make_timestamp_ns($start::BIGINT)
  AND minute < make_timestamp_ns($end::BIGINT)
GROUP BY
    client, client_kind, client_workload, client_version, client_alias,
    server, server_kind, server_workload, server_version, server_alias,
    protocol, reporter, signal, system,
    minute >= make_timestamp_ns($young::BIGINT)
