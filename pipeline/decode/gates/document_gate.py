"""The check at the door of formats that are whole JSON documents, told by way of OTLP.

The converter of the decoder itself says which spans are good, so that door and decoder can never
disagree.
"""

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.decode.gates.gate import Admission, Gate
from pipeline.decode.otlp.via_otlp import Converted
from pipeline.decode.privacy.masking import MaskedKeys
from pipeline.errors import DecodeError
from pipeline.model.decoded import Refusal


@dataclass(frozen=True, slots=True)
class DocumentGate(Gate):
    """The gate of a format whose messages are JSON documents; its decoder declares it.

    Attributes:
        name: name of the format.
        convert: turns one document into OTLP.
    """

    name: str
    convert: Callable[[bytes], Converted]

    def admit(self, body: bytes, masked: MaskedKeys) -> Admission:
        """See ``Gate``; nothing at all is a document without records."""
        if not body.strip():
            return Admission(body, 0)
        body = masked.mask_json(body)
        converted = self.convert(body)
        for told in converted.refused:
            if told.offset is not None and not converted.spans:
                raise DecodeError(told.reason, offset=told.offset, format=self.name)
        refused = (Refusal(0, one.reason, one.offset, one.records) for one in converted.refused)
        return Admission(body, converted.spans, tuple(refused))
