"""What is said again and again while something lasts, said often enough and no more."""

import time
from collections.abc import Callable
from typing import Final

SECONDS_BETWEEN: Final = 15.0
"""After which the same is worth saying again: who looks at a log then sees that it still lasts."""


class Repeated:
    """Tells whether a text is worth saying: when it is new, and now and then while it is not.

    ``clock`` gives seconds, of which only differences count.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said: str | None = None
        self._again_at = 0.0

    def worth_saying(self, text: str) -> bool:
        """Whether to say it now; remembers that it was said."""
        now = self._clock()
        if text == self._said and now < self._again_at:
            return False
        self._said, self._again_at = text, now + SECONDS_BETWEEN
        return True

    def over(self) -> bool:
        """It no longer lasts; whether anything had been said since the last time."""
        said, self._said = self._said, None
        return said is not None
