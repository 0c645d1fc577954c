"""What a replay plans, and how patient it is; what it does is in ``tests/contract``."""

import asyncio
from datetime import UTC, datetime

import pytest

from pipeline.bus.embedded import EmbeddedBus
from pipeline.errors import BusUnavailable, StoreBusy
from pipeline.jobs import replay as module
from pipeline.jobs.ingest import IngestJob
from pipeline.jobs.minutes import MinutesJob
from pipeline.jobs.replay import Reason, Replay, ingested, plan
from pipeline.model.ledger import Ledger
from pipeline.model.messages import OffsetRange, Partition
from pipeline.model.runs import FINAL, NEVER, Run
from pipeline.model.topics import OTLP_SPANS
from pipeline.store import open_store
from tests.collectors.payloads import traces

P, Q = Partition("otlp_spans"), Partition("otlp_logs", 2)


def test_a_slice_is_planned_with_all_its_runs():
    known = [Run(P, 0, 5, 1), Run(Q, 0, 9, 1), Run(P, 5, 8, 2), Run(P, 8, 9, None)]
    planned = plan([Run(P, 4, 20)], known)
    assert planned.slices == {1: [Run(P, 0, 5, 1), Run(Q, 0, 9, 1)], 2: [Run(P, 5, 8, 2)]}
    assert planned.free == [Run(P, 8, 9, None), Run(P, 9, 20, NEVER)]
    assert planned.messages == 5 + 9 + 3 + 1 + 11


def test_what_is_final_is_not_decoded():
    planned = plan([Run(P, 0, 9)], [Run(P, 0, 5, FINAL)])
    assert planned == ({}, [Run(P, 5, 9, NEVER)], [Run(P, 0, 5, FINAL)])


def test_what_is_not_in_the_store_yet_is_left_to_ingest():
    found = {P: OffsetRange(3, 9), Q: OffsetRange(0, 4)}
    assert ingested(found, {P: 5}) == [Run(P, 3, 5)]
    assert ingested(found, {P: 3, Q: 9}) == [Run(Q, 0, 4)]


@pytest.fixture
def filled(tmp_path):
    """A loop, a bus and a store with two slices of one message each."""
    store = open_store(tmp_path / "store")
    with asyncio.Runner() as runner:
        bus = EmbeddedBus(tmp_path / "bus")

        async def fill():
            await bus.start()
            job = IngestJob(bus, store, Ledger())
            for spans in (2, 3):
                await bus.publish(OTLP_SPANS, traces(spans).SerializeToString(), {})
                await job.run()

        runner.run(fill())
        yield runner, bus, store
        runner.run(bus.stop())
    store.close()


def test_only_what_the_bus_stored_in_the_time_is_replayed(filled):
    runner, bus, store = filled
    now = int(datetime.now(UTC).timestamp() * 1e9)
    hour = 3_600 * 10**9
    replay = Replay(bus, store)
    assert runner.run(replay.between(now - 2 * hour, now - hour)).messages == 0
    report = runner.run(replay.between(now - hour, now + hour))
    assert (report.slices, report.messages, report.rows_before, report.rows) == (2, 2, 5, 5)


def test_progress_goes_from_nothing_to_all_messages(filled):
    runner, bus, store = filled
    told = []
    replay = Replay(bus, store, on_progress=lambda done, total: told.append((done, total)))
    runner.run(replay.over([Run(P, 0, 2)]))
    assert told == [(0, 2), (1, 2), (2, 2)]


def test_who_was_overtaken_tries_again(filled, monkeypatch):
    runner, bus, store = filled
    rewrite, left = store.rewrite, [StoreBusy("faster", retry_after=0), BusUnavailable("away")]
    left[1].retry_after = 0.0

    def overtaken(runs, batches):
        if left:
            raise left.pop()
        return rewrite(runs, batches)

    monkeypatch.setattr(store, "rewrite", overtaken)
    assert runner.run(Replay(bus, store).over([Run(P, 0, 1)])).slices == 1


def test_patience_ends(filled, monkeypatch):
    runner, bus, store = filled

    def overtaken(runs, batches):
        raise StoreBusy("faster", retry_after=0)

    monkeypatch.setattr(module, "PAUSES", (0.0, 0.0))
    monkeypatch.setattr(store, "rewrite", overtaken)
    with pytest.raises(StoreBusy, match="faster"):
        runner.run(Replay(bus, store).over([Run(P, 0, 1)]))


def test_a_slice_that_retention_takes_meanwhile_is_told(filled, monkeypatch):
    runner, bus, store = filled
    known = store.runs([Run(P, 0, 2)])
    runner.run(MinutesJob(store).settle())
    before = store.runs
    answers = [known]
    monkeypatch.setattr(store, "runs", lambda wanted: answers.pop() if answers else before(wanted))
    store.retire(now=2**62)
    report = runner.run(Replay(bus, store).over([Run(P, 0, 2)]))
    assert {reason for _, reason in report.skipped} == {Reason.FINAL}
    assert (report.slices, report.messages) == (0, 0)
