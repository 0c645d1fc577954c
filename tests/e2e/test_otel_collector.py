"""A real OpenTelemetry Collector and Meshweir meet on a real Kafka, each with its defaults."""

import asyncio
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from google.protobuf.message import Message as Protobuf
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from api.demo.broker import Broker, BrokerMissing
from api.demo.envoy import Address
from api.demo.network import free_address
from pipeline.bus.settings import KafkaSettings
from pipeline.decode import DECODERS
from pipeline.decode.otlp_json import to_protobuf
from pipeline.model.topics import OTLP_LOGS, OTLP_METRICS, OTLP_SPANS, TOPIC_FORMAT
from tests import otel_collector
from tests.collectors.bench import Bench, running as receiving
from tests.collectors.payloads import logs, metrics, traces
from tests.e2e.process import FREE, Process, ask, wait
from tests.otel_collector import CollectorMissing, running

# the first run on a machine builds the Collector
pytestmark = [pytest.mark.e2e, pytest.mark.anyio, pytest.mark.timeout(1500)]

CONFIGURATIONS = Path(__file__).parents[2] / "deploy" / "opentelemetry-collector"
TO_KAFKA = CONFIGURATIONS / "to-kafka.yaml"
AS_JSON = CONFIGURATIONS / "json.yaml"
FROM_KAFKA = CONFIGURATIONS / "from-kafka.yaml"

PARTITIONS = KafkaSettings().partitions
SECONDS = 30.0
GROUP = "otel-collector"
"""The consumer group of the Kafka receiver's default."""

SENT = {
    OTLP_SPANS: traces(30).SerializeToString(),
    OTLP_METRICS: metrics(20).SerializeToString(),
    OTLP_LOGS: logs(10).SerializeToString(),
}
RECORDS = {"spans": 30, "metric_points": 20, "logs": 10}
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


@pytest.fixture(scope="module")
def meshweir(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """Meshweir on that Kafka, where it has made the topics."""
    data = tmp_path_factory.mktemp("meshweir") / "data"
    up = Process(
        *("up", "--data", data, "--kafka", broker.bootstrap, "--api-address", FREE),
        *("--otlp-http-address", FREE, "--otlp-grpc-address", FREE),
        listeners=3,
    )
    assert wait(lambda: up.ready().status == 200)
    yield up
    up.stop()


def counted(up: Process, outcome: str) -> dict[str, int]:
    """Records by signal, of all sources."""
    text = ask(f"{up.api}/metrics").body.decode()
    found: dict[str, int] = defaultdict(int)
    for labels, value in re.findall(
        r"^meshweir_ingest_records_total\{(.*)\} (\d+)$", text, re.MULTILINE
    ):
        told = dict(re.findall(r'(\w+)="(.*?)"', labels))
        if told["outcome"] == outcome:
            found[told["signal"]] += int(value)
    return found


def environment(bootstrap: str, http: str) -> dict[str, str]:
    return {
        "KAFKA_BROKERS": bootstrap,
        "OTLP_HTTP_ENDPOINT": http.removeprefix("http://"),
        "OTLP_GRPC_ENDPOINT": "127.0.0.1:0",
        "OTLP_ENDPOINT": http,
    }


def post(http: str, topic: str) -> None:
    assert ask(f"{http}/v1/{PATHS[topic]}", SENT[topic]).status == 200


@asynccontextmanager
async def consuming(bootstrap: str, **options: object) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of what is written to the topics from now on."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, **options)
    await consumer.start()
    try:
        places = [TopicPartition(topic, one) for topic in SENT for one in range(PARTITIONS)]
        consumer.assign(places)
        await consumer.seek_to_end(*places)
        # the end is looked up when it is asked for
        await asyncio.gather(*(consumer.position(place) for place in places))
        yield consumer
    finally:
        await consumer.stop()


def rows(topic: str, value: bytes) -> dict[str, list[dict]]:
    """What a message says, by table; that a Collector writes empty messages says nothing."""
    decoded = DECODERS[TOPIC_FORMAT[topic]]([value])
    assert not decoded.refused
    return {name: table.to_pylist() for name, table in decoded.batches.items()}


@pytest.mark.parametrize("encoding", ["otlp_proto", "otlp_json"])
async def test_what_its_kafka_exporter_writes_meshweir_stores(
    broker: Broker, meshweir: Process, tmp_path: Path, encoding: str
) -> None:
    http = f"http://{free_address(Address(0))}"
    files = [TO_KAFKA] if encoding == "otlp_proto" else [TO_KAFKA, AS_JSON]
    before = counted(meshweir, "stored")
    async with consuming(broker.bootstrap) as consumer:
        with running(files, environment(broker.bootstrap, http), tmp_path / "log"):
            for topic in SENT:
                await asyncio.to_thread(post, http, topic)
            async with asyncio.timeout(SECONDS):
                records = [await consumer.getone() for _ in SENT]

    assert {record.topic for record in records} == set(SENT)
    for record in records:
        assert record.key is None
        assert not record.headers
        value = record.value
        if encoding == "otlp_json":
            value = to_protobuf(value, KINDS[record.topic])
        assert rows(record.topic, value) == rows(record.topic, SENT[record.topic])

    def new() -> dict[str, int]:
        return {
            signal: number - before.get(signal, 0)
            for signal, number in counted(meshweir, "stored").items()
        }

    assert wait(lambda: new() == RECORDS, SECONDS), new()
    assert not counted(meshweir, "quarantined")


async def test_its_kafka_receiver_reads_what_meshweir_took(
    broker: Broker, meshweir: Process, tmp_path: Path
) -> None:
    # a group that was there before takes what is sent while it starts
    async with consuming(broker.bootstrap, group_id=GROUP) as consumer:
        await consumer.commit()
    async with receiving(tmp_path) as bench:
        for topic in SENT:
            await asyncio.to_thread(post, meshweir.http, topic)
        given = environment(broker.bootstrap, bench.http)
        with running([FROM_KAFKA], given, tmp_path / "log"):
            arrived = await received(bench)
    for topic, value in arrived.items():
        assert rows(topic, value) == rows(topic, SENT[topic])


async def received(bench: Bench) -> dict[str, bytes]:
    """What arrived at the end of the way, once there is something of all topics."""
    async with asyncio.timeout(SECONDS):
        while True:
            found = {topic: await bench.messages(topic) for topic in SENT}
            if all(found.values()):
                return {topic: message.value for topic, (message,) in found.items()}
            await asyncio.sleep(0.1)
