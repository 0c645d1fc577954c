-- One row that differs whenever a committed row, or a row derived from it, may differ.
-- Writing raises `slices`; noticing, recomputing, merging and retention raise `changes`.
SELECT
    (SELECT value FROM counters WHERE name = 'slice') AS slices,
    (SELECT changes FROM leases WHERE name = 'analysis') AS changes
