"""The scraper: a receiver that asks instead of listening."""

import asyncio
import logging
from collections.abc import Iterator

from collectors.intake import Intake
from collectors.scrape.jobs import discoveries_of, jobs_of
from collectors.scrape.loop import CHANNELS
from collectors.scrape.pursuit import Pursuit, Shared
from collectors.scrape.standing import TargetReport
from collectors.settings import ScrapeSettings

_log = logging.getLogger(__name__)


class Scraper:
    """Scrapes what the settings name, and what discovery finds.

    Args:
        intake: where expositions go.
        settings: what to scrape, how often, and the limits.
    """

    def __init__(self, intake: Intake, settings: ScrapeSettings) -> None:
        self._intake = intake
        self._settings = settings
        self._pursuits: list[Pursuit] = []

    @property
    def address(self) -> str:
        """It listens nowhere: the names of its jobs, once it was started."""
        return ", ".join(pursuit.name for pursuit in self._pursuits)

    def report(self) -> Iterator[TargetReport]:
        """Every target, and how it stands."""
        for pursuit in self._pursuits:
            yield from pursuit.report()

    async def start(self) -> None:
        """Begin to find targets and to scrape them.

        Raises:
            InvalidInput: something in the settings or the configuration file is not allowed.
        """
        room = self._intake.room
        jobs = await asyncio.to_thread(jobs_of, self._settings)
        found_by = [discoveries_of(job, room) for job in jobs]
        await self._intake.warm_up(*CHANNELS)
        shared = Shared(self._intake, self._settings)
        self._pursuits = [Pursuit(*each, shared) for each in zip(jobs, found_by, strict=True)]
        for pursuit in self._pursuits:
            pursuit.start()
        _log.info("scraping for the jobs %s", self.address)

    async def stop(self) -> None:
        """Begin no more scrapes, finish those under way, close. Idempotent."""
        pursuits, self._pursuits = self._pursuits, []
        await asyncio.gather(*(pursuit.stop() for pursuit in pursuits))
