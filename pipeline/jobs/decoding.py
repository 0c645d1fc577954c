"""Messages into batches of rows, and what was refused: one way, for ingest and for replay.

Messages of our collectors passed the door before they were published. Those of other writers, which
carry no header ``source``, pass it here: malformed ones are refused and secrets are masked, so that
neither reaches the store.
"""

import base64
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, NamedTuple

import pyarrow as pa

from pipeline.decode import DECODERS
from pipeline.decode.door import MaskedKeys, admit_foreign
from pipeline.errors import DecodeError
from pipeline.jobs.decode_parts import parts_of, told
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

USUAL_SECRETS: Final = MaskedKeys()
"""The keys that are masked where nothing else is said."""

log = logging.getLogger(__name__)

_told: Final[set[str]] = set()


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
        refused: what was set aside; of other writers' messages, with secrets masked where the door
            could read them.
        foreign: records taken from messages of other writers, which no header counts.
    """

    batches: Mapping[str, pa.Table]
    refused: Sequence[Refused]
    foreign: Mapping[Flow, int]


def decode_messages(
    messages: Sequence[Message], masked: MaskedKeys = USUAL_SECRETS
) -> DecodedMessages:
    """Decode messages, each by its format; a message that cannot be decoded costs only itself.

    Args:
        messages: of any topics and formats.
        masked: keys whose values are masked in messages of other writers.
    """
    answers: list[Decoded] = []
    refused: list[Refused] = []
    foreign: Counter[Flow] = Counter()
    for (format_name, by_others), group in _groups(messages).items():
        passed, turned_away = group, list[Refused]()
        if by_others:
            passed, turned_away = _at_the_door(format_name, group, masked)
        refused += turned_away
        for part in parts_of(format_name, passed):
            decoded = _decode(format_name, [message.value for message in part])
            answers.append(Decoded(decoded.batches))
            refused += [
                Refused(part[one.message], format_name, one) for one in told(decoded.refused, part)
            ]
            if by_others:
                foreign[flow_of(group[0])] += _records(decoded, format_name)
    return DecodedMessages(_together(answers), refused, foreign)


def is_foreign(message: Message) -> bool:
    """Whether another program than one of our collectors wrote it: ours say where it came from."""
    return SOURCE_HEADER not in message.headers


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


def _groups(messages: Sequence[Message]) -> dict[tuple[str, bool], list[Message]]:
    """Messages by their format, and by whether others wrote them."""
    groups: defaultdict[tuple[str, bool], list[Message]] = defaultdict(list)
    for message in messages:
        groups[format_of(message), is_foreign(message)].append(message)
    return groups


def _at_the_door(
    format_name: str, messages: Sequence[Message], masked: MaskedKeys
) -> tuple[list[Message], list[Refused]]:
    """The messages that may pass, as they may, and those that may not."""
    passed: list[Message] = []
    refused: list[Refused] = []
    for message in messages:
        try:
            value = admit_foreign(format_name, message.value, masked)
        except DecodeError as problem:
            refusal = Refusal(0, problem.reason, problem.offset, whole=True)
            refused.append(Refused(message, format_name, refusal))
        else:
            passed.append(replace(message, value=value))
    return passed, refused


def _records(decoded: Decoded, format_name: str) -> int:
    rows = decoded.batches.get(FORMAT_SIGNAL.get(format_name, ""))
    return 0 if rows is None else rows.num_rows


def _decode(format_name: str, values: list[bytes]) -> Decoded:
    decoder = DECODERS.get(format_name)
    if decoder is None or not values:
        return Decoded(
            refused=tuple(
                Refusal(index, UNKNOWN_FORMAT, whole=True) for index in range(len(values))
            )
        )
    try:
        return decoder(values)
    except DecodeError as problem:
        refusal = Refusal(0, problem.reason, problem.offset, whole=True)
    except Exception as problem:  # noqa: BLE001 - a fault in a decoder must cost one message only
        refusal = Refusal(0, f"decoder failed: {type(problem).__name__}", whole=True)
        if len(values) == 1:
            _tell_once(f"{format_name}: {refusal.reason}", problem)
    if len(values) == 1:
        return Decoded(refused=(refusal,))
    # a decoder that gives up on the lot is asked in halves, so that one message costs itself
    half = len(values) // 2
    first, rest = _decode(format_name, values[:half]), _decode(format_name, values[half:])
    moved = tuple(replace(one, message=one.message + half) for one in rest.refused)
    return Decoded(_together([first, rest]), (*first.refused, *moved))


def _tell_once(what: str, fault: Exception) -> None:
    """Log a fault with its traceback, the first time that it is met."""
    if what not in _told:
        _told.add(what)
        log.error("%s; the message is set aside, as others of this kind will", what, exc_info=fault)


def _together(answers: Sequence[Decoded]) -> dict[str, pa.Table]:
    parts: defaultdict[str, list[pa.Table]] = defaultdict(list)
    for answer in answers:
        for table, rows in answer.batches.items():
            parts[table].append(rows)
    return {table: pa.concat_tables(rows) for table, rows in parts.items()}


def _received_at(message: Message) -> datetime:
    told = message.headers.get(RECEIVED_AT_HEADER, "")
    at = int(told) / 1e9 if told.isdecimal() else time.time()
    return datetime.fromtimestamp(at, UTC).replace(tzinfo=None)
