"""Lets go of what is past its age."""

import asyncio
import logging
import time

from pipeline.store.port import Store

log = logging.getLogger(__name__)


class RetireJob:
    """Deletes rows past the ages of the store's settings, and says how many."""

    name = "retire"

    def __init__(self, store: Store, *, cadence: float = 600.0) -> None:
        self._store = store
        self.cadence = cadence

    async def run(self) -> bool:
        """Retire once, where this process analyses; never more is due at once."""
        if not self._store.leads:
            return False
        gone = await asyncio.to_thread(self._store.retire, now=time.time_ns())
        for table, rows in gone.items():
            if rows:
                log.info("%d rows of %s were past their age and deleted", rows, table)
        return False
