"""What every request handler works with; made once per process, passed down, never global."""

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, TypeVar

from fastapi import Depends, Header, Request
from starlette.responses import Response

from api.cache import AnswerCache
from api.encode import Format, negotiate, respond
from pipeline.bus.port import Bus
from pipeline.model.ledger import Ledger
from pipeline.store.port import Store

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Context:
    """The process as the HTTP interface sees it.

    Attributes:
        store: where answers come from.
        ledger: the counts of ingest.
        bus: what carries telemetry; None where this process has none.
        clock: the time now, UTC.
        unready: why the process does not serve yet; None once it does.
        cache: encoded answers.
        slots: bounds how many questions the store is asked at the same time.
        version: the version of Meshweir.
        started: when the process started, UTC.
    """

    store: Store
    ledger: Ledger
    bus: Bus | None
    clock: Callable[[], datetime]
    unready: Callable[[], str | None]
    cache: AnswerCache
    slots: asyncio.Semaphore
    version: str
    started: datetime = field(kw_only=True)

    async def off_loop(self, work: Callable[[], T]) -> T:
        """Run blocking work in a thread, no more at a time than there are slots."""
        async with self.slots:
            return await asyncio.to_thread(work)

    async def respond(
        self, key: Hashable, make: Callable[[], bytes], form: Format, *, lag: float = 0.0
    ) -> Response:
        """Answer with what ``make`` gives, made once per key and state of the store.

        ``make`` blocks; it runs in a thread. An answer that held ``lag`` seconds ago will do.
        """
        state = await self.off_loop(lambda: self.store.ask("state").row(0))
        body = await self.cache.get(key, state, lambda: self.off_loop(make), lag=lag)
        return respond(body, form)


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


ContextDep = Annotated[Context, Depends(_context)]
FormatDep = Annotated[Format, Depends(_format)]
