"""A real OpenTelemetry Collector: built once from its Go modules, then run as a process.

Its own builder (ocb) makes it, of no more than tests need: OTLP and Kafka, in and out. It is kept
in ``.tools/otelcol`` beside the repository.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import yaml

from api.demo import tether

VERSION: Final = "0.165.0"
CONTRIB_VERSION: Final = "0.165.1"
"""The release of the contributed modules that goes with it."""

ROOT: Final = Path(__file__).parents[1]
HOME: Final = ROOT / ".tools" / "otelcol" / VERSION
BUILD_SECONDS: Final = 600.0
"""How long each step of the build may take."""

START_SECONDS: Final = 60.0

_CORE: Final = "go.opentelemetry.io/collector"
_CONTRIB: Final = "github.com/open-telemetry/opentelemetry-collector-contrib"
MANIFEST: Final = {
    "dist": {"name": "otelcol", "output_path": "source", "version": VERSION},
    "receivers": [
        {"gomod": f"{_CORE}/receiver/otlpreceiver v{VERSION}"},
        {"gomod": f"{_CONTRIB}/receiver/kafkareceiver v{CONTRIB_VERSION}"},
    ],
    "exporters": [
        {"gomod": f"{_CORE}/exporter/otlphttpexporter v{VERSION}"},
        {"gomod": f"{_CONTRIB}/exporter/kafkaexporter v{CONTRIB_VERSION}"},
    ],
}


class CollectorMissing(Exception):
    """A Collector cannot be built on this machine; the message says why."""


class CollectorFailed(Exception):
    """A Collector could not be compiled, or did not start; the message has its last words."""


def program() -> Path:
    """The Collector, built when it is not there; by one process at a time.

    Raises:
        CollectorMissing: there is no Go, or its modules cannot be fetched.
        CollectorFailed: what was fetched does not compile.
    """
    built = HOME / "otelcol"
    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            _build(built)
    return built


def _build(built: Path) -> None:
    go = shutil.which("go")
    if go is None:
        raise CollectorMissing("the OpenTelemetry Collector is built by Go, which is not here")
    builder, source = HOME / "builder", HOME / "source"
    manifest = HOME / "manifest.yaml"
    manifest.write_text(yaml.safe_dump(MANIFEST))
    _say(f"building an OpenTelemetry Collector {VERSION}, once; some minutes")
    try:
        if not builder.exists():
            _go([go, "install", f"{_CORE}/cmd/builder@v{VERSION}"])
        _say("fetching its modules")
        _go([str(builder), f"--config={manifest}", "--skip-compilation"])
    except CollectorFailed as error:
        raise CollectorMissing(f"the Collector's modules cannot be fetched: {error}") from error
    _say("compiling it")
    partial = HOME / "otelcol.partial"
    _go([go, "build", "-ldflags=-s -w", "-o", str(partial), "."], directory=source)
    partial.rename(built)
    shutil.rmtree(source)
    builder.unlink()


def _go(command: Sequence[str], directory: Path = HOME) -> None:
    """Run a step of the build; raises CollectorFailed with the end of what it said."""
    environment = os.environ | {
        "GOBIN": str(HOME),
        "GOFLAGS": "-trimpath -buildvcs=false",
        "CGO_ENABLED": "0",
    }
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            env=environment,
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CollectorFailed(str(error)) from error
    if done.returncode:
        raise CollectorFailed("\n".join((done.stdout + done.stderr).splitlines()[-5:]))


def _say(what: str) -> None:
    """Progress, past pytest's capture: the first build takes minutes."""
    print(f"otelcol: {what}", file=sys.__stderr__, flush=True)


@contextlib.contextmanager
def running(
    configurations: Sequence[Path], environment: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A Collector that has started all of its pipelines; stopped in order at the end.

    Args:
        configurations: its files, of which later ones go over earlier ones.
        environment: variables that the files refer to.
        log: the file to which it writes what it has to say.

    Raises:
        CollectorFailed: it ended or did not start in time.
    """
    files = [f"--config={path}" for path in configurations]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", tether.__file__, str(os.getpid()), program(), *files],
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        _wait_until_ready(process, log)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while "Everything is ready." not in log.read_text():
        if process.poll() is not None or time.monotonic() > end:
            words = "\n".join(log.read_text().splitlines()[-5:])
            raise CollectorFailed(f"the Collector did not start; it says: {words}")
        time.sleep(0.1)
