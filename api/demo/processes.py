"""Child processes that end with their parent, whatever ends it."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

GRACE_SECONDS: Final = 20.0
"""How long a process may take to end after SIGTERM before it is killed."""

_TETHER: Final = Path(__file__).with_name("tether.py")


@dataclass(slots=True)
class Child:
    """A process of ours: its name, and the file to which it writes what it has to say."""

    name: str
    process: asyncio.subprocess.Process
    log: Path

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process.returncode is None

    def last_words(self, lines: int = 5) -> str:
        """The end of its log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    async def stop(self) -> None:
        """Ask it to end, wait, and kill it when it will not. Idempotent."""
        if self.running:
            with suppress(ProcessLookupError):
                self.process.terminate()
        try:
            async with asyncio.timeout(GRACE_SECONDS):
                await self.process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            await self.process.wait()


def find_program(name: str) -> Path | None:
    """A program beside this interpreter, as wheels install it, else on the path."""
    beside = Path(sys.executable).parent / name
    if beside.is_file():
        return beside
    found = shutil.which(name)
    return None if found is None else Path(found)


async def spawn(
    name: str, program: Path, *arguments: str | Path, log: Path, environment: Mapping[str, str]
) -> Child:
    """Start a process in a group of its own, with its output in ``log``.

    A group of its own, so that Ctrl-C in a terminal reaches the parent alone, which ends its
    children in order. On Linux the kernel ends them when the parent dies without doing so.
    """
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", _TETHER, str(os.getpid())),
            *(program, *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            start_new_session=True,
        )
    return Child(name, process, log)
