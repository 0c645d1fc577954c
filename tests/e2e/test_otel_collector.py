"""A real OpenTelemetry Collector and Meshweir meet on a real Kafka, each with its defaults."""

import asyncio
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from google.protobuf.message import Message as Protobuf
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from api.demo.broker import Broker, BrokerMissing
from api.demo.envoy import Address
from api.demo.network import free_address
from collectors.otlp_json import to_protobuf
from pipeline.decode import DECODERS
from pipeline.model.topics import OTLP_LOGS, OTLP_METRICS, OTLP_SPANS, TOPIC_FORMAT
from tests import otel_collector
from tests.collectors.bench import Bench, running as receiving
from tests.collectors.payloads import logs, metrics, traces
from tests.otel_collector import CollectorMissing, running

# the first run on a machine builds the Collector
pytestmark = [pytest.mark.e2e, pytest.mark.anyio, pytest.mark.timeout(1500)]

CONFIGURATIONS = Path(__file__).parents[2] / "deploy" / "opentelemetry-collector"
TO_KAFKA = CONFIGURATIONS / "to-kafka.yaml"
AS_JSON = CONFIGURATIONS / "json.yaml"
FROM_KAFKA = CONFIGURATIONS / "from-kafka.yaml"

PARTITIONS = 2
SECONDS = 30.0
GROUP = "otel-collector"
"""The consumer group of the Kafka receiver's default."""

SENT: dict[str, Protobuf] = {OTLP_SPANS: traces(30), OTLP_METRICS: metrics(20), OTLP_LOGS: logs(10)}
PATHS = {OTLP_SPANS: "traces", OTLP_METRICS: "metrics", OTLP_LOGS: "logs"}
KINDS: dict[str, type[Protobuf]] = {
    OTLP_SPANS: ExportTraceServiceRequest,
    OTLP_METRICS: ExportMetricsServiceRequest,
    OTLP_LOGS: ExportLogsServiceRequest,
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def built() -> None:
    """Skips where no Collector can be built."""
    try:
        otel_collector.program()
    except CollectorMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def broker(built: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A Kafka of our own: the defaults of both sides name the topics."""
    one = Broker(tmp_path_factory.mktemp("kafka"))
    try:
        one.start()
    except BrokerMissing as missing:
        pytest.skip(str(missing))
    yield one
    one.stop()


@pytest.fixture
async def topics(broker: Broker) -> AsyncIterator[str]:
    """Bootstrap address of the broker, where the topics are there and empty."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in SENT])
    yield broker.bootstrap
    await admin.delete_topics(list(SENT))
    await admin.close()


def environment(bootstrap: str, http: str) -> dict[str, str]:
    return {
        "KAFKA_BROKERS": bootstrap,
        "OTLP_HTTP_ENDPOINT": http.removeprefix("http://"),
        "OTLP_GRPC_ENDPOINT": "127.0.0.1:0",
        "OTLP_ENDPOINT": http,
    }


def post(http: str, topic: str) -> None:
    request = urllib.request.Request(
        f"{http}/v1/{PATHS[topic]}",
        SENT[topic].SerializeToString(),
        {"content-type": "application/x-protobuf"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


@asynccontextmanager
async def consuming(bootstrap: str, **options: object) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        *SENT, bootstrap_servers=bootstrap, auto_offset_reset="earliest", **options
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


def rows(topic: str, value: bytes) -> dict[str, list[dict]]:
    """What a message says, by table; that a Collector writes empty messages says nothing."""
    decoded = DECODERS[TOPIC_FORMAT[topic]]([value])
    assert not decoded.refused
    return {name: table.to_pylist() for name, table in decoded.batches.items()}


async def written(bootstrap: str, messages: int) -> dict[str, ConsumerRecord]:
    """What lies on the topics, once there is so much of it; one message each."""
    async with consuming(bootstrap) as consumer, asyncio.timeout(SECONDS):
        found = [await consumer.getone() for _ in range(messages)]
    return {record.topic: record for record in found}


@pytest.mark.parametrize("encoding", ["otlp_proto", "otlp_json"])
async def test_what_its_kafka_exporter_writes_is_what_meshweir_reads(
    topics: str, tmp_path: Path, encoding: str
) -> None:
    http = f"http://{free_address(Address(0))}"
    files = [TO_KAFKA] if encoding == "otlp_proto" else [TO_KAFKA, AS_JSON]
    with running(files, environment(topics, http), tmp_path / "log"):
        for topic in SENT:
            await asyncio.to_thread(post, http, topic)
        records = await written(topics, len(SENT))

    assert set(records) == set(SENT)
    for topic, record in records.items():
        assert record.key is None
        assert not record.headers
        value = record.value
        if encoding == "otlp_json":
            value = to_protobuf(value, KINDS[topic])
        assert rows(topic, value) == rows(topic, SENT[topic].SerializeToString())


async def receiver_was_there_before(bootstrap: str) -> None:
    """Positions for the receiver's group, so that it takes what is sent while it starts."""
    async with consuming(bootstrap, group_id=GROUP, enable_auto_commit=False) as consumer:
        await consumer.commit(
            {TopicPartition(topic, number): 0 for topic in SENT for number in range(PARTITIONS)}
        )


async def received(bench: Bench) -> dict[str, bytes]:
    """What arrived at the end of the way, once there is something of all topics."""
    async with asyncio.timeout(SECONDS):
        while True:
            found = {topic: await bench.messages(topic) for topic in SENT}
            if all(found.values()):
                return {topic: message.value for topic, (message,) in found.items()}
            await asyncio.sleep(0.1)


async def test_its_kafka_receiver_reads_what_meshweir_wrote(topics: str, tmp_path: Path) -> None:
    await receiver_was_there_before(topics)
    async with receiving(tmp_path) as bench:
        producer = AIOKafkaProducer(bootstrap_servers=topics)
        await producer.start()
        for topic, request in SENT.items():
            headers = [("format", TOPIC_FORMAT[topic].encode()), ("received_at", b"1")]
            await producer.send_and_wait(topic, request.SerializeToString(), headers=headers)
        await producer.stop()
        with running([FROM_KAFKA], environment(topics, bench.http), tmp_path / "log"):
            arrived = await received(bench)
    for topic, value in arrived.items():
        assert rows(topic, value) == rows(topic, SENT[topic].SerializeToString())
