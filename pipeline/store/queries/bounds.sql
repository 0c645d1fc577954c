-- The first and the last minute the graph knows; null when it is empty.
SELECT min(minute) AS first, max(minute) AS last
FROM edge_minutes
