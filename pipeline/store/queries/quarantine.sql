-- What could not be decoded, youngest first.
-- $limit: rows at most.
SELECT *
FROM quarantine
ORDER BY received_at DESC, topic, "partition", position DESC
LIMIT $limit::BIGINT
