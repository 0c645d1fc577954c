"""A process writes and rotates a log; Meshweir follows it, is killed, and has every line once."""

import subprocess
import sys
import time
from pathlib import Path
from random import Random

import duckdb
import pytest

from tests.e2e.process import ROOT
from tests.e2e.up import Up

pytestmark = pytest.mark.e2e

PER_FILE = 1_500
KILLS = 3


def test_every_line_is_there_once_after_kills_and_rotations(tmp_path: Path) -> None:
    log, stop, data = tmp_path / "logs" / "access.log", tmp_path / "stop", tmp_path / "data"
    log.parent.mkdir()
    flags = (
        *("--tail", f"envoy_json:{log}*", "--tail-poll-seconds", "0.05"),
        *("--tail-rotated-seconds", "1"),
    )
    chance = Random(7)
    writer = subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.log_writer", str(log), str(PER_FILE), str(stop)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    up = None
    try:
        for _ in range(KILLS):
            up = Up(data, *flags)
            time.sleep(chance.uniform(0.5, 3.0))
            up.kill()
        up = Up(data, *flags)
        stop.touch()
        lines = int(writer.communicate(timeout=60)[0])
        up.wait(lambda: requests(up) >= lines)
        assert up.stop() == 130
    finally:
        for process in (writer, *([up.process] if up else [])):
            process.kill()
            process.wait(30)
    with duckdb.connect(str(data / "store.duckdb"), read_only=True) as store:
        found = store.sql("SELECT count(*), count(DISTINCT request_id) FROM access_logs").fetchone()
        set_aside = store.sql("SELECT count(*) FROM quarantine").fetchone()
    assert found == (lines, lines)
    assert set_aside == (0,)


def requests(up: Up) -> int:
    """Requests on the graph, from whichever process they came."""
    return sum(edge["requests"] for edge in up.graph()["edges"])
