"""Keeps the files of the store few and large enough to be read fast."""

import asyncio
import logging
import time

from pipeline.store.port import Store

log = logging.getLogger(__name__)


class CompactJob:
    """Merges small files and deletes old ones, where this process analyses."""

    name = "compact"

    def __init__(self, store: Store, *, cadence: float = 15.0) -> None:
        self._store = store
        self.cadence = cadence

    async def run(self) -> bool:
        """Compact once: a bounded piece, so that others get their turn before the next."""
        if not self._store.leads:
            return False
        merged = await asyncio.to_thread(self._store.compact, now=time.time_ns())
        for table, files in merged.items():
            log.debug("%d files of %s were merged", files, table)
        return False
