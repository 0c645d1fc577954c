"""The check at the door of formats that are whole JSON documents, told by way of OTLP.

The converter of the decoder itself says which spans are good, so that door and decoder can never
disagree.
"""

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.decode.otlp.via_otlp import Converted
from pipeline.decode.privacy.masking import MaskedKeys
from pipeline.errors import DecodeError


@dataclass(frozen=True, slots=True)
class Documents:
    """What must be known of a format whose messages are JSON documents; each such decoder has one.

    Attributes:
        name: name of the format.
        convert: turns one document into OTLP.
    """

    name: str
    convert: Callable[[bytes], Converted]

    def admit(self, body: bytes, masked: MaskedKeys) -> tuple[bytes, Converted]:
        """The document with its secrets masked, and what becomes of its records.

        Nothing at all is a document without records.

        Raises:
            DecodeError: it is not JSON, or nested too deeply to be masked.
        """
        if not body.strip():
            return body, Converted()
        body = masked.mask_json(body)
        converted = self.convert(body)
        for told in converted.refused:
            if told.offset is not None and not converted.spans:
                raise DecodeError(told.reason, offset=told.offset, format=self.name)
        return body, converted
