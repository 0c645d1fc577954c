"""The Job port: something that runs again and again."""

from typing import Protocol


class Job(Protocol):
    """One recurring piece of work; the scheduler calls it, one call at a time."""

    @property
    def name(self) -> str:
        """A short name for logs and metrics."""

    @property
    def cadence(self) -> float:
        """Seconds to wait between the end of one run and the start of the next."""

    async def run(self) -> bool:
        """Do what is due; return True when more is due at once.

        A Transient error is counted and tried again at the next cadence.
        """
