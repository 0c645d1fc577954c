"""What a decoder answers: batches of rows, and what was set aside with its reason."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something that could not be decoded.

    Attributes:
        message: index of the message in the sequence that was decoded.
        reason: what is wrong, countable words without ids or offsets.
        offset: first byte of the message that could not be accepted; None where unknown.
        records: how many records are refused; the whole message when ``whole`` is true.
        whole: true when nothing of the message was accepted.
    """

    message: int
    reason: str
    offset: int | None = None
    records: int = 1
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Decoded:
    """The answer of a decoder to a sequence of messages.

    Attributes:
        batches: table name to rows, each conforming to ``model.tables`` (no ``slice`` column).
        refused: what was set aside, in message order.
    """

    batches: Mapping[str, pa.Table] = field(default_factory=dict)
    refused: tuple[Refusal, ...] = ()
