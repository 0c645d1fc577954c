"""Whether a process serves, and what a job has to do with it."""

import asyncio

import pytest

from api.readiness import Readiness
from api.watched import WatchedJob
from pipeline.errors import BusUnavailable, StoreBusy


class Scripted:
    """A job that does what it is told, one item a run."""

    name = "ingest"
    cadence = 0.2

    def __init__(self, *script):
        self.script = list(script)

    async def run(self):
        """The next of the script: an error to raise, or what to return."""
        item = self.script.pop(0)
        if isinstance(item, Exception):
            raise item
        return item


def test_it_serves_once_it_has_started_and_lacks_nothing():
    ready = Readiness()
    assert ready() == "starting"
    ready.lacks("kafka", "Kafka does not answer")
    ready.started()
    assert ready() == "Kafka does not answer"
    ready.has("kafka")
    assert ready() is None
    ready.stopping()
    assert ready() == "stopping"


def test_a_part_may_come_and_go():
    ready, away = Readiness(), [""]
    ready.started()
    ready.follows("kafka", lambda: away[0])
    assert ready() is None
    away[0] = "no broker"
    assert ready() == "no broker"


def test_readiness_follows_a_job_while_the_bus_is_away():
    ready = Readiness()
    job = WatchedJob(Scripted(True, BusUnavailable("no broker"), StoreBusy("faster"), False), ready)
    ready.started()
    assert (job.name, job.cadence) == ("ingest", 0.2)
    assert ready() == "ingest has not begun"
    assert asyncio.run(job.run()) is True
    assert ready() is None
    with pytest.raises(BusUnavailable):
        asyncio.run(job.run())
    assert ready() == "ingest: no broker"
    with pytest.raises(StoreBusy):
        asyncio.run(job.run())
    assert asyncio.run(job.run()) is False
    assert ready() is None
