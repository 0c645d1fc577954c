"""What was set aside is decoded again: from the bus, or from the table once it left the bus."""

import asyncio
import shutil

import pytest

from pipeline.bus.embedded import EmbeddedBus
from pipeline.decode import DECODERS
from pipeline.jobs import decoding
from pipeline.jobs.decoding import KEPT_PAYLOAD
from pipeline.jobs.ingest import IngestJob
from pipeline.jobs.replay import Reason, Replay
from pipeline.jobs.retry import retry
from pipeline.model.decoded import Decoded, Refusal
from pipeline.model.ledger import Ledger
from pipeline.model.messages import Partition
from pipeline.model.runs import Run
from pipeline.model.topics import OTLP_LOGS, OTLP_SPANS
from pipeline.store import open_store
from tests.collectors.payloads import logs, traces

P = Partition(OTLP_SPANS)
LARGE = traces(3, pad=KEPT_PAYLOAD).SerializeToString()


def no_spans_of_five(values):
    """A decoder with a defect: requests that are large, or of five spans, are beyond it."""
    decode = DECODERS["otlp_traces"]
    answers = [decode([value]) for value in values]
    bad = [
        index
        for index, answer in enumerate(answers)
        if answer.batches["spans"].num_rows == 5 or len(values[index]) > KEPT_PAYLOAD
    ]
    good = [value for index, value in enumerate(values) if index not in bad]
    kept = decode(good).batches if good else {}
    return Decoded(kept, tuple(Refusal(index, "five", whole=True) for index in bad))


class Place:
    """A bus and a store, filled in bursts by decoders with a defect."""

    def __init__(self, directory, runner):
        self.directory = directory
        self.run = runner.run
        self.store = open_store(directory / "store")
        self.bus = EmbeddedBus(directory / "bus")
        self.run(self.bus.start())

    def fill(self, *bursts):
        """Publish and ingest messages, burst by burst."""

        async def work():
            job = IngestJob(self.bus, self.store, Ledger())
            for burst in bursts:
                for topic, value in burst:
                    await self.bus.publish(topic, value, {"source": "otlp_http", "records": "5"})
                await job.run()

        self.run(work())

    def forget_messages(self):
        """Begin with an empty bus, as after the loss of its disk; offsets go on."""
        self.run(self.bus.stop())
        shutil.rmtree(self.directory / "bus")
        self.bus = EmbeddedBus(self.directory / "bus")
        self.run(self.bus.start())
        self.run(self.bus.consumed(self.store.positions()))

    def rows(self):
        """What is set aside."""
        return self.store.ask(
            "quarantined", reason=None, ids=None, payload=True, limit=None, offset=0
        )

    def retry(self):
        """Try everything again."""
        replay = Replay(self.bus, self.store)
        return self.run(retry(replay, self.store, self.rows(), batch_bytes=1))

    def spans(self):
        """How many spans each slice has."""
        spans = self.store.ask("pair_spans", slices=list(range(1, 99)))
        return dict(spans.group_by("slice").len().sort("slice").iter_rows())

    def close(self):
        """Stop the bus and close the store."""
        self.run(self.bus.stop())
        self.store.close()


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Five spans beside two good ones in slice 1; five alone without a slice; a torn message."""
    with asyncio.Runner() as runner:
        made = Place(tmp_path, runner)
        two, five = (traces(count).SerializeToString() for count in (2, 5))
        with monkeypatch.context() as before:
            odd = {**DECODERS, "otlp_traces": no_spans_of_five}
            before.setattr(decoding, "DECODERS", odd)
            made.fill(
                [(OTLP_SPANS, two), (OTLP_SPANS, five)],
                [(OTLP_SPANS, five)],
                [(OTLP_LOGS, b"\x0a\xff"), (OTLP_LOGS, logs(1).SerializeToString())],
                [(OTLP_SPANS, LARGE)],
            )
        assert made.spans() == {1: 2}
        yield made
        made.close()


def test_a_message_of_a_slice_goes_into_it_and_one_of_none_becomes_a_new_one(place):
    done = place.retry()
    assert done.accepted == ["otlp_spans/0/3", "otlp_spans/0/2", "otlp_spans/0/1"]
    assert done.staying["message"].to_list() == ["otlp_logs/0/0"]
    assert sum(place.spans().values()) == 2 + 5 + 5 + 3
    assert place.spans()[1] == 7
    assert (done.report.slices, done.report.new_slices) == (2, 1)
    assert {run.slice for run in place.store.runs([Run(P, 2, 4)])} == {max(place.spans())}


def test_retrying_twice_changes_nothing(place):
    place.retry()
    before = place.spans()
    done = place.retry()
    assert (done.accepted, place.spans()) == ([], before)
    assert done.staying["reason"].to_list() == ["ends in the middle of a field"]


def test_what_the_bus_has_no_more_is_read_from_the_table_where_that_kept_it_whole(place):
    place.forget_messages()
    done = place.retry()
    assert done.accepted == ["otlp_spans/0/2", "otlp_spans/0/1"]
    assert done.staying["message"].to_list() == ["otlp_spans/0/3", "otlp_logs/0/0"]
    assert {reason for _, reason in done.report.skipped} == {Reason.NOT_KEPT}
    assert sum(place.spans().values()) == 2 + 5 + 5
    assert place.spans()[1] == 2
    again = place.retry()
    assert (again.accepted, sum(place.spans().values())) == ([], 12)
