"""Whether a process serves, and if not, what it waits for."""

from collections.abc import Callable
from typing import Final

_PROCESS: Final = "process"


class Readiness:
    """Why a process does not serve, by the part it waits for; nothing is left once it does."""

    def __init__(self) -> None:
        self._lacking: dict[str, Callable[[], str]] = {}
        self.lacks(_PROCESS, "starting")

    def __call__(self) -> str | None:
        """All reasons, or None."""
        return "; ".join(filter(None, (why() for why in self._lacking.values()))) or None

    def lacks(self, part: str, reason: str) -> None:
        """A part is not there, for a reason."""
        self._lacking[part] = lambda: reason

    def has(self, part: str) -> None:
        """A part is there."""
        self._lacking.pop(part, None)

    def follows(self, part: str, away: Callable[[], str]) -> None:
        """A part comes and goes; ``away`` says why it is not there, and nothing while it is."""
        self._lacking[part] = away

    def started(self) -> None:
        """The process has put its parts together; some of them may still not be there."""
        self.has(_PROCESS)

    def stopping(self) -> None:
        """The process takes its parts apart."""
        self.lacks(_PROCESS, "stopping")
