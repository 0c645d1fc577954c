"""The check at the door: what a collector asks of every body before it acknowledges it.

One walk over the structure, the same that the decoder will take; no columns. Malformed bodies are
refused here, as the OTLP specification demands, and not after the acknowledgement; records that the
decoder would refuse are counted, so that the sender hears of them; secrets are masked.
"""

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Final

from pipeline.decode import MODULES
from pipeline.decode.declaration import Row
from pipeline.decode.gate import Gate
from pipeline.decode.intern import bytes_of, field_1
from pipeline.decode.masking import DEFAULT_KEYS, MaskedKeys
from pipeline.decode.wire import Format, Walked
from pipeline.errors import DecodeError, InvalidInput
from pipeline.model.topics import ENVOY_ALS_FORMAT

__all__ = ["DEFAULT_KEYS", "Admission", "MaskedKeys", "admit", "envoy_identifier"]


@dataclass(frozen=True, slots=True)
class Admission:
    """A body that may go on the bus.

    Attributes:
        body: the bytes; of the same length as they came, the values of masked keys overwritten.
        records: how many records of it the decoder will take.
        rejected: how many it will refuse.
        reason: why, of the first of these; empty when there is none.
    """

    body: bytes
    records: int
    rejected: int = 0
    reason: str = ""


def admit(format_name: str, body: bytes, masked: MaskedKeys) -> Admission:
    """Check a body of a protobuf format, count its records, and mask its secrets.

    Raises:
        DecodeError: the body is malformed; nothing of it can be taken.
        InvalidInput: there is no such format at the door.
    """
    gate = _gate(format_name)
    walked = gate.format.walk([body])
    _must_be_whole(walked, format_name)
    refused = gate.refused(walked)
    rejected = sum(refusal.records for refusal in refused)
    records = sum(len(walked.rows(table)) for table in gate.records)
    reason = refused[0].reason if refused else ""
    if masked.mask(walked, gate.headers):
        body = walked.buffer.data[: walked.buffer.size].tobytes()
    return Admission(body, records - rejected, rejected, reason)


def envoy_identifier(body: bytes) -> bytes:
    """The identifier of a ``StreamAccessLogsMessage``, as bytes to put in front of later ones.

    Envoy tells it only in the first message of a stream. Serialised messages that are put together
    are merged by whoever reads them. Empty when the message has none.

    Raises:
        DecodeError: the message is malformed.
    """
    walked = _ENVELOPE.walk([body])
    _must_be_whole(walked, ENVOY_ALS_FORMAT)
    told = walked.rows("identifiers").column("raw").tolist()
    return b"".join(field_1(bytes_of(walked, one)) for one in told)


_ENVELOPE: Final = Format(
    ENVOY_ALS_FORMAT,
    "StreamAccessLogsMessage",
    {"StreamAccessLogsMessage": {1: Row("Identifier", "identifiers", raw="raw")}, "Identifier": {}},
)


def _must_be_whole(walked: Walked, format_name: str) -> None:
    for refusal in walked.refused:
        raise DecodeError(refusal.reason, offset=refusal.offset, format=format_name)


@cache
def _gate(format_name: str) -> Gate:
    module = import_module(MODULES[format_name]) if format_name in MODULES else None
    gate = getattr(module, "GATE", None)
    if not isinstance(gate, Gate):
        raise InvalidInput("format", found=format_name, allowed="a protobuf format")
    return gate
