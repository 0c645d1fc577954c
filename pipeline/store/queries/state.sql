-- One row that differs whenever a committed row, or a row derived from it, may differ.
-- Writing raises `slices`; noticing lowers `unnoticed`; recomputing lowers `dirty`; retention lowers `kept`.
SELECT
    (SELECT value FROM counters WHERE name = 'slice') AS slices,
    (SELECT count(*) FROM slices WHERE NOT noticed) AS unnoticed,
    (SELECT count(*) FROM dirty_slices) AS dirty,
    (SELECT count(*) FROM slices) AS kept
