"""The services of docker-compose.yml that run Meshweir, run: their commands, their environment.

Only places are exchanged: names of other containers for addresses on loopback, volumes and files of
secrets for files of the test. Kafka and PostgreSQL are real.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from api.demo.broker import Broker, BrokerMissing
from api.demo.envoy import Address
from api.demo.network import free_address
from tests.collectors.payloads import traces
from tests.deploy.compose import COMPOSE, OURS, ROOT
from tests.e2e.process import wait

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

SPANS = 30
TRACES = [f"01{number:030x}" for number in range(SPANS)]
"""Those of ``payloads.traces``, a span each."""

RUN_BY_DEFAULT = [name for name, service in OURS.items() if "profiles" not in service]
SECRETS = {name: f"secret-of-{name}" for name in [*COMPOSE["secrets"], "senders"]}


class Here:
    """Where everything of the containers is in this test."""

    def __init__(self, directory: Path, kafka: str, catalog: str) -> None:
        self._directory = directory
        self._kafka = kafka
        self._catalog = catalog
        self._ports: dict[tuple[str, str], str] = {}
        (directory / "secrets").mkdir()
        for name in COMPOSE["secrets"]:
            (directory / "secrets" / name).write_text(SECRETS[name])

    def environment(self, service: str) -> dict[str, str]:
        """The environment of a service."""
        told: Mapping[str, str] = OURS[service]["environment"]
        return {name: self._here(service, str(value)) for name, value in told.items()}

    def address(self, service: str, port: int) -> str:
        """Where a service listens that has this port in its container."""
        return self._ports.setdefault((service, str(port)), str(free_address(Address(0))))

    def _here(self, service: str, value: str) -> str:
        if value.startswith("${MESHWEIR_INTAKE_TOKEN:?"):
            return SECRETS["senders"]
        if value.startswith("postgres:host=catalog "):
            return self._catalog
        if listener := re.fullmatch(r"0\.0\.0\.0:(\d+)", value):
            return self.address(service, int(listener[1]))
        value = value.replace("kafka:9092", self._kafka)
        value = value.replace("/run/secrets", str(self._directory / "secrets"))
        return value.replace("/var/lib/meshweir", str(self._directory / "data"))


@pytest.fixture(scope="module")
def here(postgres_server, tmp_path_factory) -> Iterator[Here]:
    """Kafka, PostgreSQL, and all of our services around them."""
    directory = tmp_path_factory.mktemp("compose")
    broker = Broker(directory / "kafka")
    try:
        broker.start()
    except BrokerMissing as missing:
        pytest.skip(str(missing))
    place = Here(directory, broker.bootstrap, postgres_server.database())
    with contextlib.ExitStack() as stack:
        stack.callback(broker.stop)
        for name in RUN_BY_DEFAULT:
            stack.enter_context(running(place, name, directory / f"{name}.log"))
        yield place


@contextlib.contextmanager
def running(place: Here, name: str, log: Path) -> Iterator[None]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("MESHWEIR_")}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "api", *OURS[name]["command"]],
            env=clean | place.environment(name),
            cwd=ROOT,
            stdout=output,
            stderr=output,
        )
    try:
        healthy = wait(lambda: process.poll() is not None or health(place, name) == 0, 120)
        assert healthy, log.read_text()
        assert process.poll() is None, log.read_text()
        yield
    finally:
        process.terminate()
        assert process.wait(60) == 0, log.read_text()


def health(place: Here, name: str) -> int:
    """What the image's health check says of a service."""
    url = f"http://{place.address(name, 8080)}/readyz"
    check = [sys.executable, "-I", ROOT / "deploy" / "healthcheck.py", url]
    return subprocess.run(check, capture_output=True, timeout=30, check=False).returncode


def ask(url: str, token: str, body: bytes | None = None) -> tuple[int, bytes]:
    """Status and body of what is answered to a bearer of a token."""
    headers = {"authorization": f"Bearer {token}", "content-type": "application/x-protobuf"}
    request = urllib.request.Request(url, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read()


def test_what_the_collector_takes_the_api_shows(here):
    taken = f"http://{here.address('collector', 4318)}/v1/traces"
    status, _ = ask(taken, SECRETS["senders"], traces(SPANS).SerializeToString())
    assert status == 200
    shown = f"http://{here.address('api', 8080)}/v1/traces"

    def spans(trace: str) -> int:
        status, body = ask(f"{shown}/{trace}", SECRETS["api_token"])
        assert status in {200, 404}
        return len(json.loads(body)["items"]) if status == 200 else 0

    assert wait(lambda: spans(TRACES[-1]), 60)
    assert [spans(trace) for trace in TRACES] == [1] * SPANS


@pytest.mark.parametrize("name", RUN_BY_DEFAULT)
def test_nobody_reads_metrics_without_the_token(here, name):
    url = f"http://{here.address(name, 8080)}/metrics"
    status, body = ask(url, SECRETS["api_token"])
    assert (status, b"\nmeshweir_ready 1\n" in body) == (200, True)
    assert ask(url, "guessed")[0] == 401


def test_nobody_sends_without_the_token(here):
    url = f"http://{here.address('collector', 4318)}/v1/traces"
    assert ask(url, "guessed", traces(1).SerializeToString())[0] == 401
