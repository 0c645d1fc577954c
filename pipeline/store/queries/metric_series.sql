-- The series of some metrics in a stretch of time: one row each, its points as lists in any order.
-- $names: names of metrics. $labels: JSON paths of attributes that are answered, in this order.
-- $start, $end: Unix nanoseconds, of points at or after $start and before $end.
-- $resources: only series of these; null for all.
WITH series AS (
    SELECT
        resource_id, scope_id, name, unit, type, temporality, attributes, explicit_bounds,
        list(epoch_ns(time)) AS time,
        list(epoch_ns(start_time)) AS start_time,
        list(flags) AS flags,
        list(coalesce(value_int::DOUBLE, value)) AS value,
        list("count"::DOUBLE) AS "count",
        list("sum") AS "sum",
        -- a summary tells its least and its greatest as quantiles
        list(coalesce("min", quantile_values[list_position(quantiles, 0::DOUBLE)])) AS "min",
        list(coalesce("max", quantile_values[list_position(quantiles, 1::DOUBLE)])) AS "max",
        list(TRY_CAST(bucket_counts AS BIGINT[])) AS bucket_counts,
        list(scale) AS scale,
        list(TRY_CAST(zero_count AS BIGINT)) AS zero_count,
        list(zero_threshold) AS zero_threshold,
        list(positive_offset) AS positive_offset,
        list(TRY_CAST(positive_counts AS BIGINT[])) AS positive_counts
    FROM metric_points
    WHERE name IN (SELECT unnest($names::VARCHAR[]))
      AND time >= make_timestamp_ns($start::BIGINT)
      AND time < make_timestamp_ns($end::BIGINT)
      AND ($resources::VARCHAR[] IS NULL OR list_contains($resources::VARCHAR[], resource_id))
    GROUP BY ALL
)
SELECT
    * EXCLUDE (attributes),
    TRY(json_extract_string(attributes, $labels::VARCHAR[])) AS labels
FROM series
