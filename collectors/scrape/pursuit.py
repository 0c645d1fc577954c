"""A job being done: its targets are found, scraped while they are there, and ended when they go."""

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Hashable, Iterator, Sequence
from typing import Final

from collectors.intake import Intake
from collectors.scrape.config import ScrapeJob
from collectors.scrape.discovery import Discovery
from collectors.scrape.fetch import Fetcher
from collectors.scrape.loop import CHANNELS, TargetLoop
from collectors.scrape.standing import Standing, TargetReport
from collectors.scrape.target import ADDRESS, Found, Target, target_of, told_of
from collectors.scrape.terms import terms_of
from collectors.scrape.turnstile import Turnstile
from collectors.settings import ScrapeSettings
from pipeline.errors import InvalidInput
from pipeline.model.topics import PROMETHEUS_TEXT_FORMAT

SETTLE_SECONDS: Final = 0.5
"""How long changes are gathered before targets are made of them: pods come in crowds."""

LOOK_AGAIN_SECONDS: Final = 60.0
"""After which targets that were left alone are looked at again, though nothing changed."""

FAILURE_PAUSE: Final = 5.0
"""Seconds until discovery begins again after an error nobody foresaw."""

LOGGED: Final = 10
"""Of targets that are left alone at once, how many are logged by name."""

_TOO_MANY_TARGETS: Final = "too many targets"
_TOO_MANY_LABELS: Final = "too many labels"
_COUNTABLE: Final = (_TOO_MANY_TARGETS, _TOO_MANY_LABELS)

LeftAlone = dict[Hashable, tuple[str, str]]
"""Of what is not scraped, where it is and why not."""

_log = logging.getLogger(__name__)


class Shared:
    """What all jobs of a scraper share.

    Args:
        intake: where expositions go.
        settings: the limits.
    """

    def __init__(self, intake: Intake, settings: ScrapeSettings) -> None:
        self.intake = intake
        self.settings = settings
        self.turnstile = Turnstile(settings.max_in_flight)
        self.targets = 0


class Pursuit:
    """One job at work.

    Args:
        job: what it says.
        discoveries: what finds its targets.
        shared: what it shares with the others.
    """

    def __init__(self, job: ScrapeJob, discoveries: Sequence[Discovery], shared: Shared) -> None:
        self._job = job
        self._discoveries = discoveries
        self._shared = shared
        settings = shared.settings
        self._fetcher = Fetcher(
            job,
            max_body_bytes=min(
                job.body_size_limit or settings.max_body_bytes, settings.max_body_bytes
            ),
            connections=settings.max_in_flight,
        )
        self._groups: dict[tuple[int, str], Sequence[Found]] = {}
        self._changed = asyncio.Event()
        self._loops: dict[Target, TargetLoop] = {}
        self._scraping: set[asyncio.Task[None]] = set()
        self._finding: list[asyncio.Task[None]] = []
        self._left_alone: LeftAlone = {}

    @property
    def name(self) -> str:
        """Name of the job."""
        return self._job.job_name

    def report(self) -> Iterator[TargetReport]:
        """The targets of the job, and how each stands; then those that are left alone."""
        for target, loop in self._loops.items():
            yield TargetReport(
                target.job, target.instance, target.shown, loop.standing, target.interval
            )
        for where, why in self._left_alone.values():
            yield TargetReport(self.name, None, where, Standing(f"left alone: {why}"), None)

    def start(self) -> None:
        """Begin to find and to scrape."""
        works = [self._find(number, one) for number, one in enumerate(self._discoveries)]
        self._finding = [asyncio.create_task(work) for work in (*works, self._follow())]

    async def stop(self) -> None:
        """Find nothing more, finish the scrapes under way, close."""
        for task in self._finding:
            task.cancel()
        for loop in self._loops.values():
            loop.stop()
        if self._scraping:
            drain = self._shared.settings.drain_seconds
            _, late = await asyncio.wait(self._scraping, timeout=drain)
            for task in late:
                task.cancel()
        await asyncio.gather(*self._finding, *self._scraping, return_exceptions=True)
        await self._fetcher.close()

    async def _find(self, number: int, discovery: Discovery) -> None:
        def tell(source: str, found: Sequence[Found]) -> None:
            self._groups[number, source] = found
            if not found:
                del self._groups[number, source]
            self._changed.set()

        while True:
            try:
                await discovery.run(tell)
            except Exception:  # noqa: BLE001 - discovery must go on, whatever it met
                _log.exception("finding targets of job %s failed unforeseen", self.name)
                await asyncio.sleep(FAILURE_PAUSE)
            else:
                return

    async def _follow(self) -> None:
        """Scrape what is there after every change, and now and then what others left room for."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_AGAIN_SECONDS):
                    await self._changed.wait()
            await asyncio.sleep(SETTLE_SECONDS)
            self._changed.clear()
            self._adjust()

    def _adjust(self) -> None:
        left_alone: LeftAlone = {}
        wanted = dict.fromkeys(self._wanted(left_alone))
        for target in self._loops.keys() - wanted:
            self._loops.pop(target).stop()
            self._shared.targets -= 1
        for target in wanted:
            if target in self._loops:
                continue
            if self._is_full():
                left_alone[target] = (target.shown, _TOO_MANY_TARGETS)
                continue
            self._shared.targets += 1
            self._begin(target)
        self._tell_left_alone(left_alone)

    def _wanted(self, left_alone: LeftAlone) -> Iterator[Target]:
        settings = self._shared.settings
        for found in itertools.chain.from_iterable(self._groups.values()):
            try:
                target = target_of(
                    found,
                    self._job,
                    interval=settings.interval_seconds,
                    timeout=settings.timeout_seconds,
                )
            except InvalidInput as problem:
                who = tuple(sorted(found.labels.items()))
                left_alone[who] = (told_of(found.labels.get(ADDRESS, "")), str(problem))
                continue
            if target is None:
                continue
            if len(target.resource) > settings.max_labels:
                left_alone[target] = (target.shown, _TOO_MANY_LABELS)
            else:
                yield target

    def _is_full(self) -> bool:
        limit = self._job.target_limit
        return self._shared.targets >= self._shared.settings.max_targets or (
            0 < limit <= len(self._loops)
        )

    def _begin(self, target: Target) -> None:
        loop = TargetLoop(
            target,
            self._fetcher,
            self._shared.intake,
            self._shared.turnstile,
            terms_of(self._job, target, self._shared.settings),
        )
        self._loops[target] = loop
        task = asyncio.create_task(self._scrape(loop))
        self._scraping.add(task)
        task.add_done_callback(self._scraping.discard)

    async def _scrape(self, loop: TargetLoop) -> None:
        await loop.run()
        if loop.target not in self._loops:
            await loop.end()

    def _tell_left_alone(self, now: LeftAlone) -> None:
        """Count and log targets that are left alone, each once for as long as it is."""
        new = [told for who, told in now.items() if self._left_alone.get(who) != told]
        for where, why in new[:LOGGED]:
            _log.warning("job %s: %s is left alone: %s", self.name, where, why)
        if len(new) > LOGGED:
            _log.warning("job %s: %d more targets are left alone", self.name, len(new) - LOGGED)
        for _, why in new:
            reason = f"target left alone: {why if why in _COUNTABLE else 'malformed'}"
            self._shared.intake.dropped(CHANNELS[PROMETHEUS_TEXT_FORMAT], 1, reason)
        self._left_alone = now
