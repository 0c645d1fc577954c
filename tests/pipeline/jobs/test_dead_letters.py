"""Messages that could not be decoded, set aside where other programs see them."""

import asyncio

import pytest

from pipeline.errors import BusUnavailable, MessageTooLarge
from pipeline.jobs.dead_letters import HEADERS
from pipeline.jobs.ingest import IngestJob
from pipeline.model.ledger import Ledger
from pipeline.model.messages import Partition
from pipeline.model.topics import OTLP_SPANS
from tests.collectors.payloads import traces
from tests.pipeline.jobs.ingesting import published, settle, told, with_secret


async def set_aside(tmp_path, store, *messages, **how):
    async with published(tmp_path, *messages, **how) as bus:
        await settle(IngestJob(bus, store, Ledger()))
        return bus.aside


def test_what_was_refused_is_set_aside_with_headers_that_say_why(tmp_path, store):
    broken = (OTLP_SPANS, b"\x0a\xff", told(5))
    good = (OTLP_SPANS, traces(2).SerializeToString(), told(2))
    partly = (OTLP_SPANS, traces(1, wrong_ids=2).SerializeToString(), told(3, rejected=2))
    aside = asyncio.run(set_aside(tmp_path, store, broken, good, partly))
    assert [message.value for message, _ in aside] == [broken[1], partly[1]]
    whole, records = [dict(headers) for _, headers in aside]
    assert tuple(whole) == HEADERS
    assert whole == {
        "reason": "ends in the middle of a field", "byte_offset": "0", "topic": OTLP_SPANS,
        "partition": "0", "offset": "0", "format": "otlp_traces", "refused_records": "5",
        "whole": "true",
    }  # fmt: skip
    assert records["reason"] == "trace id is not 16 bytes"
    assert (records["offset"], records["refused_records"], records["whole"]) == ("2", "2", "false")
    assert aside[0][0].headers == broken[2]


def test_messages_of_others_are_set_aside_masked(tmp_path, store):
    request = with_secret("hunter2")
    request.MergeFrom(traces(0, wrong_ids=1))
    body = request.SerializeToString()
    ((message, headers),) = asyncio.run(set_aside(tmp_path, store, (OTLP_SPANS, body, {})))
    assert len(message.value) == len(body)
    assert b"hunter2" not in message.value
    assert headers["whole"] == "false"


def test_a_batch_waits_for_the_bus_to_set_its_bad_messages_aside(tmp_path, store):
    async def run():
        messages = [(OTLP_SPANS, b"\x0a\xff", told(1)), (OTLP_SPANS, b"", told(0))]
        async with published(tmp_path, *messages, away=[BusUnavailable("away")]) as bus:
            job = IngestJob(bus, store, Ledger())
            with pytest.raises(BusUnavailable):
                await job.run()
            assert (store.positions(), store.ask("quarantine", limit=9).height) == ({}, 0)
            await settle(job)
            assert len(bus.aside) == 1

    asyncio.run(run())
    assert store.positions() == {Partition(OTLP_SPANS): 2}
    assert store.ask("quarantine", limit=9).height == 1


def test_a_message_that_can_never_be_set_aside_does_not_hold_up_its_partition(tmp_path, store):
    never = MessageTooLarge(size=2, limit=1)
    assert not asyncio.run(
        set_aside(tmp_path, store, (OTLP_SPANS, b"\x0a\xff", told(1)), away=[never])
    )
    assert store.ask("quarantine", limit=9).height == 1
