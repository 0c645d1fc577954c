"""Who began a stream: the identifier that Envoy tells in the first message of one, and never again.

Access logs (``StreamAccessLogsMessage``) and metrics (``StreamMetricsMessage``) have it alike.
"""

from collections.abc import Mapping
from typing import Final

from pipeline.decode.wire.declaration import Each, Enter
from pipeline.decode.wire.intern import bytes_of, field_1
from pipeline.decode.wire.refusals import must_be_whole
from pipeline.decode.wire.walk import Format, Walked

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


def envoy_identifier(body: bytes, format_name: str) -> bytes:
    """What identifies the Envoy that began a stream with this message, as bytes for later ones.

    Serialised messages that are put together are merged by whoever reads them. Empty when the
    message has none.

    As it goes in front of every message of the stream, only what tells who and where the Envoy is
    goes along. The extensions it was built with are some 9 of the 9.7 kB of a usual node, and would
    cost more than the entries they stand before; they, its features and its build stay in the first
    message alone, which is left as it came.

    Raises:
        DecodeError: the message is malformed.
    """
    walked = _ENVELOPE.walk([body])
    must_be_whole(walked, format_name)
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
