"""From the bus into the store: what is kept, what is set aside, and what is counted."""

import asyncio
import base64

import pytest

from pipeline.bus.embedded import EmbeddedBus
from pipeline.jobs.ingest import IngestJob
from pipeline.model.ledger import Flow, Ledger, Outcome
from pipeline.model.topics import OTLP_SPANS, RAW_TELEMETRY
from pipeline.store import open_store
from tests.collectors.payloads import traces

SPANS = Flow("otlp_http", "spans")


@pytest.fixture
def store(tmp_path):
    opened = open_store(tmp_path / "store")
    yield opened
    opened.close()


def ingested(tmp_path, store, *messages):
    """Publish messages of (topic, bytes, headers) and ingest them; the ledger."""
    ledger = Ledger()

    async def run():
        bus = EmbeddedBus(tmp_path / "bus")
        await bus.start()
        for topic, value, headers in messages:
            await bus.publish(topic, value, headers)
        job = IngestJob(bus, store, ledger)
        while await job.run():
            pass
        await bus.stop()

    asyncio.run(run())
    return ledger.snapshot()


def told(records, rejected=0):
    return {
        "source": "otlp_http",
        "records": str(records),
        "rejected": str(rejected),
        "received_at": "1790000000000000000",
    }


def test_good_records_are_stored_and_counted(tmp_path, store):
    body = traces(3).SerializeToString()
    counts = ingested(tmp_path, store, (OTLP_SPANS, body, told(3)))[SPANS]
    assert counts.outcomes == {Outcome.STORED: 3}
    assert counts.received_at_ns == 1790000000000000000
    assert store.ask("pair_spans", slices=[1]).height == 3


def test_what_was_rejected_at_the_door_is_not_counted_as_quarantined_again(tmp_path, store):
    body = traces(3, wrong_ids=1).SerializeToString()
    counts = ingested(tmp_path, store, (OTLP_SPANS, body, told(4, rejected=1)))[SPANS]
    assert counts.outcomes == {Outcome.STORED: 3}
    assert store.ask("pair_spans", slices=[1]).height == 3
    assert store.ask("quarantine", limit=9)["records"].to_list() == [1]


def test_messages_of_others_need_no_headers(tmp_path, store):
    body = traces(2, wrong_ids=1).SerializeToString()
    flows = ingested(tmp_path, store, (OTLP_SPANS, body, {}))
    assert flows[Flow("kafka", "spans")].outcomes[Outcome.QUARANTINED] == 1


def test_a_message_that_is_no_protobuf_is_set_aside_whole_and_the_rest_goes_in(tmp_path, store):
    good = traces(2).SerializeToString()
    counts = ingested(
        tmp_path, store, (OTLP_SPANS, b"\x0a\xff", told(5)), (OTLP_SPANS, good, told(2))
    )[SPANS]
    assert counts.outcomes == {Outcome.STORED: 2, Outcome.QUARANTINED: 5}
    (row,) = store.ask("quarantine", limit=9).to_dicts()
    assert base64.b64decode(row["payload"]) == b"\x0a\xff"
    assert (row["records"], row["byte_offset"] is not None, row["position"]) == (5, True, 0)


def test_a_format_nobody_knows_is_set_aside(tmp_path, store):
    headers = {"format": "semaphore", "source": "tower"}
    flows = ingested(tmp_path, store, (RAW_TELEMETRY, b"..", headers))
    assert flows[Flow("tower", "unknown")].reasons == {(Outcome.QUARANTINED, "unknown format"): 1}


def test_a_second_process_goes_on_where_the_first_stopped(tmp_path, store):
    body = traces(2).SerializeToString()
    ingested(tmp_path, store, (OTLP_SPANS, body, told(2)))
    flows = ingested(tmp_path, store, (OTLP_SPANS, body, told(2)))
    assert flows[SPANS].outcomes == {Outcome.STORED: 2}
    assert sorted(store.positions().values()) == [2]
