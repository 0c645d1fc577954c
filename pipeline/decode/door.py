"""The check at the door: what a collector asks of every body before it acknowledges it.

Malformed bodies are refused here, as the OTLP specification demands, and not after the
acknowledgement; records that the decoder would refuse are counted, so that the sender hears of
them; secrets are masked. How, each kind of format knows for itself (``gates``).
"""

from functools import cache
from typing import cast

from pipeline.decode import module_of, otlp_json
from pipeline.decode.gates.exposition_gate import ExpositionGate
from pipeline.decode.gates.gate import Admission, Gate
from pipeline.decode.gates.line_gate import LineGate
from pipeline.decode.privacy.masking import MaskedKeys
from pipeline.errors import InvalidInput
from pipeline.model.topics import FORMATS, FormatKind

__all__ = ["Admission", "MaskedKeys", "admit", "admit_foreign", "gate_of"]


def admit(format_name: str, body: bytes, masked: MaskedKeys) -> Admission:
    """Check a body, count its records, and mask its secrets.

    Raises:
        DecodeError: the body is malformed; nothing of it can be taken.
        InvalidInput: there is no such format.
    """
    return gate_of(format_name).admit(body, masked)


def admit_foreign(format_name: str, body: bytes, masked: MaskedKeys) -> bytes:
    """A body that somebody else wrote on the bus, as a collector would have: masked, and protobuf.

    OTLP may come as JSON. Of a format that is not known nothing can be checked or masked.

    Raises:
        DecodeError: the body is malformed; nothing of it can be taken.
    """
    if format_name in otlp_json.REQUESTS and otlp_json.may_be(body):
        body = otlp_json.to_protobuf(body, otlp_json.REQUESTS[format_name])
    return gate_of(format_name).mask(body, masked) if format_name in FORMATS else body


@cache
def gate_of(format_name: str) -> Gate:
    """The gate of a format; raises InvalidInput where there is no such format."""
    if format_name not in FORMATS:
        raise InvalidInput("format", found=format_name, allowed=", ".join(FORMATS))
    match FORMATS[format_name].kind:
        case FormatKind.LINES:
            return LineGate(format_name)
        case FormatKind.EXPOSITION:
            return ExpositionGate(format_name)
        case FormatKind.PROTOBUF | FormatKind.DOCUMENTS:
            return cast("Gate", module_of(format_name).GATE)
