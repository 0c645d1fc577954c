"""Channels: the ways in, each with the format of what comes by it and the topic it goes on."""

from dataclasses import dataclass
from typing import Final

from pipeline.decode.door import Admission
from pipeline.model.ledger import Flow, Outcome
from pipeline.model.topics import FORMAT_SIGNAL

_OFF_LOOP_BYTES: Final = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Channel:
    """One way in: where its records come from, what they are, where they go.

    Attributes:
        source: name of the receiver.
        format: name of the format of the bodies.
        topic: bus topic.
        patience: seconds to wait for a full bus, where the sender cannot be told to come back.
        lost: what becomes of records that are not taken: rejected, or dropped where the sender
            does not hear of it.
        keeps_bad: whether records that are not good go on the bus with the others, to be
            quarantined. For senders that cannot mend a record: told no, they would only send it
            again, and what is good around it with it.
        off_loop_bytes: bodies of this size and more are checked in a thread, so that others do not
            wait for them.
        origin: where a body stood in its source, told in a header of its message where that is
            one message; empty for none. What was told before a crash can be looked for by it.
    """

    source: str
    format: str
    topic: str
    patience: float = 0.0
    lost: Outcome = Outcome.REJECTED
    keeps_bad: bool = False
    off_loop_bytes: int = _OFF_LOOP_BYTES
    origin: str = ""

    @property
    def flow(self) -> Flow:
        """Under which name its records are counted."""
        return Flow(self.source, FORMAT_SIGNAL.get(self.format, "unknown"))


@dataclass(frozen=True, slots=True)
class Parcel:
    """Bytes that go in by one channel; a body may hold several, each for another channel."""

    channel: Channel
    body: bytes


@dataclass(frozen=True, slots=True)
class Part:
    """One message of a body that was checked, and the channel it goes by."""

    channel: Channel
    admission: Admission

    @property
    def records(self) -> int:
        """Records in it, good and bad."""
        return self.admission.records + self.admission.rejected

    @property
    def accepted(self) -> int:
        """Records of it that count as accepted once it is on the bus."""
        return self.records if self.channel.keeps_bad else self.admission.records
