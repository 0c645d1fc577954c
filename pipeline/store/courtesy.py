"""A lock between processes that spares them work done in vain; correctness never rests on it.

Two transactions that overlap may conflict at their commits, and then one has written its files for
nothing. With a SQLite catalog any two do. So processes on one machine take turns. A process that is
stopped while it holds the lock is waited for once, and then no more until it lets go.
"""

import fcntl
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

NAME: Final = "writing.lock"
PATIENCE: Final = 2.0
"""Seconds a process waits for its turn."""
PAUSE: Final = 0.004
"""Seconds between looks at the lock, about."""


class Courtesy:
    """The lock of one data directory. One thread at a time uses it."""

    def __init__(self, directory: Path) -> None:
        self._file = os.open(directory / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._stuck = False

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for one's turn, but not for long."""
        held = self._acquire(0.0 if self._stuck else PATIENCE)
        self._stuck = not held
        try:
            yield
        finally:
            if held:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def _acquire(self, patience: float) -> bool:
        until = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= until:
                    return False
            except OSError:
                # a file system without locks: those who share it take their chances
                return False
            else:
                return True
            time.sleep(random.uniform(0.5, 1.5) * PAUSE)  # noqa: S311 - no secret
