"""A batch is decoded in parts, so that bad records of a few bytes take no more than good ones."""

import tracemalloc
from collections import Counter

import pytest
from hypothesis import given, strategies as st

from pipeline.decode import DECODERS
from pipeline.jobs.decode_parts import PART_RECORDS, TOLD_BYTES, TOLD_FEWEST, parts_of, told
from pipeline.jobs.decoding import decode_messages, quarantine_rows
from pipeline.model.decoded import Refusal
from pipeline.model.messages import Message, Partition
from pipeline.model.topics import LINE_FORMATS, RAW_TELEMETRY
from tests.fuzz.seeds import seeds

LINES = 1024
"""As many as a message may have at the door, however short they are."""
FEW = 8 * LINES
BYTES = 2048
"""What a record of two bytes may take while a part is decoded."""
LEFT_BYTES = 16 << 10
"""What of each message may be left of it: what is told of the first of its bad records."""


def messages_of(values: list[bytes], format_name: str) -> list[Message]:
    headers = {"format": format_name, "source": "tail"}
    return [
        Message(Partition(RAW_TELEMETRY), offset, value, headers)
        for offset, value in enumerate(values)
    ]


def peak_of(messages: list[Message]) -> tuple[int, int]:
    """Bytes that were held to decode messages and to tell of them, and records set aside."""
    tracemalloc.start()
    try:
        refused = decode_messages(messages).refused
        rows = quarantine_rows(refused)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert rows.num_rows <= len(messages) * (TOLD_FEWEST + 2 * LINES // TOLD_BYTES + 2)
    return peak, sum(one.records for one in refused)


@pytest.mark.parametrize("name", LINE_FORMATS)
def test_many_short_bad_records_take_no_more_than_a_part_of_them(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.jobs.decode_parts.PART_RECORDS", FEW)
    piece = b"{}" if name == "kong_json" else b"x\n"
    decode_messages(messages_of([piece], name))  # what must be compiled is
    few = messages_of([piece * LINES] * 2 * (FEW // LINES - 1), name)
    many = messages_of([piece * LINES] * (4 * len(few)), name)
    peak, records = peak_of(few)
    more, all_records = peak_of(many)
    assert all_records == 4 * records
    assert peak < FEW * BYTES
    assert more < peak + LEFT_BYTES * len(many)


@pytest.mark.parametrize("name", LINE_FORMATS)
def test_parts_give_the_rows_of_the_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values = [*seeds()[name], b"bad\n{}\n"] * 3
    whole = DECODERS[name](values)
    monkeypatch.setattr("pipeline.jobs.decode_parts.PART_RECORDS", 3)
    decoded = decode_messages(messages_of(values, name))
    rows = decoded.batches
    assert {table: batch.num_rows for table, batch in rows.items() if table == "access_logs"} == {
        table: batch.num_rows for table, batch in whole.batches.items() if table == "access_logs"
    }
    assert Counter(one.message.offset for one in decoded.refused) == Counter(
        one.message for one in whole.refused
    )


@given(st.lists(st.integers(0, 5), max_size=30), st.integers(1, 8))
def test_parts_hold_every_message_once_in_order(lines: list[int], most: int) -> None:
    messages = messages_of([b"x\n" * count for count in lines], "combined")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("pipeline.jobs.decode_parts.PART_RECORDS", most)
        parts = list(parts_of("combined", messages))
    assert [one for part in parts for one in part] == messages
    for part in parts:
        assert len(part) <= 1 or sum(1 + one.value.count(b"\n") for one in part) <= most


def test_formats_that_are_no_lines_stay_whole() -> None:
    messages = messages_of([b"\n" * PART_RECORDS] * 3, "otlp_traces")
    assert list(parts_of("otlp_traces", messages)) == [messages]


@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from("ab"), st.integers(1, 4)), max_size=90)
)
def test_what_is_told_together_keeps_its_records(some: list[tuple[int, str, int]]) -> None:
    messages = messages_of([b"", b"x" * TOLD_BYTES, b"x" * TOLD_BYTES * 100], "combined")
    refused = [Refusal(message, reason, 0, records) for message, reason, records in some]
    refused.sort(key=lambda one: one.message)
    found = told(refused, messages)
    assert _sums(found) == _sums(refused)
    counts = Counter(one.message for one in found)
    assert counts[0] <= TOLD_FEWEST + 2
    assert counts[1] <= TOLD_FEWEST + 3
    assert counts[2] == sum(one.message == 2 for one in refused)


def _sums(refused: list[Refusal]) -> Counter[tuple[int, str]]:
    sums: Counter[tuple[int, str]] = Counter()
    for one in refused:
        sums[one.message, one.reason] += one.records
    return sums
