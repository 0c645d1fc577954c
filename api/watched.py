"""Lets the readiness of a process follow a job."""

from api.readiness import Readiness
from pipeline.errors import BusUnavailable
from pipeline.jobs.job import Job


class WatchedJob:
    """A job that the process is not ready without: before its first run, and with no bus."""

    def __init__(self, job: Job, ready: Readiness) -> None:
        self._job = job
        self._ready = ready
        ready.lacks(job.name, f"{job.name} has not begun")

    @property
    def name(self) -> str:
        """The job's own name."""
        return self._job.name

    @property
    def cadence(self) -> float:
        """The job's own cadence, seconds."""
        return self._job.cadence

    async def run(self) -> bool:
        """Run the job once."""
        try:
            more = await self._job.run()
        except BusUnavailable as problem:
            self._ready.lacks(self.name, f"{self.name}: {problem}")
            raise
        self._ready.has(self.name)
        return more
