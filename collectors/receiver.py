"""The Receiver port: what takes telemetry from outside and puts it on the bus."""

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from collectors.scrape.standing import TargetReport


class Receiver(Protocol):
    """A listener, scraper or reader of files.

    The promises, which the contract suite holds every receiver to:

    * A sender is told yes only after ``Bus.publish`` returned.
    * A sender is told no with a reason it can act on: come back later, with a time, or mend this.
    * ``stop`` refuses new work, finishes what was taken, and returns.
    """

    @property
    def address(self) -> str:
        """Where it listens, with the port that was really bound; for logs and for people."""

    async def start(self) -> None:
        """Begin to take telemetry; raises InvalidInput when the address cannot be had."""

    async def stop(self) -> None:
        """Drain and close. Idempotent."""


@runtime_checkable
class Asks(Protocol):
    """What a receiver can, besides, that asks others for telemetry instead of waiting for it."""

    def report(self) -> Iterable[TargetReport]:
        """Whom it asks, and how each stands."""
