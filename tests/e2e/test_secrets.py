"""Secrets planted in all formats are found nowhere: on no bus, in no store, log or answer."""

import asyncio
import base64
import gzip
import re
import socket
import threading
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import duckdb
import grpc
import orjson
import pyarrow as pa
import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from collectors.receive.apigee_http import APIGEE_HTTP
from collectors.receive.file import import_files
from collectors.receive.firehose import PATH as FIREHOSE_PATH
from collectors.receive.kong_http_log import KONG_HTTP_LOG
from pipeline.bus.kafka import KafkaBus
from pipeline.bus.settings import KafkaSettings
from pipeline.decode.door import MaskedKeys, admit_foreign
from pipeline.decode.privacy.persons import Persons
from pipeline.model.ledger import Ledger
from pipeline.model.topics import (
    EXPOSITION_FORMATS,
    FORMAT_SIGNAL,
    LINE_FORMATS,
    TELEMETRY_DLQ,
    TOPICS,
)
from pipeline.store.attach import FILE_NAME
from tests.api.test_cli import meshweir
from tests.e2e.kafka_topics import records
from tests.e2e.planted import MARKER, PLANTED, PREFIX, Planter
from tests.e2e.process import ask
from tests.e2e.up import Up
from tests.pipeline.decode.lines.wrapping import cri, docker

SECRET = re.compile(rf"{PREFIX}\d+".encode())
OTLP = {"otlp_traces": "/v1/traces", "otlp_metrics": "/v1/metrics", "otlp_logs": "/v1/logs"}
ACCESS_LOGS = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs"
METRICS = "/envoy.service.metrics.v3.MetricsService/StreamMetrics"
SYSLOG = "apigee-syslog"
WEBHOOKS = ("zipkin", "kong-http-log", "apigee-http", "firehose", "remote-write")
"""Receivers over HTTP that are off unless they have an address."""
QUESTIONS = (
    "/v1/graph", "/v1/graph?start=2025-11-26T00:00:00Z&end=2025-11-27T00:00:00Z",
    "/v1/services?start=2025-11-26T00:00:00Z&end=2025-11-27T00:00:00Z", "/v1/ingest",
    "/v1/quarantine", "/v1/recommendations", "/metrics", "/readyz",
    "/v1/traces/74747474747474747474747474747474",
    "/v1/traces/0000000000000000000000000000abc1",
    "/v1/traces/0000000000000000000000000000abc2",
)  # fmt: skip


DOORS = {"otlp_http", "envoy_als", "envoy_metrics", "apigee_syslog", "tail", "scrape"}
"""Sources of which something must have been stored before anything is looked through."""
ENDS = ("client", "server")
EVIDENCE = 12
"""How many of the edges are asked for their evidence; what it is made of is in the tables."""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


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
    for name in (*LINE_FORMATS, *EXPOSITION_FORMATS, "jaeger_json", "zipkin_json"):
        for number, message in enumerate(PLANTED[name](planter)):
            paths.append(directory / f"{name}.{number}")
            paths[-1].write_bytes(message)
    return paths


def imported(ground: Ground, paths: list[Path], data: Path) -> None:
    """Import all files; each must be taken for what it is. What is printed is looked through."""
    ended = meshweir("import", "--data", data, "--log-level", "debug", "--json", *paths)
    assert ended.returncode == 0, ended.stderr
    reports = orjson.loads(ended.stdout)["files"]
    assert [report["format"] for report in reports] == [path.stem for path in paths]
    taken = {report["format"] for report in reports if report["accepted"]}
    assert taken == {path.stem for path in paths}
    ground.look("output of import", ended.stdout + ended.stderr)


def post(ground: Ground, url: str, body: bytes, *, status: int, **headers: str) -> None:
    """Send a body; what is answered is looked through."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, body, named)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            found, told = answer.status, answer.read()
    except urllib.error.HTTPError as refusal:
        with refusal:
            found, told = refusal.code, refusal.read()
    ground.look(f"answer of {url}", told)
    assert found // 100 == status // 100, (url, found, told)


def sent(ground: Ground, up: Up) -> None:
    """Send the messages of the formats that come to receivers, and such as are refused."""
    planted, proto = ground.planter, {"content_type": "application/x-protobuf"}
    for name, path in OTLP.items():
        for message in PLANTED[name](planted):
            post(ground, up.http + path, message, status=200, **proto)
            post(ground, up.http + path, message[:-1], status=400, **proto)
    with grpc.insecure_channel(up.grpc) as channel:
        for name, method in (("envoy_als", ACCESS_LOGS), ("envoy_metrics", METRICS)):
            for message in PLANTED[name](planted):
                channel.stream_unary(method)(iter([message, message[:-1]]))


def webhooks(ground: Ground, ports: dict[str, int]) -> None:
    """Send what gateways and tracers post by themselves."""
    planted, json = ground.planter, {"content_type": "application/json"}
    for name, path, kind in (
        ("zipkin_json", "zipkin", "application/json"),
        ("zipkin_proto", "zipkin", "application/x-protobuf"),
    ):
        for message in PLANTED[name](planted):
            url = f"http://127.0.0.1:{ports[path]}/api/v2/spans"
            post(ground, url, message, status=202, content_type=kind)
            post(ground, url, message[:-1], status=400, content_type=kind)
    url = f"http://127.0.0.1:{ports['remote-write']}/api/v1/write"
    for message in PLANTED["remote_write"](planted):
        packed = pa.Codec("snappy").compress(message, asbytes=True)
        proto = {"content_type": "application/x-protobuf", "content_encoding": "snappy"}
        post(ground, url, packed, status=204, **proto)
        post(ground, url, packed[:-1], status=400, **proto)
    for name, receiver, path in (
        ("kong_json", "kong-http-log", KONG_HTTP_LOG.path),
        ("apigee", "apigee-http", APIGEE_HTTP.path),
    ):
        url = f"http://127.0.0.1:{ports[receiver]}{path}"
        for message in PLANTED[name](planted):
            post(ground, url, message, status=200, **json)
            post(ground, url, message[:-1], status=200, **json)
    url = f"http://127.0.0.1:{ports['firehose']}{FIREHOSE_PATH}"
    for message in PLANTED["aws_apigateway"](planted):
        told = {"messageType": "DATA_MESSAGE", "logGroup": "g", "logStream": "s", "logEvents": [
            {"id": "1", "timestamp": 1, "message": line.decode()} for line in message.splitlines()
        ]}  # fmt: skip
        data = base64.b64encode(gzip.compress(orjson.dumps(told))).decode()
        body = orjson.dumps({"requestId": "r", "timestamp": 1, "records": [{"data": data}]})
        post(ground, url, body, status=200, x_amz_firehose_request_id="r", **json)


def answers(ground: Ground, up: Up) -> None:
    """Look through what the API answers."""
    for question in QUESTIONS:
        ground.look(f"api {question}", ask(up.api + question).body)
    listed = ask(f"{up.api}/v1/quarantine").json["items"]
    assert listed
    edges = up.graph(QUESTIONS[1].partition("/v1/graph")[2])["edges"]
    window = QUESTIONS[1].partition("?")[2]
    paths = [
        "/v1/edges/{}/{}/evidence".format(*(quote(edge[end], safe="") for end in ENDS))
        for edge in edges[:: -(-len(edges) // EVIDENCE)]
    ]
    with ThreadPoolExecutor() as several:
        for path, answer in zip(
            paths, several.map(lambda path: ask(f"{up.api}{path}?{window}"), paths), strict=True
        ):
            ground.look(f"api {path}", answer.body)


def tables(directory: Path) -> Iterator[tuple[str, bytes]]:
    """Every table of the store, as text and as it is."""
    with duckdb.connect(str(directory / FILE_NAME), read_only=True) as store:
        for (name,) in store.sql("SELECT table_name FROM duckdb_tables()").fetchall():
            rows = store.sql(f'SELECT * FROM "{name}"').fetchall()
            yield name, repr(rows).encode()


def through(ground: Ground, data: Path, *flags: object) -> None:
    """Everything goes in, and everything that came of it is looked through."""
    log = data.with_suffix(".log")
    ports = {name: free_port() for name in (*WEBHOOKS, SYSLOG)}
    listen = [one for name in ports for one in (f"--{name}-address", f"127.0.0.1:{ports[name]}")]
    with exposed(ground.planter) as targets:
        up = Up(
            *(data, *flags, *listen, "--envoy-metrics-enabled", "true", "--log-level", "debug"),
            *("--scrape-targets", ",".join(targets), "--scrape-interval-seconds", "1"),
            *("--tail", ",".join(tailed(data.parent / "logs", ground.planter))),
            log=log,
        )
        try:
            sent(ground, up)
            webhooks(ground, ports)
            syslog(ground, ports[SYSLOG])
            assert up.wait(lambda: stored(up) >= DOORS), stored(up)
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


def stored(up: Up) -> set[str]:
    """The sources that have rows in the store and wait for no others."""
    flows = ask(f"{up.api}/v1/ingest").json["items"]
    settled = {one["source"]: one["stored"] > 0 for one in flows}
    waiting = {
        one["source"] for one in flows if one["accepted"] > one["stored"] + one["quarantined"]
    }
    return {source for source, some in settled.items() if some} - (waiting - {"scrape"})


def syslog(ground: Ground, port: int) -> None:
    """Send syslog messages, with secrets before them, and such as cannot be read."""
    secret = ground.planter.secret
    header = f'<14>1 2025-11-26T16:00:00Z mp apigee 1 ML [x token="{secret("syslog header")}"] '
    with socket.create_connection(("127.0.0.1", port)) as sender:
        for message in PLANTED["apigee"](ground.planter):
            for line in message.splitlines():
                frame = header.encode() + line
                sender.sendall(b"%d %b" % (len(frame), frame))
                sender.sendall(frame[:-1] + b"\n")
        sender.sendall(f"password={secret('no syslog at all')}\n".encode())


def tailed(directory: Path, planter: Planter) -> list[str]:
    """Files that are followed, as their programs or container runtimes keep them."""
    pod = "cart-6d5f8c7b9-x2x7q"
    of_pod = directory / f"pods/shop_{pod}_{uuid.uuid4()}/istio-proxy/0.log"
    of_container = directory / f"containers/{pod}_shop_app-{'0a' * 32}.log"
    written = {
        ("envoy_text", of_pod): b"".join(parted(cri, planter, "envoy_text")),
        ("envoy_json", of_container): b"".join(parted(docker, planter, "envoy_json")),
        ("combined", directory / "access.log"): b"\n".join(PLANTED["combined"](planter)) + b"\n",
        ("otlp", directory / "otlp.jsonl"): b"".join(
            orjson.dumps(
                json_format.MessageToDict(ExportLogsServiceRequest.FromString(message)),
                option=orjson.OPT_APPEND_NEWLINE,
            )
            for message in PLANTED["otlp_logs"](planter)
        ),
    }
    for (_, path), text in written.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
    return [f"{name}:{path}" for name, path in written]


def parted(wrap: Callable[..., list[bytes]], planter: Planter, format_name: str) -> Iterator[bytes]:
    """Lines as a runtime keeps them, every secret cut in two, and one line whose end never came."""
    for message in PLANTED[format_name](planter):
        for line in message.splitlines():
            cuts = [found.start() + len(PREFIX) // 2 for found in SECRET.finditer(line)]
            ends = zip([0, *cuts], [*cuts, len(line)], strict=True)
            yield from wrap(*(line[begin:end] for begin, end in ends))
    yield wrap(f"password={planter.secret('a part')}".encode(), b"never came")[0]


@contextmanager
def exposed(planter: Planter) -> Iterator[list[str]]:
    """The URLs of expositions: a good one, and one that cannot be read."""
    (good,) = PLANTED["openmetrics_text"](planter)
    good = good[good.index(b"\n") + 1 :]  # who was scraped the scraper says
    bodies = {"/good": good, "/bad": b'a{token="%b' % planter.secret("a bad exposition").encode()}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "application/openmetrics-text; version=1.0.0")
            self.end_headers()
            self.wfile.write(bodies[self.path])

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield [f"http://127.0.0.1:{server.server_port}{path}" for path in bodies]
        finally:
            server.shutdown()
            serving.join()


def test_every_format_has_its_secrets() -> None:
    assert set(FORMAT_SIGNAL) <= set(PLANTED)


@pytest.mark.parametrize("name", FORMAT_SIGNAL)
def test_no_secret_passes_the_door(name: str) -> None:
    ground = Ground(Planter())
    for message in PLANTED[name](ground.planter):
        assert PREFIX.encode() in message
        ground.look("message", admit_foreign(name, message, MaskedKeys(persons=Persons(b"k" * 16))))
    assert ground.marked


@pytest.mark.e2e
def test_secrets_are_found_nowhere_on_one_machine(tmp_path: Path) -> None:
    ground = Ground(Planter())
    imported(ground, files(tmp_path, ground.planter), tmp_path / "data")
    through(ground, tmp_path / "data")
    assert len(ground.planter.where) > 1_000
    assert {"file", "table", "api"} <= ground.marked


@pytest.mark.e2e
def test_secrets_are_found_nowhere_on_kafka(tmp_path: Path, kafka: tuple[str, ...]) -> None:
    ground = Ground(Planter())
    settings = KafkaSettings(
        bootstrap_servers=kafka, topic_prefix=f"secrets-{uuid.uuid4().hex}-", group="secrets"
    )
    asyncio.run(put_on(settings, files(tmp_path, ground.planter)))
    through(
        ground, tmp_path / "data", "--kafka", ",".join(kafka),
        "--kafka-topic-prefix", settings.topic_prefix, "--kafka-group", settings.group,
    )  # fmt: skip
    topics = [f"{settings.topic_prefix}{topic}" for topic in (*TOPICS, TELEMETRY_DLQ)]
    for one in asyncio.run(records(kafka, topics)):
        told = (one.key or b"", one.value or b"", repr(one.headers).encode())
        ground.look(f"kafka {one.topic}", b"".join(told))
    assert "kafka" in ground.marked


async def put_on(settings: KafkaSettings, paths: list[Path]) -> None:
    """Import files onto Kafka, which the command does not."""
    bus = KafkaBus(settings)
    await bus.start()
    try:
        reports = await import_files(paths, format="auto", bus=bus, ledger=Ledger())
    finally:
        await bus.stop()
    assert [report.error for report in reports] == [None] * len(paths)
