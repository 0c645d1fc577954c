-- What is set aside, youngest first. `message` names where its message stands on the bus; `number`
-- and `of_message` tell several of one message apart.
-- $reason: only what was set aside for it; null for all.
-- $ids: only these messages, or single ones of a message (message/number); null for all.
-- $payload: whether to answer what was received. $limit, $offset: a page.
WITH numbered AS (
    SELECT
        *,
        format('{}/{}/{}', topic, "partition", "position") AS message,
        row_number() OVER alike AS number,
        count(*) OVER (PARTITION BY topic, "partition", "position") AS of_message
    FROM quarantine
    WINDOW alike AS (
        PARTITION BY topic, "partition", "position"
        ORDER BY byte_offset NULLS FIRST, reason, records
    )
)
SELECT * REPLACE (if($payload::BOOLEAN, payload, NULL) AS payload)
FROM numbered
WHERE ($reason::VARCHAR IS NULL OR reason = $reason)
  AND ($ids::VARCHAR[] IS NULL
       OR message IN (SELECT unnest($ids::VARCHAR[]))
       OR format('{}/{}', message, number) IN (SELECT unnest($ids::VARCHAR[])))
ORDER BY received_at DESC NULLS LAST, topic, "partition", "position" DESC, number
LIMIT $limit::BIGINT OFFSET $offset::BIGINT
