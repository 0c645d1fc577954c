"""Computing the graph anew before a command ends, by this process or by the one that analyses."""

import asyncio
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import polars as pl

from pipeline.analyze.openapi import Paths
from pipeline.errors import Transient
from pipeline.jobs.minutes import MinutesJob
from pipeline.store.port import Store

LOOK_SECONDS: Final = 0.5
"""Pause between looks at what another process still has to recompute."""


async def settle(
    store: Store, *, patience: float, documents: Mapping[str, Paths] = MappingProxyType({})
) -> bool:
    """Recompute what is stale now, or wait until the process that holds the lease has done so.

    What becomes stale meanwhile, because others go on writing, is not waited for.

    Args:
        store: may be shared with others.
        patience: seconds to wait for others; what this process computes itself it ends.
        documents: OpenAPI documents of services.

    Returns:
        False when others were not done in time: they go on by themselves.
    """
    until = time.monotonic() + patience
    mark = await asyncio.to_thread(_last_number, store)
    job = MinutesJob(store, documents)
    while True:
        try:
            await job.catch_up()
            if not await asyncio.to_thread(_stale, store, mark):
                return True
        except Transient as problem:
            await asyncio.sleep(problem.retry_after)
        if time.monotonic() >= until:
            return False
        if not store.leads:
            await asyncio.sleep(LOOK_SECONDS)


def _last_number(store: Store) -> int:
    """The highest number given to a slice or a rewrite."""
    return int(store.ask("state")["slices"][0])


def _stale(store: Store, mark: int) -> bool:
    """Whether something is stale for a cause up to a number."""
    unnoticed = store.unnoticed()
    causes = pl.concat([store.dirty()["cause"], store.stale_minutes()["cause"]])
    return any(number <= mark for number in unnoticed) or bool((causes <= mark).any())
