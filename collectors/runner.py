"""Runs the receivers that the settings ask for: starts all or none, and drains them together."""

import asyncio
import logging
from collections.abc import Mapping

from collectors.intake import Intake
from collectors.listen import Guard
from collectors.receiver import Asks, Receiver
from collectors.registry import RECEIVERS
from collectors.scrape.standing import TargetReport
from collectors.settings import CollectorSettings
from pipeline.bus.port import Bus
from pipeline.model.ledger import Ledger

_log = logging.getLogger(__name__)


class Collectors:
    """All receivers of this process; the bus must be started before and stopped after them.

    Args:
        settings: addresses and limits.
        bus: where telemetry goes.
        ledger: where it is counted.
    """

    def __init__(self, settings: CollectorSettings, bus: Bus, ledger: Ledger) -> None:
        intake = Intake(bus, ledger, settings.intake)
        guard = Guard(settings.intake.token)
        built = {name: build(intake, settings, guard) for name, build in RECEIVERS.items()}
        self._receivers: dict[str, Receiver] = {
            name: receiver for name, receiver in built.items() if receiver is not None
        }
        self._running: list[Receiver] = []

    @property
    def addresses(self) -> Mapping[str, str]:
        """Where each receiver listens, by its name; real ports once started."""
        return {name: receiver.address for name, receiver in self._receivers.items()}

    def targets(self) -> list[TargetReport]:
        """Whom receivers ask for telemetry, and how each stands."""
        asking = [one for one in self._receivers.values() if isinstance(one, Asks)]
        return [target for receiver in asking for target in receiver.report()]

    async def start(self) -> None:
        """Start all receivers; when one cannot, those before it are stopped again.

        Raises:
            InvalidInput: an address cannot be had, or is not safe to listen on.
        """
        try:
            for receiver in self._receivers.values():
                await receiver.start()
                self._running.append(receiver)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Refuse new work, finish what was taken, close. Idempotent."""
        running, self._running = self._running, []
        results = await asyncio.gather(
            *(receiver.stop() for receiver in running), return_exceptions=True
        )
        for receiver, result in zip(running, results, strict=True):
            if isinstance(result, BaseException):
                _log.error("%s did not stop cleanly", receiver.address, exc_info=result)
