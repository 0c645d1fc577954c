-- what each reporter told of each API consumer in a window: the minutes and routes summed, as `edge_window` does.
-- $start, $end: Unix nanoseconds; minutes that begin at or after $start and before $end.
SELECT
    max(minute) AS minute,
    consumer,
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
    flatten(list(widths)) AS widths
FROM consumer_minutes
WHERE minute >= make_timestamp_ns($start::BIGINT)
  AND minute < make_timestamp_ns($end::BIGINT)
GROUP BY
    consumer, server, server_kind, server_workload, server_version, server_alias,
    protocol, reporter, signal, system
