"""Messages into batches of rows, and what was refused: one way, for ingest and for replay."""

import base64
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

import pyarrow as pa

from pipeline.decode import DECODERS
from pipeline.errors import DecodeError
from pipeline.model.decoded import Decoded, Refusal
from pipeline.model.ledger import Flow
from pipeline.model.messages import Message, OffsetRange, Partition
from pipeline.model.tables import QUARANTINE
from pipeline.model.topics import (
    FORMAT_HEADER,
    FORMAT_SIGNAL,
    RECEIVED_AT_HEADER,
    RECORDS_HEADER,
    SOURCE_HEADER,
    TOPIC_FORMAT,
)

KEPT_PAYLOAD: Final = 64 * 2**10
"""Bytes of an undecodable message that are kept beside its reason."""

UNKNOWN_FORMAT: Final = "unknown format"


class Refused(NamedTuple):
    """A message that was refused, or of which records were; the format it was read as, and why."""

    message: Message
    format: str
    refusal: Refusal

    @property
    def records(self) -> int:
        """How many records it stands for: of a whole message, what its header says."""
        if self.refusal.whole:
            return number_of(self.message, RECORDS_HEADER, default=1)
        return self.refusal.records


@dataclass(frozen=True, slots=True)
class DecodedMessages:
    """What messages of any formats were decoded to.

    Attributes:
        batches: table name to rows; raw and interned tables.
        refused: what was set aside.
    """

    batches: Mapping[str, pa.Table]
    refused: Sequence[Refused]


def decode_messages(messages: Sequence[Message]) -> DecodedMessages:
    """Decode messages, each by its format; a message that cannot be decoded costs only itself."""
    parts: defaultdict[str, list[pa.Table]] = defaultdict(list)
    refused: list[Refused] = []
    for format_name, group in _by_format(messages).items():
        decoded = _decode(format_name, [message.value for message in group])
        for table, rows in decoded.batches.items():
            parts[table].append(rows)
        refused += [
            Refused(group[refusal.message], format_name, refusal) for refusal in decoded.refused
        ]
    return DecodedMessages(
        {name: pa.concat_tables(tables) for name, tables in parts.items()}, refused
    )


def quarantine_rows(refused: Sequence[Refused]) -> pa.Table:
    """What was refused as rows of the table ``quarantine``."""
    rows = [
        {
            "received_at": _received_at(one.message),
            "topic": one.message.partition.topic,
            "partition": one.message.partition.number,
            "position": one.message.offset,
            "format": one.format,
            "source": one.message.headers.get(SOURCE_HEADER),
            "reason": one.refusal.reason,
            "byte_offset": one.refusal.offset,
            "records": one.records,
            "payload": base64.b64encode(one.message.value[:KEPT_PAYLOAD]).decode()
            if one.refusal.whole
            else None,
        }
        for one in refused
    ]
    return pa.Table.from_pylist(rows, schema=QUARANTINE.arrow)


def flow_of(message: Message) -> Flow:
    """Where a message came from, and what its records are."""
    return Flow(
        message.headers.get(SOURCE_HEADER, "kafka"),
        FORMAT_SIGNAL.get(format_of(message), "unknown"),
    )


def format_of(message: Message) -> str:
    """The format a message claims to be: its header's, else its topic's; empty when neither."""
    return message.headers.get(FORMAT_HEADER) or TOPIC_FORMAT.get(message.partition.topic, "")


def number_of(message: Message, header: str, *, default: int) -> int:
    """A header that is a number."""
    told = message.headers.get(header, "")
    return int(told) if told.isdecimal() else default


def runs_of(messages: Sequence[Message]) -> dict[Partition, OffsetRange]:
    """For each partition the run of its messages; they stand in the order of their offsets."""
    runs: dict[Partition, OffsetRange] = {}
    for message in messages:
        first = runs[message.partition].first if message.partition in runs else message.offset
        runs[message.partition] = OffsetRange(first, message.offset + 1)
    return runs


def _by_format(messages: Sequence[Message]) -> dict[str, list[Message]]:
    groups: defaultdict[str, list[Message]] = defaultdict(list)
    for message in messages:
        groups[format_of(message)].append(message)
    return groups


def _decode(format_name: str, values: list[bytes]) -> Decoded:
    decoder = DECODERS.get(format_name)
    if decoder is None:
        return Decoded(
            refused=tuple(
                Refusal(index, UNKNOWN_FORMAT, whole=True) for index in range(len(values))
            )
        )
    try:
        return decoder(values)
    except DecodeError as problem:
        if len(values) == 1:
            return Decoded(refused=(Refusal(0, problem.reason, problem.offset, whole=True),))
        # a decoder that gives up on the lot is asked one by one, so that one message costs itself
        return _merged([_decode(format_name, [value]) for value in values])


def _merged(answers: Sequence[Decoded]) -> Decoded:
    parts: defaultdict[str, list[pa.Table]] = defaultdict(list)
    refused: list[Refusal] = []
    for index, answer in enumerate(answers):
        for table, rows in answer.batches.items():
            parts[table].append(rows)
        refused += [
            Refusal(index, refusal.reason, refusal.offset, refusal.records, refusal.whole)
            for refusal in answer.refused
        ]
    return Decoded({name: pa.concat_tables(rows) for name, rows in parts.items()}, tuple(refused))


def _received_at(message: Message) -> datetime:
    told = message.headers.get(RECEIVED_AT_HEADER, "")
    at = int(told) / 1e9 if told.isdecimal() else time.time()
    return datetime.fromtimestamp(at, UTC).replace(tzinfo=None)
