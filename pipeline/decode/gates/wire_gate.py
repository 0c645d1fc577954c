"""The check at the door of protobuf: one walk over the structure, no columns."""

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.decode.gates.gate import Admission, Gate
from pipeline.decode.privacy.masking import MaskedKeys
from pipeline.decode.wire.refusals import must_be_whole
from pipeline.decode.wire.walk import Format, Walked
from pipeline.model.decoded import Refusal


def hide_attributes(walked: Walked, masked: MaskedKeys) -> bool:
    """Overwrite the secrets of all attributes; tells if there were any."""
    return masked.mask(walked, {})


@dataclass(frozen=True, slots=True)
class WireGate(Gate):
    """The gate of a protobuf format; its decoder declares it.

    Attributes:
        format: its declaration, compiled.
        records: the tables whose rows are records.
        refused: what the decoder refuses of a walk: whole messages, and records of others.
        hide: overwrites secrets in the walk's buffer and tells if it did.
    """

    format: Format
    records: tuple[str, ...]
    refused: Callable[[Walked], tuple[Refusal, ...]]
    hide: Callable[[Walked, MaskedKeys], bool] = hide_attributes

    def admit(self, body: bytes, masked: MaskedKeys) -> Admission:
        """See ``Gate``; the walk is the one that the decoder will take."""
        walked = self.format.walk([body])
        must_be_whole(walked, self.format.name)
        refused = self.refused(walked)
        found = sum(len(walked.rows(table)) for table in self.records)
        if self.hide(walked, masked):
            body = walked.buffer.data[: walked.buffer.size].tobytes()
        return Admission(body, found - sum(refusal.records for refusal in refused), refused)
