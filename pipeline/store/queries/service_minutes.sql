-- What each reporter told of one node, minute by minute: the rows as derived.
-- $node: node id. $start, $end: Unix nanoseconds; minutes that begin at or after $start and before $end.
SELECT * EXCLUDE (slice)
FROM node_minutes
WHERE node = $node
  AND minute >= make_timestamp_ns($start::BIGINT)
  AND minute < make_timestamp_ns($end::BIGINT)
