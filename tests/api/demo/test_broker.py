"""The broker of demo and tests: what it leaves behind, and what it says where it cannot run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from api.demo import broker as broker_module
from api.demo.broker import Broker, BrokerFailed, BrokerMissing, installed_jars

STARTER = """
import sys, time
from pathlib import Path
from api.demo.broker import Broker
broker = Broker(Path(sys.argv[1]))
broker.start()
print(broker.pid, flush=True)
time.sleep(600)
"""


def jars() -> None:
    try:
        installed_jars()
    except BrokerMissing as missing:
        pytest.skip(str(missing))


def running(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel is asked to end it")
def test_a_broker_ends_with_who_started_it(tmp_path: Path) -> None:
    jars()
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(tmp_path)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONPATH": "."},
    )
    with starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        assert running(pid)
        starter.send_signal(signal.SIGKILL)
    give_up = time.monotonic() + 30
    while running(pid):
        assert time.monotonic() < give_up
        time.sleep(0.05)


def test_a_broker_that_cannot_start_says_why(tmp_path: Path) -> None:
    jars()
    broker = Broker(tmp_path, properties={"log.retention.ms": "soon"})
    with pytest.raises(BrokerFailed, match="soon"):
        broker.start()
    assert broker.pid is None


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(broker_module, "_tools", lambda: tmp_path)
    with pytest.raises(BrokerMissing, match="Maven"):
        installed_jars()
    with pytest.raises(BrokerMissing, match="Java 17"):
        Broker(tmp_path).start()
    (tmp_path / "java").write_text(
        "#!/bin/sh\necho java.lang.UnsupportedClassVersionError; exit 1\n"
    )
    (tmp_path / "java").chmod(0o755)
    (tmp_path / "kafka" / broker_module.VERSION).mkdir(parents=True)
    with pytest.raises(BrokerMissing, match="Java 17"):
        Broker(tmp_path / "old").start()
