"""``meshweir demo --send-to``: the mesh alone, as the demo's container runs it."""

import re
import subprocess
import sys

import pytest

from tests.api.test_cli import meshweir
from tests.e2e.up import Up

pytestmark = pytest.mark.e2e


def test_the_mesh_tells_a_meshweir_that_is_there_already(tmp_path):
    up = Up(tmp_path / "data")
    try:
        port = up.grpc.rpartition(":")[2]
        done = subprocess.run(
            [sys.executable, "-m", "api", "demo", "--send-to", port, "--duration", "5"],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        (sent,) = re.findall(r"(\d+) requests, 0 without an answer", done.stdout)
        first = ("clients", "shop/edge-gateway")
        assert int(sent) > 0
        assert up.wait(lambda: up.edges().get(first) == int(sent)), (sent, up.edges())
    finally:
        up.stop()


def test_it_does_not_also_start_one(tmp_path):
    done = meshweir("demo", "--send-to", "4317", "--data", str(tmp_path))
    assert done.returncode == 2
    assert b"not with --data" in done.stderr
