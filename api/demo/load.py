"""The demo's load generator: an open loop, one plan per consumer, and a count of all it did."""

import asyncio
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx

from api.demo.envoy import Address
from api.demo.mesh import CONSUMER_HEADER, NUMBER_HEADER, Asked, Consumer, Mesh


@dataclass(slots=True)
class Load:
    """Asks the gateway for what the consumers' plans say, at their rates, whatever it answers.

    Attributes:
        mesh: the declaration, which has the consumers.
        gateway: where to send requests.
        client: sends them.
        limit: how many requests each consumer sends; None for no end.
        pace: factor on all rates.
        asked: what was sent and answered, whatever the status.
        failed: of these, answered with a 5xx, by (consumer, path).
        unanswered: requests that got no answer at all.
    """

    mesh: Mesh
    gateway: Address
    client: httpx.AsyncClient
    limit: int | None = None
    pace: float = 1.0
    asked: Counter[Asked] = field(default_factory=Counter)
    failed: Counter[tuple[str, str]] = field(default_factory=Counter)
    unanswered: int = 0
    _numbers: defaultdict[str, Iterator[int]] = field(
        default_factory=lambda: defaultdict(lambda: itertools.count(1))
    )

    @property
    def sent(self) -> int:
        """How many requests have been answered, or failed to be."""
        return self.asked.total() + self.unanswered

    async def run(self, stop: asyncio.Event) -> None:
        """Send until every plan's limit or ``stop``; returns when all answers are in."""
        async with asyncio.TaskGroup() as group:
            for consumer in self.mesh.consumers:
                group.create_task(self._consume(consumer, stop))

    async def _consume(self, consumer: Consumer, stop: asyncio.Event) -> None:
        clock = asyncio.get_running_loop().time
        start = clock()
        interval = 1.0 / (consumer.requests_per_second * self.pace)
        ticks = itertools.count() if self.limit is None else range(self.limit)
        async with asyncio.TaskGroup() as group:
            for tick, path in zip(ticks, itertools.cycle(consumer.paths), strict=False):
                delay = start + tick * interval - clock()
                if await _stopped(stop, delay):
                    return
                group.create_task(self._ask(consumer, path, next(self._numbers[path])))

    async def _ask(self, consumer: Consumer, path: str, number: int) -> None:
        method = self.mesh.service(self.mesh.entry).endpoint(path).method
        headers = {CONSUMER_HEADER: consumer.name, NUMBER_HEADER: str(number)}
        try:
            answer = await self.client.request(
                method, f"http://{self.gateway}{path}", headers=headers
            )
        except httpx.TransportError:
            self.unanswered += 1
            return
        self.asked[Asked(consumer.name, path, number % self.mesh.period)] += 1
        if answer.status_code >= 500:
            self.failed[consumer.name, path] += 1


async def _stopped(stop: asyncio.Event, delay: float) -> bool:
    """Wait ``delay`` seconds, or less when ``stop`` is set; true when it is."""
    if delay > 0:
        try:
            async with asyncio.timeout(delay):
                await stop.wait()
        except TimeoutError:
            pass
    return stop.is_set()
