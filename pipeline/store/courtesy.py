"""Locks between processes that spare them work done in vain; correctness never rests on them.

Two transactions that overlap may conflict at their commits, and then one has written its files for
nothing. With a SQLite catalog any two do. So processes on one machine take turns. Who waits for its
turn holds the place of the next one, so that a process that commits without a pause cannot take all
turns. A process that is stopped while it holds a lock is waited for once, and then no more until it
lets go.
"""

import fcntl
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

TURN: Final = "writing.lock"
NEXT: Final = "waiting.lock"
PATIENCE: Final = 2.0
"""Seconds a process waits for its turn."""
PAUSE: Final = 0.004
"""Seconds between looks at a lock, about."""


class Courtesy:
    """The locks of one data directory. One thread at a time uses them."""

    def __init__(self, directory: Path) -> None:
        self._next, self._turn = (_opened(directory / name) for name in (NEXT, TURN))
        self._stuck = False

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for one's turn, but not for long."""
        until = time.monotonic() + (0.0 if self._stuck else PATIENCE)
        is_next = _acquired(self._next, until)
        held = is_next and _acquired(self._turn, until)
        if is_next:
            _let_go(self._next)
        self._stuck = not held
        try:
            yield
        finally:
            if held:
                _let_go(self._turn)

    def close(self) -> None:
        """Let go of the files."""
        os.close(self._next)
        os.close(self._turn)


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _acquired(file: int, until: float) -> bool:
    """Take a lock, looking until a time; false where it is held all the while."""
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
        except OSError:
            # a file system without locks: those who share it take their chances
            return False
        else:
            return True
        time.sleep(random.uniform(0.5, 1.5) * PAUSE)  # noqa: S311 - no secret


def _let_go(file: int) -> None:
    fcntl.flock(file, fcntl.LOCK_UN)
