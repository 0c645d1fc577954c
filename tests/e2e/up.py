"""``meshweir up`` as a process of its own, to be used from outside and killed."""

import json
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

LISTENER = re.compile(r"(API|OTLP/gRPC|OTLP/HTTP)\s+(\S+)")


class Up:
    """A running ``meshweir up`` on free ports; ``api``, ``http`` and ``grpc`` are its addresses."""

    def __init__(self, data: Path) -> None:
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "api", "up", "--data", str(data),
                "--api-address", "127.0.0.1:0", "--otlp-http-address", "127.0.0.1:0",
                "--otlp-grpc-address", "127.0.0.1:0",
            ],
            stdout=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        found: dict[str, str] = {}
        while len(found) < 3:
            line = self.process.stdout.readline()
            if not line:
                raise AssertionError(f"meshweir up ended with {self.process.wait()}")
            if told := LISTENER.search(line):
                found[told[1]] = told[2]
        self.api, self.http, self.grpc = found["API"], found["OTLP/HTTP"], found["OTLP/gRPC"]

    def post(self, body: bytes, path: str = "/v1/traces") -> int:
        """Send one OTLP request; the HTTP status."""
        request = urllib.request.Request(
            self.http + path, body, {"content-type": "application/x-protobuf"}
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                answer.read()
                return answer.status
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    def graph(self, query: str = "") -> dict:
        """The body of ``GET /v1/graph``."""
        with urllib.request.urlopen(f"{self.api}/v1/graph{query}", timeout=30) as answer:
            return json.load(answer)

    def edges(self, query: str = "") -> dict[tuple[str, str], int]:
        """Requests per edge."""
        return {
            (edge["client"], edge["server"]): edge["requests"]
            for edge in self.graph(query)["edges"]
        }

    def wait(self, condition, seconds: float = 60.0):
        """Ask until the condition gives something true; the last answer."""
        end = time.monotonic() + seconds
        while not (answer := condition()) and time.monotonic() < end:
            time.sleep(0.1)
        return answer

    def kill(self) -> None:
        """As a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()

    def stop(self) -> int:
        """As Ctrl-C would; the exit code."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(timeout=60)
        self.process.stdout.close()
        return code
