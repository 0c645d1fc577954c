"""A short run of the fuzzer that ``make fuzz`` runs for as long as it is told."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

RUNS, SECONDS = 2_000, 20


@pytest.mark.skipif(not find_spec("atheris"), reason="there is no wheel of atheris for this Python")
def test_the_fuzzer_finds_nothing_in_a_short_run(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--unchecked", "--findings", str(tmp_path)]
    limits = ["--runs", str(RUNS), "--seconds", str(SECONDS), "--seed", "1"]
    run = subprocess.run(command + limits, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-4000:]
    assert "stat::number_of_executed_units" in run.stderr
    assert not list(tmp_path.glob("crash-*"))
