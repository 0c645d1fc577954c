"""Meshweir's processes, each to be killed, stopped and started again at any moment."""

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from api.demo.envoy import Address
from api.demo.network import free_address

_TETHER = Path(__file__).parents[2] / "api" / "demo" / "tether.py"


@dataclass
class Member:
    """One process of the fleet; it comes back on the same addresses.

    Attributes:
        name: what it is called in reports and in the name of its log.
        arguments: the words after ``meshweir``.
        log: where its log lines go.
    """

    name: str
    arguments: Sequence[str]
    log: Path
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Start it; it ends with this process, whatever ends that."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable, "-I", "-S", str(_TETHER), str(os.getpid()),
                    sys.executable, "-m", "api", *self.arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )  # fmt: skip

    def kill(self) -> None:
        """As a power cut would."""
        self._signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def pause(self) -> None:
        """As a long pause of the machine would."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def stop(self) -> int:
        """As an operator would; its exit code."""
        self._signal(signal.SIGTERM)
        return 0 if self.process is None else self.process.wait(timeout=60)

    @property
    def ended(self) -> int | None:
        """The exit code of a process that ended by itself."""
        return None if self.process is None else self.process.poll()

    def last_words(self, lines: int = 15) -> str:
        """The end of its log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def _signal(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)


@dataclass
class Fleet:
    """A collector and workers on one broker and one store.

    Attributes:
        collector: takes OTLP at ``otlp``.
        workers: write to the store.
        otlp: URL that takes OTLP over HTTP.
        data: the store's directory.
    """

    collector: Member
    workers: list[Member]
    otlp: str
    data: Path

    @classmethod
    def on(cls, bootstrap: str, directory: Path, *, workers: int, catalog: str = "") -> "Fleet":
        """A fleet that keeps its store and its logs in a directory; not started yet.

        Args:
            bootstrap: the broker.
            directory: where everything lies.
            workers: how many share the partitions.
            catalog: of the lake they share; empty for SQLite in the data directory.
        """
        data = directory / "data"
        otlp = str(free_address(Address(0)))
        common = ["--kafka", bootstrap]
        store = ["--data", str(data), "--store-catalog", catalog]
        collector = Member(
            "collector",
            [
                "collect", *common, "--api-address", str(free_address(Address(0))),
                "--otlp-http-address", otlp, "--otlp-grpc-address", "127.0.0.1:0",
            ],
            directory / "collector.log",
        )  # fmt: skip
        return cls(
            collector,
            [
                Member(
                    f"worker-{number}",
                    ["process", *common, *store, "--api-address", "127.0.0.1:0"],
                    directory / f"worker-{number}.log",
                )
                for number in range(1, workers + 1)
            ],
            f"http://{otlp}",
            data,
        )

    @property
    def members(self) -> list[Member]:
        """Collector and workers."""
        return [self.collector, *self.workers]

    def start(self) -> None:
        """Start all."""
        for member in self.members:
            member.start()

    def stop(self) -> None:
        """Stop all, in order."""
        for member in self.members:
            member.resume()
            member.stop()

    def post(self, body: bytes) -> int:
        """Send spans to the collector; the HTTP status, 0 when there was no answer."""
        request = urllib.request.Request(
            f"{self.otlp}/v1/traces", body, {"content-type": "application/x-protobuf"}
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                answer.read()
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except OSError:
            return 0
