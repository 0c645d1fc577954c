"""Secrets planted in all formats are found nowhere: on no bus, in no store, log or answer."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import duckdb
import grpc
import orjson
from aiokafka import AIOKafkaConsumer

from pipeline.model.topics import FORMAT_SIGNAL, TELEMETRY_DLQ, TOPICS
from pipeline.store.attach import FILE_NAME
from tests.api.test_cli import meshweir
from tests.e2e.planted import MARKER, PLANTED, PREFIX, Planter
from tests.e2e.process import ask
from tests.e2e.up import Up

SECRET = re.compile(rf"{PREFIX}\d+".encode())
OTLP = {"otlp_traces": "/v1/traces", "otlp_metrics": "/v1/metrics", "otlp_logs": "/v1/logs"}
ACCESS_LOGS = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs"
QUESTIONS = (
    "/v1/graph", "/v1/graph?start=2025-11-26T00:00:00Z&end=2025-11-27T00:00:00Z",
    "/v1/services?start=2025-11-26T00:00:00Z&end=2025-11-27T00:00:00Z", "/v1/ingest",
    "/v1/quarantine", "/v1/recommendations", "/metrics", "/readyz",
    "/v1/traces/74747474747474747474747474747474",
    "/v1/traces/0000000000000000000000000000abc1",
    "/v1/traces/0000000000000000000000000000abc2",
)  # fmt: skip


EVERY = 5
"""Which of the edges are asked for their evidence."""


class Ground:
    """All that is to be looked through, and where the secrets were planted."""

    def __init__(self, planter: Planter) -> None:
        self.planter = planter
        self.marked: set[str] = set()

    def look(self, where: str, text: bytes) -> None:
        """No secret is in it."""
        found = {token.decode() for token in SECRET.findall(text)}
        told = [self.planter.where[token] for token in sorted(found)[:20]]
        assert not found, f"{len(found)} secrets in {where}, of {told}"
        if MARKER.encode() in text:
            self.marked.add(where.partition(" ")[0])


def files(directory: Path, planter: Planter) -> list[Path]:
    """The messages of all formats that files are imported in."""
    paths = []
    for name, messages in PLANTED.items():
        if name not in (*OTLP, "envoy_als"):
            for number, message in enumerate(messages(planter)):
                paths.append(directory / f"{name}.{number}")
                paths[-1].write_bytes(message)
    return paths


def imported(ground: Ground, paths: list[Path], *flags: object) -> None:
    """Import all files; each must be taken for what it is. What is printed is looked through."""
    ended = meshweir("import", *flags, "--json", *paths)
    assert ended.returncode == 0, ended.stderr
    reports = orjson.loads(ended.stdout)["files"]
    assert [report["format"] for report in reports] == [path.stem for path in paths]
    taken = {report["format"] for report in reports if report["accepted"]}
    assert taken == {path.stem for path in paths}
    ground.look("output of import", ended.stdout + ended.stderr)


def sent(ground: Ground, up: Up) -> None:
    """Send the messages of the formats that come to receivers, and such as are refused."""
    for name, path in OTLP.items():
        for message in PLANTED[name](ground.planter):
            answer = ask(up.http + path, message)
            assert answer.status == 200
            ground.look(f"answer of {path}", answer.body)
            answer = ask(up.http + path, message[:-1])
            assert answer.status == 400
            ground.look(f"refusal of {path}", answer.body)
    with grpc.insecure_channel(up.grpc) as channel:
        messages = PLANTED["envoy_als"](ground.planter)
        channel.stream_unary(ACCESS_LOGS)(messages)


def answers(ground: Ground, up: Up) -> None:
    """Look through what the API answers."""
    for question in QUESTIONS:
        ground.look(f"api {question}", ask(up.api + question).body)
    listed = ask(f"{up.api}/v1/quarantine").json["items"]
    assert listed
    graph = up.graph(QUESTIONS[1].partition("/v1/graph")[2])
    for edge in graph["edges"][::EVERY]:
        ends = quote(edge["client"], safe=""), quote(edge["server"], safe="")
        path = "/v1/edges/{}/{}/evidence".format(*ends)
        window = "?start=2025-11-26T00:00:00Z&end=2025-11-27T00:00:00Z"
        ground.look(f"api {path}", ask(up.api + path + window).body)


def tables(directory: Path) -> Iterator[tuple[str, bytes]]:
    """Every table of the store, as text and as it is."""
    with duckdb.connect(str(directory / FILE_NAME), read_only=True) as store:
        for (name,) in store.sql("SELECT table_name FROM duckdb_tables()").fetchall():
            rows = store.sql(f'SELECT * FROM "{name}"').fetchall()
            yield name, repr(rows).encode()


def through(ground: Ground, directory: Path, *flags: object) -> None:
    """Everything goes in, and everything that came of it is looked through."""
    data, log = directory / "data", directory / "log"
    where = ("--data", data, *flags, "--log-level", "debug")
    imported(ground, files(directory, ground.planter), *where)
    up = Up(data, *flags, "--log-level", "debug", log=log)
    try:
        sent(ground, up)
        up.wait(lambda: MARKER in str(up.graph(QUESTIONS[1].partition("/v1/graph")[2])))
        answers(ground, up)
    finally:
        up.stop()
    for path in sorted(data.rglob("*")):
        if path.is_file():
            ground.look(f"file {path.relative_to(data)}", path.read_bytes())
    for name, text in tables(data):
        ground.look(f"table {name}", text)
    ground.look("log", log.read_bytes())


def test_every_format_has_its_secrets() -> None:
    assert set(PLANTED) == set(FORMAT_SIGNAL)


def test_secrets_are_found_nowhere_on_one_machine(tmp_path: Path) -> None:
    ground = Ground(Planter())
    through(ground, tmp_path)
    assert len(ground.planter.where) > 1_000
    assert {"file", "table", "api"} <= ground.marked


def test_secrets_are_found_nowhere_on_kafka(tmp_path: Path, kafka: tuple[str, ...]) -> None:
    ground = Ground(Planter())
    names = ("--kafka-topic-prefix", "secrets-", "--kafka-group", "secrets")
    through(ground, tmp_path, "--kafka", ",".join(kafka), *names)
    topics = [f"secrets-{topic}" for topic in (*TOPICS, TELEMETRY_DLQ)]
    for topic, text in asyncio.run(records(kafka, topics)):
        ground.look(f"kafka {topic}", text)
    assert "kafka" in ground.marked


async def records(kafka: tuple[str, ...], topics: list[str]) -> list[tuple[str, bytes]]:
    """All there is on topics: values, keys and headers."""
    consumer = AIOKafkaConsumer(
        *topics, bootstrap_servers=list(kafka), auto_offset_reset="earliest", group_id=None
    )
    await consumer.start()
    try:
        found = []
        while batches := await consumer.getmany(timeout_ms=3_000):
            for partition, batch in batches.items():
                found += [
                    (partition.topic, b"".join((one.key or b"", one.value or b"", told)))
                    for one in batch
                    for told in [repr(one.headers).encode()]
                ]
        return found
    finally:
        await consumer.stop()
