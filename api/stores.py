"""The store of a data directory, opened as several processes need it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

from api.readiness import Readiness
from api.settings import Settings
from pipeline.errors import MeshweirError, StoreBusy
from pipeline.jobs.repeated import Repeated
from pipeline.store import Backend, open_store
from pipeline.store.port import Store

log = logging.getLogger(__name__)


def is_shared(settings: Settings, prefer: Backend = Backend.FILE) -> bool:
    """Whether several processes may have the store at once; ``prefer`` decides for a new one."""
    from pipeline.store.attach import chosen  # noqa: PLC0415 - imports DuckDB

    return chosen(settings.data, settings.store, prefer) is Backend.DUCKLAKE


@asynccontextmanager
async def opened_store(
    settings: Settings,
    ready: Readiness | None = None,
    *,
    prefer: Backend = Backend.FILE,
    writes: bool = True,
) -> AsyncIterator[Store]:
    """Open the store; close it at the end.

    A store that several processes share may not be made yet, or its catalog may not answer yet:
    that is waited for. A DuckDB file that another process holds is not.

    Args:
        settings: where it is.
        ready: lacks the store while it is waited for.
        prefer: where to keep rows in a new data directory, unless that is set.
        writes: whether this process writes rows.

    Raises:
        StoreBusy: another process holds the data directory.
        StoreIncompatible: the store is not of this version.
    """
    shared = is_shared(settings, prefer)
    opener = partial(
        open_store, settings.data, settings.store, prefer=prefer, read_only=shared and not writes
    )
    if shared:
        store = await _open_patiently(opener, ready or Readiness())
    else:
        store = await _open(opener)
    try:
        yield store
    finally:
        await asyncio.to_thread(store.close)


async def _open_patiently(opener: Callable[[], Store], ready: Readiness) -> Store:
    troubles = Repeated()
    while True:
        try:
            store = await _open(opener)
        except StoreBusy as problem:
            ready.lacks("store", f"the store does not answer: {problem}")
            if troubles.worth_saying(str(problem)):
                log.warning("waiting for the store: %s; trying again", problem)
            await asyncio.sleep(problem.retry_after)
        else:
            ready.has("store")
            return store


async def _open(opener: Callable[[], Store]) -> Store:
    opening = asyncio.ensure_future(asyncio.to_thread(opener))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        # the thread goes on: what it opens is closed
        with suppress(MeshweirError):
            await asyncio.to_thread((await opening).close)
        raise
