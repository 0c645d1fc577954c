"""Messages that could not be decoded, as they are set aside for other programs."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from pipeline.jobs.decoding import Refused
from pipeline.model.messages import Message, Partition

HEADERS: Final = (
    "reason",
    "byte_offset",
    "topic",
    "partition",
    "offset",
    "format",
    "refused_records",
    "whole",
)
"""What the headers of a dead letter are called; ``docs/receiving.md`` says what each means."""


def dead_letters(refused: Sequence[Refused]) -> list[tuple[Message, Mapping[str, str]]]:
    """Each message with something refused in it, once, and the headers that say why."""
    by_message: defaultdict[tuple[Partition, int], list[Refused]] = defaultdict(list)
    for one in refused:
        by_message[one.message.partition, one.message.offset].append(one)
    return [(found[0].message, _headers(found)) for found in by_message.values()]


def _headers(refused: Sequence[Refused]) -> dict[str, str]:
    first = refused[0]
    offset = first.refusal.offset
    reasons = dict.fromkeys(one.refusal.reason for one in refused)
    values = (
        "; ".join(reasons),
        "" if offset is None else str(offset),
        first.message.partition.topic,
        str(first.message.partition.number),
        str(first.message.offset),
        first.format,
        str(sum(one.records for one in refused)),
        str(any(one.refusal.whole for one in refused)).lower(),
    )
    return dict(zip(HEADERS, values, strict=True))
