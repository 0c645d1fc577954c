"""What every gate is, whatever the kind of its format, and what it answers."""

from dataclasses import dataclass
from typing import Protocol

from pipeline.decode.privacy.masking import MaskedKeys
from pipeline.model.decoded import Refusal


@dataclass(frozen=True, slots=True)
class Admission:
    """A body that may go on the bus.

    Attributes:
        body: the bytes, secrets and persons overwritten; of the same length as they came, but for
            JSON documents and for lines that were wrapped into something.
        records: how many records of it the decoder will take.
        refused: what it will refuse; offsets are those of the body as it came, None where unknown.
    """

    body: bytes
    records: int
    refused: tuple[Refusal, ...] = ()

    @property
    def rejected(self) -> int:
        """How many records the decoder will refuse."""
        return sum(refusal.records for refusal in self.refused)

    @property
    def reason(self) -> str:
        """Why, of the first of these; empty when there is none."""
        return self.refused[0].reason if self.refused else ""


class Gate(Protocol):
    """The check at the door of one format; every kind of format has its own, beside this file."""

    def admit(self, body: bytes, masked: MaskedKeys) -> Admission:
        """Check a body, count its records, and mask its secrets.

        Raises:
            DecodeError: the body is malformed; nothing of it can be taken.
        """

    def mask(self, body: bytes, masked: MaskedKeys) -> bytes:
        """A body that somebody else wrote on the bus, with its secrets masked.

        Raises:
            DecodeError: the body is malformed; nothing of it can be taken.
        """
        return self.admit(body, masked).body
