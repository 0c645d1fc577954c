"""One target, scraped again and again: what it exposes goes on the bus.

A scrape that fails is told, too: ``up`` is 0 then, and all that the target exposed before has
ended.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from collectors.intake import Channel, Intake, Receipt, reason_of
from collectors.room import Claim
from collectors.scrape.exposition import Exposed, exposed_in
from collectors.scrape.fetch import Fetcher, FetchFailed
from collectors.scrape.series import Remembered, series_of
from collectors.scrape.standing import Standing
from collectors.scrape.target import Target
from collectors.scrape.terms import Terms
from collectors.scrape.turnstile import Turnstile
from pipeline.errors import Transient
from pipeline.model.ledger import Outcome
from pipeline.model.scrape import STALE_PREFIX, Scrape
from pipeline.model.topics import OPENMETRICS_TEXT_FORMAT, PROMETHEUS_TEXT_FORMAT, RAW_TELEMETRY

T = TypeVar("T")

SOURCE: Final = "scrape"

CHANNELS: Final = {
    name: Channel(SOURCE, name, RAW_TELEMETRY, lost=Outcome.DROPPED)
    for name in (PROMETHEUS_TEXT_FORMAT, OPENMETRICS_TEXT_FORMAT)
}

_TWICE: Final = "a series twice after metric_relabel_configs"

_OFF_LOOP_BYTES: Final = 256 * 1024
_RULES_WEIGH: Final = 16
"""How much longer an exposition may take whose series are new to the rules of its job."""

_log = logging.getLogger(__name__)


class TargetLoop:
    """Scrapes one target until it is ended or cancelled.

    Args:
        target: which.
        fetcher: asks it.
        intake: where expositions go.
        turnstile: bounds how many are under way.
        terms: how it is asked, and what is taken of it.
    """

    def __init__(
        self,
        target: Target,
        fetcher: Fetcher,
        intake: Intake,
        turnstile: Turnstile,
        terms: Terms,
    ) -> None:
        self.target = target
        self.standing = Standing()
        self._fetcher = fetcher
        self._intake = intake
        self._turnstile = turnstile
        self._terms = terms
        self._remembered = Remembered()
        self._stopping = asyncio.Event()
        self._format = PROMETHEUS_TEXT_FORMAT

    async def run(self) -> None:
        """Scrape at every turn until told to stop.

        Turns that pass while a scrape is under way are counted as lost.
        """
        due = time.monotonic() + self.target.seconds_to_next(time.time())
        while not await self._is_stopped_before(due):
            try:
                await self.scrape()
            except Exception:  # noqa: BLE001 - whatever it is, the next scrape may succeed
                _log.exception("scraping %s failed unforeseen", self.target.shown)
            due += self.target.interval
            missed = max(0, math.ceil((time.monotonic() - due) / self.target.interval))
            due += missed * self.target.interval
            for _ in range(missed):
                self._lose("the scrape before took too long")

    def stop(self) -> None:
        """Let ``run`` return once the scrape under way is done."""
        self._stopping.set()

    async def scrape(self) -> None:
        """Scrape once, unless the bus takes nothing just now."""
        shut = self._turnstile.shut_because
        if shut:
            self._lose(shut)
            return
        async with self._turnstile.places:
            began = time.time()
            try:
                with self._intake.room.claim() as claim:
                    fetched = await self._fetch(claim)
            except FetchFailed as error:
                if error.answered:
                    self._lose(error.reason)
                await self._failed(began, str(error))
            except Transient as error:
                self._lose(reason_of(error))
            else:
                await self._succeeded(began, fetched)

    async def end(self) -> None:
        """Tell that the target is gone: all that was told of it has ended, ``up`` included."""
        if self.standing.scraped_at is None:
            return
        reported = self._about(self.standing.scraped_at, 0.0).report(0)
        stale = self._remembered.stale_lines(b"", series_of(b""))
        stale += b"".join(STALE_PREFIX + name.encode() + b"\n" for name in reported)
        async with self._turnstile.places:
            await self._publish(self._format, self._about(time.time(), None), b"", stale)

    async def _is_stopped_before(self, due: float) -> bool:
        try:
            async with asyncio.timeout(due - time.monotonic()):
                return await self._stopping.wait()
        except TimeoutError:
            return False

    async def _fetch(self, claim: Claim) -> Exposed:
        target = self.target
        answer = await self._fetcher.get(
            target.url, self._terms.headers, claim, seconds=target.timeout
        )
        weight = 1 if self._terms.rewriter is None else _RULES_WEIGH
        return await _off_loop(weight * len(answer.body), partial(exposed_in, answer, self._terms))

    async def _succeeded(self, began: float, exposed: Exposed) -> None:
        duration = time.time() - began
        body, series = exposed.body, exposed.series
        stale = await _off_loop(len(body), partial(self._remembered.stale_lines, body, series))
        about = self._about(began, duration, exposed)
        receipt = await self._publish(exposed.format, about, body, stale)
        if isinstance(receipt.error, Transient):
            return
        if receipt.error is not None:
            await self._failed(began, str(receipt.error))
            return
        await _off_loop(len(body), partial(self._remembered.keep, body, series))
        if exposed.twice:
            self._lose(_TWICE, exposed.twice)
        self._format = exposed.format
        self._stands(Standing("", began, duration, series.samples))

    async def _failed(self, began: float, why: str) -> None:
        duration = time.time() - began
        nothing = series_of(b"")
        stale = self._remembered.stale_lines(b"", nothing)
        receipt = await self._publish(self._format, self._about(began, duration), b"", stale)
        if receipt.error is None:
            self._remembered.keep(b"", nothing)
        self._stands(Standing(why, began, duration))

    def _about(
        self, began: float, duration: float | None, exposed: Exposed | None = None
    ) -> Scrape:
        """What there is to say of a scrape; nothing was exposed where it failed."""
        before = exposed.before if exposed else None if self._terms.rewriter is None else 0
        resource = dict(self.target.resource)
        return Scrape(int(began * 1000), duration, exposed is not None, resource, before)

    async def _publish(self, format_name: str, about: Scrape, body: bytes, stale: bytes) -> Receipt:
        value = b"".join((about.line(), body, stale))

        async def brought(claim: Claim) -> bytes:
            claim.grow(len(value))
            return value

        receipt = await self._intake.take(CHANNELS[format_name], brought)
        if isinstance(receipt.error, Transient):
            self._turnstile.shut(receipt.error, reason_of(receipt.error))
        return receipt

    def _lose(self, reason: str, samples: int = 1) -> None:
        self._intake.dropped(CHANNELS[self._format], samples, reason)

    def _stands(self, now: Standing) -> None:
        """Take note, and log what changed."""
        before, self.standing = self.standing, now
        if now.up and before.up is False:
            _log.info("%s of job %s is up", self.target.shown, self.target.job)
        elif not now.up and (before.up is not False or before.error != now.error):
            _log.warning("%s of job %s: %s", self.target.shown, self.target.job, now.error)


async def _off_loop(size: int, work: Callable[[], T]) -> T:
    return work() if size < _OFF_LOOP_BYTES else await asyncio.to_thread(work)
