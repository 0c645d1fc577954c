-- The first and the last minute of the graph; nulls when there is none.
SELECT min(minute) AS first, max(minute) AS last FROM edge_minutes
