"""A process writes and rotates a log; Meshweir follows it, is killed, and has every line once."""

import subprocess
import sys
import time
from pathlib import Path
from random import Random

import duckdb
import pytest

from tests.e2e.up import Up

pytestmark = pytest.mark.e2e

PER_FILE = 1_500
KILLS = 3

WRITER = """
import json, os, sys, time
path, per_file, stop = sys.argv[1], int(sys.argv[2]), sys.argv[3]
log = open(path, "ab", buffering=0)
number = 0
while not os.path.exists(stop):
    time.sleep(0.1)
    for _ in range(60):
        told = {"start_time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "method": "GET", "path": "/cart", "response_code": 200, "duration": 5,
                "request_id": f"r-{number}", "upstream_cluster": "cart"}
        text = json.dumps(told).encode() + b"\\n"
        # in two writes, so that a reader meets half a line
        log.write(text[:40])
        log.write(text[40:])
        number += 1
        if number % per_file == 0:
            os.rename(path, f"{path}.{number // per_file}")
            log.close()
            log = open(path, "ab", buffering=0)
print(number)
"""
"""Writes numbered lines until a file appears, and rotates its own as logrotate does by default."""


def test_every_line_is_there_once_after_kills_and_rotations(tmp_path: Path) -> None:
    log, stop, data = tmp_path / "logs" / "access.log", tmp_path / "stop", tmp_path / "data"
    log.parent.mkdir()
    flags = (
        *("--tail", f"envoy_json:{log}*", "--tail-poll-seconds", "0.05"),
        *("--tail-rotated-seconds", "1"),
    )
    chance = Random(7)
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(log), str(PER_FILE), str(stop)],
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
