"""Child processes: they end with their parent, in order or not."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from api.demo import processes
from api.demo.processes import find_program, spawn

PYTHON = Path(sys.executable)
ROOT = Path(__file__).parents[3]

PARENT = """
import asyncio, sys, pathlib
from api.demo.processes import spawn
async def main():
    log = pathlib.Path(sys.argv[1])
    child = await spawn(
        "child", pathlib.Path(sys.executable), "-c", "import time; time.sleep(600)",
        log=log, environment={},
    )
    print(child.process.pid, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_a_child_ends_when_its_parent_is_killed(tmp_path):
    with subprocess.Popen(
        [PYTHON, "-c", PARENT, tmp_path / "log"], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as parent:
        child = int(parent.stdout.readline())
        os.kill(child, 0)
        parent.kill()
    deadline = time.monotonic() + 20
    while alive(child):
        assert time.monotonic() < deadline, "the child outlived its parent"
        time.sleep(0.05)


def test_a_child_has_a_group_of_its_own_and_its_output_is_kept(tmp_path):
    async def scenario() -> None:
        code = "import os; print(os.getpgrp(), os.environ['A'], sep='\\n')"
        child = await spawn(
            "child", PYTHON, "-c", code, log=tmp_path / "log", environment={"A": "told"}
        )
        await child.process.wait()
        assert not child.running
        assert child.last_words() == f"{child.process.pid}\ntold"
        await child.stop()

    asyncio.run(scenario())


def test_a_child_that_ignores_the_request_to_end_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "GRACE_SECONDS", 0.2)
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print('ready', flush=True); time.sleep(600)"
    )

    async def scenario() -> None:
        child = await spawn("child", PYTHON, "-c", code, log=tmp_path / "log", environment={})
        for _ in range(500):
            if child.last_words():
                break
            await asyncio.sleep(0.02)
        await child.stop()
        assert child.process.returncode == -signal.SIGKILL

    asyncio.run(scenario())


def test_programs_are_found_beside_the_interpreter_or_not_at_all():
    assert find_program(PYTHON.name) == PYTHON
    assert find_program("no-such-program-anywhere") is None
