"""A command of Meshweir as a process of its own, to be used from outside, stopped and killed."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PATIENCE = 120
"""Seconds; the machine may be busy."""

LISTENER = re.compile(r"(API|OTLP/gRPC|OTLP/HTTP)\s+(\S+)")
NAMES = {"API": "api", "OTLP/gRPC": "grpc", "OTLP/HTTP": "http"}
FREE = "127.0.0.1:0"


class Answer(NamedTuple):
    """What was answered over HTTP."""

    status: int
    headers: Message
    body: bytes

    @property
    def json(self):
        """The body, read."""
        return json.loads(self.body)


def ask(url: str, body: bytes | None = None) -> Answer:
    """GET, or POST OTLP protobuf when there is a body; errors are answers too."""
    headers = {} if body is None else {"content-type": "application/x-protobuf"}
    request = urllib.request.Request(url, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return Answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as refusal:
        with refusal:
            return Answer(refusal.code, refusal.headers, refusal.read())


def wait(condition, seconds: float = PATIENCE):
    """Ask until the condition gives something true; the last answer."""
    end = time.monotonic() + seconds
    while not (answer := condition()) and time.monotonic() < end:
        time.sleep(0.1)
    return answer


class Process:
    """A running command; ``api``, ``http`` and ``grpc`` are the addresses it printed.

    Args:
        command: the command and its flags.
        listeners: how many lines of listeners it prints; waits for them.
        log: file that gets its stderr; None leaves it to the tests'.
    """

    def __init__(self, *command: object, listeners: int, log: Path | None = None) -> None:
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith("MESHWEIR_")
        }
        self.log = log
        errors = None if log is None else log.open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "api", *map(str, command)],
            env=clean | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        if errors is not None:
            errors.close()
        found: dict[str, str] = {}
        while len(found) < listeners:
            line = self.process.stdout.readline()
            if not line:
                raise AssertionError(f"{command} ended with {self.process.wait()}: {self.said()}")
            if told := LISTENER.search(line):
                found[NAMES[told[1]]] = told[2]
        self.api = found["api"]
        self.http, self.grpc = found.get("http"), found.get("grpc")

    def said(self) -> str:
        """Its stderr."""
        return "" if self.log is None else self.log.read_text()

    def ready(self) -> Answer:
        """The answer of ``/readyz``."""
        return ask(f"{self.api}/readyz")

    def post(self, body: bytes, path: str = "/v1/traces") -> int:
        """Send one OTLP request; the HTTP status."""
        return ask(self.http + path, body).status

    def graph(self, query: str = "") -> dict:
        """The body of ``GET /v1/graph``."""
        answer = ask(f"{self.api}/v1/graph{query}")
        assert answer.status == 200, answer
        return answer.json

    def edges(self, query: str = "") -> dict[tuple[str, str], int]:
        """Requests per edge."""
        return {
            (edge["client"], edge["server"]): edge["requests"]
            for edge in self.graph(query)["edges"]
        }

    def wait(self, condition, seconds: float = 60.0):
        """Ask until the condition gives something true; the last answer."""
        return wait(condition, seconds)

    def kill(self) -> None:
        """As a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """As Ctrl-C would; the exit code."""
        self.process.send_signal(number)
        try:
            return self.process.wait(timeout=PATIENCE)
        finally:
            self.process.kill()
            self.process.stdout.close()
