"""Runs jobs, each in its own task; one job's failure never stops another, nor itself for long."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence

from pipeline.errors import Transient
from pipeline.jobs.job import Job
from pipeline.jobs.repeated import Repeated

log = logging.getLogger(__name__)

FAILURE_PAUSE = 5.0
"""Seconds a job rests after an error nobody foresaw, so that a broken one does not fill the log."""


class Scheduler:
    """Runs every job again and again until told to stop, then lets the run under way finish."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = jobs
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Ask all jobs to end after the run they are in."""
        self._stopping.set()

    async def run(self) -> None:
        """Run all jobs until ``stop`` is called; returns when the last one has ended."""
        async with asyncio.TaskGroup() as group:
            for job in self._jobs:
                group.create_task(self._repeat(job), name=job.name)

    async def _repeat(self, job: Job) -> None:
        troubles = Repeated()
        while not self._stopping.is_set():
            pause = await self._once(job, troubles)
            if pause:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), pause)

    async def _once(self, job: Job, troubles: Repeated) -> float:
        try:
            more = await job.run()
        except Transient as problem:
            if troubles.worth_saying(str(problem)):
                log.warning("%s: %s; trying again", job.name, problem)
            return max(problem.retry_after, job.cadence)
        except Exception:
            log.exception("%s failed; trying again in %.0f s", job.name, FAILURE_PAUSE)
            return FAILURE_PAUSE
        if troubles.over():
            log.info("%s goes on", job.name)
        return 0.0 if more else job.cadence
