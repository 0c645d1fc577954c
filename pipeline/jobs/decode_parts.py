"""What decoding a batch may take at once: so much of a batch, and so much told of what is bad.

A good line of a few hundred bytes becomes a few hundred bytes of columns. A bad one of two bytes
takes as many while it is read, and as it is told: a batch of nothing else would take hundreds of
times its size. The door bounds that in each message; here all messages are bounded together.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from pipeline.model.decoded import Refusal
from pipeline.model.messages import Message
from pipeline.model.topics import LINE_FORMATS

PART_RECORDS: Final = 128 * 2**10
"""Records that a part of a batch may hold, guessed from above; a message may have more by itself.
Measured, a record of two bytes takes 0.2 to 0.9 kB while it is decoded, and one of Kong 1.5 kB."""

TOLD_FEWEST: Final = 8
TOLD_BYTES: Final = 256
"""Of what is bad in a message so many are told one by one, and one more for so many bytes of it;
the rest is told together, by reason."""


def parts_of(format_name: str, messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    """Messages of one format in parts that can be decoded at once, in their order."""
    if format_name not in LINE_FORMATS:
        yield messages  # no record of these is so short that it takes much more than its size
        return
    begin = records = 0
    for number, message in enumerate(messages):
        more = _records_at_most(message.value)
        if number > begin and records + more > PART_RECORDS:
            yield messages[begin:number]
            begin, records = number, 0
        records += more
    yield messages[begin:]


def told(refused: Sequence[Refusal], messages: Sequence[Message]) -> list[Refusal]:
    """The same, no more of it than the sizes of the messages allow; records are never lost."""
    one_by_one: Counter[int] = Counter()
    kept: list[Refusal] = []
    together: dict[tuple[int, str], Refusal] = {}
    for one in refused:
        most = TOLD_FEWEST + len(messages[one.message].value) // TOLD_BYTES
        key = one.message, one.reason
        if one_by_one[one.message] < most:
            one_by_one[one.message] += 1
            kept.append(one)
        elif key in together:
            known = together[key]
            together[key] = replace(known, records=known.records + one.records)
        else:
            together[key] = one
    return sorted([*kept, *together.values()], key=lambda one: one.message)


def _records_at_most(value: bytes) -> int:
    """A record is a line, or an object of JSON."""
    return 1 + value.count(b"\n") + value.count(b"{")
