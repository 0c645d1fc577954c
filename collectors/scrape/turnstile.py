"""Bounds how many scrapes are under way, and stops them while the bus takes nothing."""

import asyncio
import time

from pipeline.errors import Transient


class Turnstile:
    """How many scrapes are under way, and whether the bus takes any; shared by all targets.

    Args:
        at_once: how many.
    """

    def __init__(self, at_once: int) -> None:
        self.places = asyncio.Semaphore(at_once)
        self._shut_until = 0.0
        self._why = ""

    def shut(self, error: Transient, why: str) -> None:
        """Let nobody through until the bus said to come back."""
        self._shut_until = max(self._shut_until, time.monotonic() + error.retry_after)
        self._why = why

    @property
    def shut_because(self) -> str:
        """Why nobody is let through just now; empty when all are."""
        return self._why if time.monotonic() < self._shut_until else ""
