"""What every request handler works with; made once per process, passed down, never global."""

import asyncio
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Annotated, Self, TypeVar

from fastapi import Depends, Header, Request
from starlette.responses import Response

from api.cache import AnswerCache
from api.encode import Format, negotiate, respond
from collectors.scrape.standing import TargetReport
from pipeline.bus.port import Bus
from pipeline.model.ledger import Ledger
from pipeline.store.port import Store

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthContext:
    """Any process as its health routes see it, whether it answers questions or not.

    Attributes:
        ledger: the counts of ingest.
        store: where positions and extent are asked for; None where this process has none.
        bus: what carries telemetry; None where this process has none.
        clock: the time now, UTC.
        unready: why the process does not serve yet; None once it does.
        slots: bounds how many questions the store is asked at the same time.
        version: the version of Meshweir.
        started: when the process started, UTC.
        targets: whom the process asks for telemetry, and how each stands.
    """

    ledger: Ledger
    store: Store | None
    bus: Bus | None
    clock: Callable[[], datetime]
    unready: Callable[[], str | None]
    slots: asyncio.Semaphore
    version: str
    started: datetime
    targets: Callable[[], Sequence[TargetReport]] = tuple

    async def off_loop(self, work: Callable[[], T]) -> T:
        """Run blocking work in a thread, no more at a time than there are slots."""
        async with self.slots:
            return await asyncio.to_thread(work)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context(HealthContext):
    """A process that answers questions.

    Attributes:
        store: where answers come from.
        cache: encoded answers.
        aliases: for names that an operator configured the node ids they stand for.
    """

    store: Store
    cache: AnswerCache
    aliases: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def answering(
        cls,
        health: HealthContext,
        store: Store,
        cache: AnswerCache,
        aliases: Mapping[str, str],
    ) -> Self:
        """What ``health`` has, and what answers are made of."""
        told = {one.name: getattr(health, one.name) for one in fields(health)}
        return cls(**(told | {"store": store, "cache": cache, "aliases": aliases}))

    async def respond(
        self, key: Hashable, make: Callable[[], bytes], form: Format, *, lag: float = 0.0
    ) -> Response:
        """Answer with what ``make`` gives, made once per key and state of the store.

        ``make`` blocks; it runs in a thread. An answer that held ``lag`` seconds ago will do.
        """
        state = await self.off_loop(lambda: self.store.ask("state").row(0))
        body = await self.cache.get(key, state, lambda: self.off_loop(make), lag=lag)
        return respond(body, form)


def _health(request: Request) -> HealthContext:
    context: HealthContext = request.app.state.context
    return context


def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


def _format(
    accept: Annotated[
        str | None,
        Header(
            description="`application/json` (default) or `application/vnd.apache.arrow.stream`.",
            examples=["application/json"],
        ),
    ] = None,
) -> Format:
    return negotiate(accept)


HealthDep = Annotated[HealthContext, Depends(_health)]
ContextDep = Annotated[Context, Depends(_context)]
FormatDep = Annotated[Format, Depends(_format)]
