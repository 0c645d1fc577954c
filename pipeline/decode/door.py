"""The check at the door: what a collector asks of every body before it acknowledges it.

One walk over the structure, the same that the decoder will take; no columns. Malformed bodies are
refused here, as the OTLP specification demands, and not after the acknowledgement; records that the
decoder would refuse are counted, so that the sender hears of them; secrets are masked.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Final

from pipeline.decode import MODULES, otlp_json
from pipeline.decode.gates.documents import Documents
from pipeline.decode.gates.exposition_door import admit_exposition, mask_exposition
from pipeline.decode.gates.gate import Gate
from pipeline.decode.gates.line_door import admit_lines, must_be_records
from pipeline.decode.privacy.masking import MaskedKeys
from pipeline.decode.wire.declaration import Each, Enter
from pipeline.decode.wire.intern import bytes_of, field_1
from pipeline.decode.wire.walk import Format, Walked
from pipeline.errors import DecodeError, InvalidInput
from pipeline.model.topics import ENVOY_ALS_FORMAT, EXPOSITION_FORMATS, LINE_FORMATS

__all__ = ["Admission", "MaskedKeys", "admit", "admit_foreign", "envoy_identifier"]


@dataclass(frozen=True, slots=True)
class Admission:
    """A body that may go on the bus.

    Attributes:
        body: the bytes, the values of masked keys overwritten; of the same length as they came,
            but for JSON documents.
        records: how many records of it the decoder will take.
        rejected: how many it will refuse.
        reason: why, of the first of these; empty when there is none.
    """

    body: bytes
    records: int
    rejected: int = 0
    reason: str = ""


def admit(format_name: str, body: bytes, masked: MaskedKeys) -> Admission:
    """Check a body, count its records, and mask its secrets.

    It may be of a format of protobuf, of lines, of scraped text, or of JSON documents.

    Raises:
        DecodeError: the body is malformed; nothing of it can be taken.
        InvalidInput: there is no such format at the door.
    """
    if format_name in (*LINE_FORMATS, *EXPOSITION_FORMATS):
        if format_name in LINE_FORMATS:
            must_be_records(body)
        check = admit_lines if format_name in LINE_FORMATS else admit_exposition
        lines = check(format_name, body, masked)
        reason = lines.refused[0].reason if lines.refused else ""
        return Admission(lines.body, lines.records, lines.rejected, reason)
    if documents := _found_documents(format_name):
        body, converted = documents.admit(body, masked)
        reason = converted.refused[0].reason if converted.refused else ""
        rejected = sum(told.records for told in converted.refused)
        return Admission(body, converted.spans, rejected, reason)
    gate = _gate(format_name)
    walked = gate.format.walk([body])
    _must_be_whole(walked, format_name)
    refused = gate.refused(walked)
    rejected = sum(refusal.records for refusal in refused)
    records = sum(len(walked.rows(table)) for table in gate.records)
    reason = refused[0].reason if refused else ""
    hidden = gate.mask(walked, masked) if gate.mask else masked.mask(walked, gate.headers)
    if hidden:
        body = walked.buffer.data[: walked.buffer.size].tobytes()
    return Admission(body, records - rejected, rejected, reason)


def admit_foreign(format_name: str, body: bytes, masked: MaskedKeys) -> bytes:
    """A body that somebody else wrote on the bus, as a collector would have: masked, and protobuf.

    OTLP may come as JSON. Formats that are text stay as they are, but for the masked values. Of a
    format that is not known nothing can be checked or masked.

    Raises:
        DecodeError: the body is malformed; nothing of it can be taken.
    """
    if format_name in otlp_json.REQUESTS and otlp_json.may_be(body):
        body = otlp_json.to_protobuf(body, otlp_json.REQUESTS[format_name])
    if format_name not in MODULES:
        return body
    if format_name in EXPOSITION_FORMATS:
        return mask_exposition(format_name, body, masked)
    if _comes_to_the_door(format_name):
        return admit(format_name, body, masked).body
    return masked.mask_json(body)


def envoy_identifier(body: bytes, format_name: str = ENVOY_ALS_FORMAT) -> bytes:
    """What identifies the Envoy that began a stream with this message, as bytes for later ones.

    Access logs (``StreamAccessLogsMessage``) and metrics (``StreamMetricsMessage``) have it alike.

    Envoy tells it only in the first message of a stream. Serialised messages that are put together
    are merged by whoever reads them. Empty when the message has none.

    As it goes in front of every message of the stream, only what tells who and where the Envoy is
    goes along. The extensions it was built with are some 9 of the 9.7 kB of a usual node, and would
    cost more than the entries they stand before; they, its features and its build stay in the first
    message alone, which is left as it came.

    Raises:
        DecodeError: the message is malformed.
    """
    walked = _ENVELOPE.walk([body])
    _must_be_whole(walked, format_name)
    node = _told(walked, _NODE_FIELDS)
    told = (field_1(node) if node else b"") + _told(walked, _IDENTIFIER_FIELDS)
    return field_1(told) if told else b""


def _told(walked: Walked, fields: Mapping[int, str]) -> bytes:
    """These fields, as often as they were told and in that order, encoded."""
    return b"".join(
        # the tag of field 1 with another number in it
        bytes((number << 3 | 2,)) + field_1(bytes_of(walked, one))[1:]
        for number, name in fields.items()
        for one in walked.rows(name).column("items").tolist()
    )


_IDENTIFIER_FIELDS: Final = {2: "log_name"}
_NODE_FIELDS: Final = {
    1: "id", 2: "cluster", 3: "metadata", 4: "locality", 6: "user_agent_name",
    7: "user_agent_version",
}  # fmt: skip
"""What goes along; the decoder reads all of it but the version. All are strings or messages."""

_ENVELOPE: Final = Format(
    "envoy_stream",
    "Message",
    {
        "Message": {1: Enter("Identifier")},
        "Identifier": {
            1: Enter("Node"),
            **{number: Each("bytes", name) for number, name in _IDENTIFIER_FIELDS.items()},
        },
        "Node": {number: Each("bytes", name) for number, name in _NODE_FIELDS.items()},
    },
)


def _must_be_whole(walked: Walked, format_name: str) -> None:
    for refusal in walked.refused:
        raise DecodeError(refusal.reason, offset=refusal.offset, format=format_name)


def _comes_to_the_door(format_name: str) -> bool:
    known = format_name in LINE_FORMATS or _found_gate(format_name) or _found_documents(format_name)
    return bool(known)


def _found_gate(format_name: str) -> Gate | None:
    gate = _told_by_module(format_name, "GATE")
    return gate if isinstance(gate, Gate) else None


def _found_documents(format_name: str) -> Documents | None:
    documents = _told_by_module(format_name, "DOCUMENTS")
    return documents if isinstance(documents, Documents) else None


@cache
def _told_by_module(format_name: str, name: str) -> object:
    module = import_module(MODULES[format_name]) if format_name in MODULES else None
    return getattr(module, name, None)


def _gate(format_name: str) -> Gate:
    gate = _found_gate(format_name)
    if gate is None:
        allowed = "a format of protobuf, of lines, of scraped text or of JSON documents"
        raise InvalidInput("format", found=format_name, allowed=allowed)
    return gate
