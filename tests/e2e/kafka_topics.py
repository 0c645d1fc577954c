"""All that is on topics of a Kafka, read as any other program would."""

from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRecord


async def records(kafka: Sequence[str], topics: Sequence[str]) -> list[ConsumerRecord]:
    """What is on topics by now; one that is not there has nothing."""
    consumer = AIOKafkaConsumer(
        *topics, bootstrap_servers=list(kafka), auto_offset_reset="earliest", group_id=None
    )
    await consumer.start()
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        found: list[ConsumerRecord] = []
        while any([await consumer.position(one) < end for one, end in ends.items()]):
            for batch in (await consumer.getmany(timeout_ms=1_000)).values():
                found += batch
        return found
    finally:
        await consumer.stop()
