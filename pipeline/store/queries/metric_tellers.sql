-- Who has points of some metrics in a stretch of time: by resource and labels, and how many.
-- $names: names of metrics. $labels: JSON paths of attributes that are answered, in this order.
-- $start, $end: Unix nanoseconds, of points at or after $start and before $end.
WITH tellers AS (
    SELECT resource_id, attributes, count(*) AS points
    FROM metric_points
    WHERE name IN (SELECT unnest($names::VARCHAR[]))
      AND time >= make_timestamp_ns($start::BIGINT)
      AND time < make_timestamp_ns($end::BIGINT)
    GROUP BY ALL
)
SELECT
    resource_id, points,
    TRY(json_extract_string(attributes, $labels::VARCHAR[])) AS labels
FROM tellers
