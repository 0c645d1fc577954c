"""What readers of recordings answer: pieces that can go on the bus, and faults that cannot."""

from dataclasses import dataclass
from typing import Final

MESSAGE_BYTES: Final = 1 << 20
"""About how large the messages are that go on the bus."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Something to put on the bus.

    Attributes:
        format: format of the bytes.
        payload: the bytes.
        records: good records in them.
        refused: further records in them, which the decoder will set aside.
    """

    format: str
    payload: bytes
    records: int
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that was set aside.

    Attributes:
        place: where in the file, for a person: ``line 3``, ``byte 120``, ``message 7``.
        reason: what is wrong, in countable words.
        records: how many records it stands for; 1 when nobody can know.
        format: the format it was read as; empty when that is not known.
        on_bus: whether the bytes went on the bus all the same, inside of a piece.
    """

    place: str
    reason: str
    records: int = 1
    format: str = ""
    on_bus: bool = False
