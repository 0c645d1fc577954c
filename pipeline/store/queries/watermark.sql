-- How far the store has come, one row: the time of the youngest row of each raw table and of the
-- graph, Unix nanoseconds; null where there is none.
SELECT
    (SELECT epoch_ns(max(start_time)) FROM spans) AS spans,
    (SELECT epoch_ns(max(start_time)) FROM access_logs) AS access_logs,
    (SELECT epoch_ns(max(time)) FROM logs) AS logs,
    (SELECT epoch_ns(max(time)) FROM metric_points) AS metric_points,
    (SELECT epoch_ns(max(minute)) FROM edge_minutes) AS minute
