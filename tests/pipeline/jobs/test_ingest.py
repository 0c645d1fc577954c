"""From the bus into the store: what is kept, what is set aside, and what is counted."""

import asyncio
import base64
import logging

from pipeline.decode import DECODERS
from pipeline.errors import PartitionsMoved, StoreBusy
from pipeline.jobs import decoding
from pipeline.jobs.ingest import IngestJob
from pipeline.model.ledger import Flow, Ledger, Outcome
from pipeline.model.messages import Partition
from pipeline.model.topics import OTLP_LOGS, OTLP_SPANS, RAW_TELEMETRY
from tests.collectors.payloads import traces
from tests.pipeline.jobs.ingesting import ingested, published, settle, told

SPANS = Flow("otlp_http", "spans")
KAFKA = Flow("kafka", "spans")


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


def test_other_partitions_are_read_from_where_the_store_stands_at_once(tmp_path, store, caplog):
    async def run():
        body = traces(2).SerializeToString()
        async with published(tmp_path, (OTLP_SPANS, body, told(2))) as bus:
            job = IngestJob(bus, store, Ledger())
            await settle(job)
            # another worker had the partition for a while, and now it is ours again
            await bus.publish(OTLP_SPANS, body, told(2))
            await settle(IngestJob(bus, store, Ledger()))
            await bus.publish(OTLP_SPANS, body, told(2))
            bus.troubles.append(PartitionsMoved("otlp_spans/0 is this reader's"))
            assert await job.run(), "to be run again without a pause"
            await settle(job)

    with caplog.at_level(logging.INFO):
        asyncio.run(run())
    assert store.positions() == {Partition(OTLP_SPANS): 3}
    assert store.ask("pair_spans", slices=[1, 2, 3]).height == 6
    assert {record.levelname for record in caplog.records if "ingest" in record.name} == {"INFO"}


def test_a_worker_that_was_overtaken_writes_nothing_and_goes_on_from_the_store(tmp_path, store):
    ledger = Ledger()

    async def run():
        body = traces(2).SerializeToString()
        async with published(tmp_path, (OTLP_SPANS, body, told(2))) as bus:
            slow = IngestJob(bus, store, ledger)
            await settle(slow)
            await bus.publish(OTLP_SPANS, body, told(2))
            await settle(IngestJob(bus, store, Ledger()))
            await bus.publish(OTLP_SPANS, body, told(2))
            assert not await slow.run()
            await settle(slow)

    asyncio.run(run())
    assert ledger.overtaken == 1
    assert ledger.snapshot()[SPANS].outcomes == {Outcome.STORED: 4}
    assert store.ask("pair_spans", slices=[1, 2, 3]).height == 6


def test_only_partitions_of_the_batch_are_compared(tmp_path, store):
    async def run():
        ours = traces(2).SerializeToString()
        async with published(tmp_path, (OTLP_SPANS, ours, told(2))) as bus:
            job = IngestJob(bus, store, Ledger())
            await settle(job)
            # another worker moves a partition that this one does not read
            store.write({}, expected={}, positions={Partition(OTLP_LOGS, 3): 7})
            await bus.publish(OTLP_SPANS, ours, told(2))
            await settle(job)

    asyncio.run(run())
    assert store.positions() == {Partition(OTLP_SPANS): 2, Partition(OTLP_LOGS, 3): 7}


def test_that_others_were_faster_is_logged_once_in_a_while(tmp_path, store, caplog):
    ledger = Ledger()

    async def run():
        busy = [StoreBusy("another writer was faster") for _ in range(5)]
        async with published(tmp_path, troubles=busy) as bus:
            job = IngestJob(bus, store, ledger)
            for _ in range(5):
                assert not await job.run()

    asyncio.run(run())
    assert ledger.overtaken == 5
    assert sum("another writer was faster" in text for text in caplog.messages) == 1


def test_a_decoder_that_fails_costs_the_one_message(tmp_path, store, monkeypatch, caplog):
    true_decoder = DECODERS["otlp_traces"]

    def brittle(values):
        if b"poison" in b"".join(values):
            raise ZeroDivisionError("nobody foresaw this")
        return true_decoder(values)

    monkeypatch.setattr(decoding, "DECODERS", {"otlp_traces": brittle})
    monkeypatch.setattr(decoding, "_told", set())
    good = (OTLP_SPANS, traces(2).SerializeToString(), told(2))
    poison = (OTLP_SPANS, b"poison", told(3))
    counts = ingested(tmp_path, store, good, poison, good, good, poison)[SPANS]
    assert counts.outcomes == {Outcome.STORED: 6, Outcome.QUARANTINED: 6}
    assert counts.reasons == {(Outcome.QUARANTINED, "decoder failed: ZeroDivisionError"): 6}
    rows = store.ask("quarantine", limit=9)
    assert sorted(rows["position"]) == [1, 4]
    (told_once,) = [record for record in caplog.records if "decoder failed" in record.message]
    assert "nobody foresaw this" in str(told_once.exc_info)
    assert store.positions() == {Partition(OTLP_SPANS): 5}
