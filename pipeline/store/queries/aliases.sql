-- What nodes are known by, over all time, each telling summed.
SELECT client, alias, node, kind, workload, version, sum(seen)::BIGINT AS seen
FROM aliases
GROUP BY ALL
ORDER BY ALL
