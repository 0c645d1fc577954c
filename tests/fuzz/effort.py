"""What a call costs, counted and not timed: calls of Python, and bytes held at the same time."""

import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any


@dataclass(frozen=True, slots=True)
class Effort:
    """What one call cost.

    Attributes:
        calls: functions of Python and of C that were called.
        peak_bytes: memory held above what was held before, at most; NumPy's included.
    """

    calls: int
    peak_bytes: int


def effort(run: Callable[[], object]) -> Effort:
    """Run something twice: once to count calls, once to measure memory."""
    calls = 0

    def count(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        run()
    finally:
        sys.setprofile(before)
    tracemalloc.start()
    try:
        run()
        return Effort(calls, tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()
