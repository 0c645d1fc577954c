"""A real Apache Kafka broker on loopback, for demos, tests and benchmarks: one node, KRaft.

It runs from the jars of Maven Central on this machine's Java (17 or newer). They are fetched once
and kept beside the repository, or in the user's cache where Meshweir is installed. Not for
production: one node, small heap, replication factor 1.
"""

import fcntl
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

from api.demo.broker_properties import (
    CONTROLLER,
    KEYSTORE,
    SCRAM_MECHANISMS,
    Security,
    server_properties,
)
from pipeline.errors import Permanent

VERSION: Final = "4.4.0"
"""The version of Apache Kafka that is run."""

HOST: Final = "127.0.0.1"

START_SECONDS: Final = 180.0
"""How long a broker may take until it answers; 6 s on an idle machine, and a busy one is slow."""

STOP_SECONDS: Final = 30.0
"""How long it may take to end by itself before it is killed."""

_RUN_SECONDS: Final = 600.0
_PORTS: Final = range(20_000, 32_000)
"""Below the ports of outgoing connections, so that nothing takes one while the broker is down."""

_JARS: Final = {
    "org.apache.kafka:kafka_2.13": VERSION,
    "org.apache.logging.log4j:log4j-slf4j-impl": "2.24.3",
}
_LOGGING: Final = """\
rootLogger.level=WARN
rootLogger.appenderRef.out.ref=OUT
appender.out.type=Console
appender.out.name=OUT
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d %p %m (%c{1})%n
"""
_TETHER: Final = Path(__file__).with_name("tether.py")


class BrokerFailed(Permanent):
    """A broker did not start; the message holds the end of its log."""


class BrokerMissing(BrokerFailed):
    """Kafka cannot be had on this machine; the message says what to install."""


class Broker:
    """One broker whose data lies in a directory, over any number of starts.

    It ends with the thread that started it, whatever ends that: start it from one that lives as
    long as the broker shall.

    Args:
        directory: for data, configuration and log; made when missing.
        security: TLS and SASL listeners, for the first start in a directory.
        properties: more lines of ``server.properties``; they go before ours.
        heap: size of the Java heap.

    Attributes:
        directory: as given; the messages lie in ``data``, a folder for each partition.
    """

    def __init__(
        self,
        directory: Path,
        *,
        security: Security | None = None,
        properties: Mapping[str, str] | None = None,
        heap: str = "384m",
    ) -> None:
        self.directory = directory
        self._security = security or Security()
        self._more = dict(properties or {})
        self._heap = heap
        self._ports = _free_ports((*self._security.listeners, CONTROLLER))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """``host:port`` of the plain listener."""
        return self.address("PLAINTEXT")

    @property
    def pid(self) -> int | None:
        """Process id while it runs, paused or not."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def log(self) -> Path:
        """The file to which it writes warnings and errors."""
        return self.directory / "broker.log"

    def address(self, listener: str) -> str:
        """``host:port`` of a listener: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL."""
        return f"{HOST}:{self._ports[listener]}"

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.stop()

    def start(self) -> None:
        """Install where needed, start, and return when it answers. Idempotent.

        Raises:
            BrokerMissing: no Java, no Maven, or no jars.
            BrokerFailed: it ended or did not answer in time.
        """
        if self.pid is not None:
            return
        java, jars = _java(), installed_jars()
        self._configure(java, jars)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the command is our own
                [
                    *(sys.executable, "-I", "-S", str(_TETHER), str(os.getpid())),
                    *(java, f"-Xms{self._heap}", f"-Xmx{self._heap}", "-XX:+UseSerialGC"),
                    f"-Dlog4j2.configurationFile={self.directory / 'log4j2.properties'}",
                    *("-cp", f"{jars}/*", "kafka.Kafka", str(self._properties_file)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches the parent alone
            )
        self._wait_until_it_answers()

    def stop(self) -> None:
        """Let it end in order; kill it when it will not. Idempotent."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would (SIGKILL); ``start`` brings it back with its data."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop it in order and start it again."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Stop it in its tracks (SIGSTOP): connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after ``pause``."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._signal(how)
        self._signal(signal.SIGCONT)  # a paused process ends only once it goes on
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None  # noqa: S101 - start() has just set it
        give_up = time.monotonic() + START_SECONDS
        while not _answers(self._ports["PLAINTEXT"]):
            ended = self._process.poll() is not None
            if ended or time.monotonic() > give_up:
                self.kill()
                said = _last_words(self.log.read_text(errors="replace"))
                what = "ended" if ended else f"did not answer within {START_SECONDS:.0f} s"
                raise BrokerFailed(f"Kafka {what}; {self.log} says: {said}")
            time.sleep(0.1)

    @property
    def _properties_file(self) -> Path:
        return self.directory / "server.properties"

    def _configure(self, java: str, jars: Path) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.directory / "log4j2.properties").write_text(_LOGGING)
        identity = self._security.identity
        if identity is not None:
            _write_secret(
                self.directory / KEYSTORE,
                identity.key.read_bytes() + identity.certificate.read_bytes(),
            )
        addresses = {name: self.address(name) for name in self._ports}
        properties = server_properties(self._security, self.directory, addresses) | self._more
        lines = (f"{key}={value}\n" for key, value in properties.items())
        _write_secret(self._properties_file, "".join(lines).encode())
        if not (self.directory / "data" / "meta.properties").exists():
            self._format(java, jars)

    def _format(self, java: str, jars: Path) -> None:
        """Make an empty data directory, with the users that log in by SCRAM."""
        tool = [java, "-Xmx128m", "-cp", f"{jars}/*", "kafka.tools.StorageTool"]
        users = [
            f"--add-scram={mechanism}=[name={name},password={password}]"
            for name, password in self._security.users.items()
            for mechanism in SCRAM_MECHANISMS
        ]
        cluster = _run([*tool, "random-uuid"]).split()[-1]
        _run([*tool, "format", "-t", cluster, "-c", str(self._properties_file), *users])


def _write_secret(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read."""
    path.touch(mode=0o600)
    path.write_bytes(content)


def installed_jars() -> Path:
    """The folder with Kafka's jars; fetched by Maven the first time, by one process at a time.

    Raises:
        BrokerMissing: there is no Maven, or it cannot fetch them.
    """
    folder = _tools() / "kafka" / VERSION
    if folder.exists():
        return folder
    maven = shutil.which("mvn")
    if maven is None:
        raise BrokerMissing("Kafka's jars are fetched by Maven: install it (Debian: maven)")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder.parent / f"{VERSION}.lock"):
        if not folder.exists():
            _fetch(maven, folder)
    return folder


def _fetch(maven: str, folder: Path) -> None:
    """Copy the jars to a folder, which appears under its name when it is complete."""
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    pom = partial / "pom.xml"
    pom.write_text(_pom())
    output = f"-DoutputDirectory={partial}"
    try:
        _run([maven, "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", output])
    except BrokerFailed as error:
        raise BrokerMissing(f"Maven could not fetch Kafka {VERSION}: {error}") from error
    partial.rename(folder)


def _pom() -> str:
    dependencies = "".join(
        "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version>"
        "</dependency>".format(*name.split(":"), version)
        for name, version in _JARS.items()
    )
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        "<groupId>local</groupId><artifactId>kafka-broker</artifactId><version>1</version>"
        f"<packaging>pom</packaging><dependencies>{dependencies}</dependencies></project>"
    )


def _tools() -> Path:
    repository = Path(__file__).parents[2]
    if (repository / "pyproject.toml").exists():
        return repository / ".tools"
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "meshweir"


def _java() -> str:
    java = shutil.which("java")
    if java is None:
        raise BrokerMissing("Kafka needs Java 17 or newer: install it (Debian: default-jre)")
    return java


def _run(command: Sequence[str]) -> str:
    """What a program prints; raises BrokerFailed with the end of it when it fails."""
    try:
        done = subprocess.run(  # noqa: S603 - the commands are our own
            command, capture_output=True, text=True, timeout=_RUN_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise BrokerFailed(f"{command[0]} did not end within {_RUN_SECONDS:.0f} s") from error
    told = done.stdout + done.stderr
    if "UnsupportedClassVersionError" in told:
        raise BrokerMissing(f"Kafka needs Java 17 or newer, and {command[0]} is older")
    if done.returncode:
        raise BrokerFailed(_last_words(told))
    return done.stdout


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _free_ports(names: Sequence[str]) -> dict[str, int]:
    """A port for each name. Nothing holds them: start the broker soon."""
    found: dict[str, int] = {}
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
            try:
                trial.bind((HOST, port))
            except OSError:
                continue
        found[names[len(found)]] = port
        if len(found) == len(names):
            return found
    raise BrokerFailed(f"no free ports between {_PORTS.start} and {_PORTS.stop}")


def _answers(port: int) -> bool:
    """Whether a broker answers the question for its API versions."""
    # length, ApiVersions, version 0, correlation id, no client id
    question = struct.pack(">ihhih", 10, 18, 0, 1, -1)
    try:
        with socket.create_connection((HOST, port), timeout=2.0) as connection:
            connection.sendall(question)
            return len(connection.recv(4)) == 4
    except OSError:
        return False


def _last_words(text: str, lines: int = 5) -> str:
    """The end of what a Java program said, without the traces of its exceptions."""
    return "\n".join([line for line in text.splitlines() if not line.startswith("\tat ")][-lines:])
