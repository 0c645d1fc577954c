"""Kafka as docker-compose.yml starts it: its script, its properties, its log, on the real jars."""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from api.demo.broker import BrokerMissing, _answers, installed_jars
from api.demo.envoy import Address
from api.demo.network import free_address
from tests.deploy.compose import ROOT, SERVICES

PATIENCE = 90.0

PROGRAM = """\
#!/bin/sh
exec java -Xmx384m $KAFKA_LOG4J_OPTS -cp '{jars}/*' {main} "$@"
"""
"""What the programs of Kafka's image come down to."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory with Kafka's programs, as the image has one."""
    try:
        jars = installed_jars()
    except BrokerMissing as missing:
        pytest.skip(str(missing))
    if shutil.which("java") is None:
        pytest.skip("no Java")
    programs = tmp_path / "kafka" / "bin"
    programs.mkdir(parents=True)
    for name, main in (
        ("kafka-storage.sh", "kafka.tools.StorageTool"),
        ("kafka-server-start.sh", "kafka.Kafka"),
    ):
        (programs / name).write_text(PROGRAM.format(jars=jars, main=main))
        (programs / name).chmod(0o755)
    return tmp_path / "kafka"


def configured(tmp_path: Path) -> tuple[Path, int]:
    """A copy of ``deploy/kafka`` on free ports and in a directory of its own; and its port."""
    folder = tmp_path / "etc"
    shutil.copytree(ROOT / "deploy" / "kafka", folder)
    plain, controller = (free_address(Address(0)).port for _ in range(2))
    file = folder / "server.properties"
    text = file.read_text().replace("0.0.0.0", "127.0.0.1").replace("//kafka:", "//127.0.0.1:")
    text = re.sub(r":9092\b", f":{plain}", text)
    text = re.sub(r":9093\b", f":{controller}", text)
    file.write_text(text.replace("/var/lib/kafka/data", str(tmp_path / "data")))
    return folder, plain


def test_it_starts_and_starts_again_on_what_it_left(home: Path, tmp_path: Path) -> None:
    folder, port = configured(tmp_path)
    environment = os.environ | SERVICES["kafka"]["environment"] | {"KAFKA_HOME": str(home)}
    for _ in range(2):
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(
                ["/bin/sh", folder / "start.sh"], env=environment, stdout=log, stderr=log
            )
        try:
            end = time.monotonic() + PATIENCE
            while not _answers(port) and process.poll() is None and time.monotonic() < end:
                time.sleep(0.2)
            assert _answers(port), (tmp_path / "log").read_text()
            assert healthy(port)
        finally:
            process.terminate()
            process.wait(PATIENCE)
    assert not healthy(port)


def healthy(port: int) -> bool:
    """The health check's own command."""
    program, *arguments = SERVICES["kafka"]["healthcheck"]["test"][1:]
    command = [program, *(word.replace("9092", str(port)) for word in arguments)]
    return subprocess.run(command, capture_output=True, timeout=10, check=False).returncode == 0
