"""``collect``, ``process`` and ``serve`` on a real broker: before it, killed, started again.

One broker and one data directory for all of them; the tests build on each other, in this order.
"""

import itertools
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from api.demo.broker import Broker, BrokerMissing, installed_jars
from pipeline.store import Backend, open_store
from tests.api.test_up import free_port
from tests.e2e.process import FREE, PATIENCE, ROOT, Process, ask, wait

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

HEALTH = {"/livez", "/readyz", "/metrics", "/v1/ingest"}
CALLS = {("clients", "cart")}

_number = itertools.count(1)


def calls(number: int) -> bytes:
    """An OTLP request with so many calls of one service, each a trace of its own."""
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    name = resource.resource.attributes.add()
    name.key, name.value.string_value = "service.name", "cart"
    spans = resource.scope_spans.add().spans
    for _ in range(number):
        trace, now = next(_number), time.time_ns()
        spans.add(
            trace_id=trace.to_bytes(16, "big"),
            span_id=trace.to_bytes(8, "big"),
            name="GET /",
            kind=Span.SPAN_KIND_SERVER,
            start_time_unix_nano=now,
            end_time_unix_nano=now + 5_000_000,
        )
    return request.SerializeToString()


def answers(url: str) -> bool:
    """Whether anybody does."""
    try:
        return ask(f"{url}/livez").status == 200
    except OSError:
        return False


class Installation:
    """A broker that may not run yet, and three processes around it; counts what was accepted."""

    def __init__(self, directory: Path) -> None:
        self.broker = Broker(directory / "kafka")
        self.data = directory / "data"
        self.directory = directory
        self.running: dict[str, Process] = {}
        self.accepted = 0

    def start(self, command: str, *arguments: object, name: str = "") -> Process:
        """Start one of the processes, on ports of its choice."""
        flags = {
            "collect": (*self._kafka, "--otlp-grpc-address", FREE, "--otlp-http-address", FREE),
            "process": (*self._kafka, "--data", self.data),
            "serve": (*self._kafka, "--data", self.data),
        }[command]
        name = name or command
        process = Process(
            *(command, *flags, "--api-address", FREE, *arguments),
            listeners=3 if command == "collect" else 1,
            log=self.directory / f"{name}.log",
        )
        self.running[name] = process
        return process

    @property
    def _kafka(self) -> tuple[str, str]:
        return ("--kafka", self.broker.bootstrap)

    def __getitem__(self, name: str) -> Process:
        return self.running[name]

    def all_ready(self) -> bool:
        """Whether each says so; waits for it."""
        return bool(wait(lambda: all(one.ready().status == 200 for one in self.running.values())))

    def post(self, number: int = 5) -> None:
        """Send calls, which must be taken."""
        assert self["collect"].post(calls(number)) == 200
        self.accepted += number

    def shows_all(self) -> bool:
        """Whether the graph comes to show exactly what was accepted; stays there for a moment."""
        wanted = dict.fromkeys(CALLS, self.accepted)
        if not wait(lambda: self["serve"].edges() == wanted):
            return False
        time.sleep(1.0)
        return self["serve"].edges() == wanted

    def found(self) -> str:
        """What was accepted, what is shown, and what the processes said; for a failure."""
        told = [f"accepted {self.accepted}, shown {self['serve'].edges()}"]
        for name, process in self.running.items():
            told.append(f"{name}, exit code {process.process.poll()}: {process.said()[-4000:]}")
        return "\n".join(told)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory):
    try:
        installed_jars()
        made = Installation(tmp_path_factory.mktemp("processes"))
        yield made
    except BrokerMissing as missing:
        pytest.skip(str(missing))
    for process in made.running.values():
        if process.process.poll() is None:
            process.kill()
    made.broker.stop()


def test_they_start_before_kafka_and_say_what_they_wait_for(mesh):
    for command in ("collect", "process", "serve"):
        process = mesh.start(command)
        assert ask(f"{process.api}/livez").status == 200
    for command in ("collect", "process"):
        unready = mesh[command].ready()
        assert unready.status == 503
        assert "Kafka" in unready.json["detail"]
        assert wait(lambda name=command: "waiting for Kafka" in mesh[name].said())
    refused = ask(f"{mesh['collect'].http}/v1/traces", calls(1))
    assert refused.status == 503
    assert int(refused.headers["retry-after"]) >= 1
    assert mesh["serve"].graph()["edges"] == []


def test_they_go_on_by_themselves_once_kafka_is_there(mesh):
    mesh.broker.start()
    assert mesh.all_ready(), [one.ready() for one in mesh.running.values()]
    mesh.post()
    assert mesh.shows_all(), mesh.found()


@pytest.mark.parametrize("command", ["collect", "process"])
def test_a_process_that_answers_no_questions_tells_of_itself_only(mesh, command):
    api = mesh[command].api
    assert set(ask(f"{api}/openapi.json").json["paths"]) == {*HEALTH, "/v1/scrape/targets"}
    assert ask(f"{api}/v1/graph").status == 404


def test_each_answers_for_its_own_ledger(mesh):
    (taken,) = ask(f"{mesh['collect'].api}/v1/ingest").json["items"]
    assert (taken["received"], taken["accepted"], taken["stored"]) == (6, 5, 0)
    assert taken["reasons"] == {"rejected": {"bus unavailable": 1}}
    assert taken["lag_seconds"] is None
    (stored,) = ask(f"{mesh['process'].api}/v1/ingest").json["items"]
    assert (stored["received"], stored["accepted"], stored["stored"]) == (0, 0, 5)
    assert stored["lag_seconds"] == 0
    assert ask(f"{mesh['serve'].api}/v1/ingest").json["items"] == []


def test_the_api_alone_tells_what_waits_on_kafka(mesh):
    mesh["process"].kill()
    mesh.post()
    lag = 'meshweir_bus_lag_messages{topic="otlp_spans",partition="'

    def waiting() -> int:
        lines = ask(f"{mesh['serve'].api}/metrics").body.decode().splitlines()
        return sum(int(float(line.split()[-1])) for line in lines if line.startswith(lag))

    assert wait(lambda: waiting() == 1)
    mesh.start("process")
    assert mesh.shows_all(), mesh.found()
    assert wait(lambda: waiting() == 0)


@pytest.mark.parametrize("command", ["collect", "process", "serve"])
def test_each_is_killed_and_started_again_and_nothing_is_lost_or_doubled(mesh, command):
    mesh.post()
    mesh[command].kill()
    if command != "collect":
        mesh.post()
    mesh.start(command)
    mesh.post()
    assert mesh.shows_all(), mesh.found()


def test_the_command_line_reads_the_directory_while_they_run(mesh):
    ended = subprocess.run(
        [sys.executable, "-m", "api", "graph", "--data", mesh.data, "--format", "json"],
        cwd=ROOT, capture_output=True, check=False, timeout=PATIENCE,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert f'"requests":{mesh.accepted},'.encode() in ended.stdout


def test_a_directory_that_kafka_feeds_takes_no_other_bus(mesh):
    for command in (["up", "--api-address", FREE], ["import", str(ROOT / "README.md")]):
        ended = subprocess.run(
            [sys.executable, "-m", "api", *command, "--data", mesh.data],
            cwd=ROOT, capture_output=True, check=False, timeout=PATIENCE,
        )  # fmt: skip
        assert ended.returncode == 1
        assert b"fed by the bus kafka" in ended.stderr


def test_while_kafka_is_away_telemetry_is_refused_and_taken_again_later(mesh):
    mesh.broker.kill()
    refused = ask(f"{mesh['collect'].http}/v1/traces", calls(1))
    assert refused.status == 503
    assert int(refused.headers["retry-after"]) >= 1
    for command in ("collect", "process"):
        assert wait(lambda name=command: mesh[name].ready().status == 503)
        assert "Kafka" in mesh[command].ready().json["detail"]
        assert ask(f"{mesh[command].api}/livez").status == 200
    mesh.broker.start()
    assert mesh.all_ready()
    mesh.post()
    assert mesh.shows_all(), mesh.found()


@pytest.mark.parametrize(
    ("command", "number", "code"),
    [
        ("collect", signal.SIGTERM, 0),
        ("process", signal.SIGINT, 130),
        ("process", signal.SIGTERM, 0),
        ("serve", signal.SIGTERM, 0),
        ("serve", signal.SIGINT, 130),
        ("collect", signal.SIGINT, 130),
    ],
)
def test_each_stops_when_told(mesh, command, number, code):
    if mesh[command].process.poll() is not None:
        mesh.start(command)
        assert mesh[command].ready().status in {200, 503}
    assert mesh[command].stop(number) == code
    assert "Traceback" not in mesh[command].said()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_all_stop_when_told_while_they_wait_for_kafka(mesh, number, code):
    mesh.broker.stop()
    for command in ("collect", "process", "serve"):
        mesh.start(command)
    for process in mesh.running.values():
        assert process.stop(number) == code
        assert "Traceback" not in process.said()


def test_the_api_waits_for_a_store_that_nobody_has_made_yet(mesh):
    data = mesh.directory / "later"
    data.mkdir()
    port = free_port()
    api = f"http://127.0.0.1:{port}"
    serve = subprocess.Popen(
        [sys.executable, "-m", "api", "serve", "--data", data, "--api-address", api[7:]],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert wait(lambda: answers(api))
        assert ask(f"{api}/livez").status == 200
        assert wait(lambda: b"the store does not answer" in ask(f"{api}/readyz").body)
        assert ask(f"{api}/readyz").status == 503
        refused = ask(f"{api}/v1/graph")
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        open_store(data, prefer=Backend.DUCKLAKE).close()
        assert serve.stdout.readline() == f"API {api}\n"
        assert ask(f"{api}/v1/graph").status == 200
    finally:
        serve.send_signal(signal.SIGTERM)
        assert serve.wait(PATIENCE) == 0
        assert "waiting for the store" in serve.stderr.read()
        serve.stdout.close()
        serve.stderr.close()


def test_everything_in_one_process_may_have_kafka_as_its_bus(mesh):
    mesh.broker.start()
    data = mesh.directory / "alone"
    up = Process(
        *("up", "--kafka", mesh.broker.bootstrap, "--data", data, "--api-address", FREE),
        *("--otlp-http-address", FREE, "--otlp-grpc-address", FREE),
        *("--kafka-topic-prefix", "alone-", "--kafka-group", "alone"),
        listeners=3,
        log=mesh.directory / "up.log",
    )
    assert wait(lambda: up.ready().status == 200)
    assert up.post(calls(7)) == 200
    assert wait(lambda: up.edges() == dict.fromkeys(CALLS, 7))
    assert (data / "store.duckdb").exists()
    assert up.stop() == 130, up.said()
