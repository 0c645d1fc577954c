"""A replay beside ``collect``, ``process`` and ``serve`` on a real broker, while calls come in."""

import json
import os
import subprocess
import sys
import time

import pytest

from api.demo.broker import BrokerMissing, installed_jars
from tests.e2e.process import ROOT
from tests.e2e.test_processes import Installation

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


@pytest.fixture
def mesh(tmp_path):
    try:
        installed_jars()
        made = Installation(tmp_path)
        made.broker.start()
    except BrokerMissing as missing:
        pytest.skip(str(missing))
    yield made
    for process in made.running.values():
        if process.process.poll() is None:
            process.kill()
    made.broker.stop()


def replay(mesh: Installation) -> subprocess.Popen[str]:
    """Start ``meshweir replay`` of the last hour."""
    arguments = ("--from", "-1h", "--json", "--kafka", mesh.broker.bootstrap, "--data", mesh.data)
    return subprocess.Popen(
        [sys.executable, "-m", "api", "replay", *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_replay_beside_the_others_changes_no_number(mesh):
    for command in ("collect", "process", "serve"):
        mesh.start(command)
    assert mesh.all_ready(), [one.ready() for one in mesh.running.values()]
    for _ in range(8):
        mesh.post()
    assert mesh.shows_all(), mesh.found()
    replaying = replay(mesh)
    while replaying.poll() is None:
        mesh.post(1)
        time.sleep(0.4)
    told, said = replaying.communicate()
    assert replaying.returncode == 0, said
    answer = json.loads(told)
    assert answer["messages"] >= 8
    assert answer["records"]["before"] == answer["records"]["after"] >= 40
    assert (answer["skipped"], answer["graph"]) == ([], "computed")
    assert mesh.shows_all(), mesh.found()
