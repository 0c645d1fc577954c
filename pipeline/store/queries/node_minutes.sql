-- what each reporter told of each node, minute by minute: the rows as derived, one or more per key and minute.
-- $start, $end: Unix nanoseconds; minutes that begin at or after $start and before $end.
SELECT * EXCLUDE (slice)
FROM node_minutes
WHERE minute >= make_timestamp_ns($start::BIGINT)
  AND minute < make_timestamp_ns($end::BIGINT)
