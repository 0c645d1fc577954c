"""Linkerd's access log as JSON, one object on each line.

Numbers of bytes and nanoseconds are strings, and what is not told is ``""`` or ``"-"``.
"""

from collections.abc import Sequence
from typing import Final

from pipeline.decode.lines.flat_json import FlatJson
from pipeline.decode.lines.json_lines import has_keys
from pipeline.decode.lines.lines import LineFormat, lines_of
from pipeline.decode.lines.linkerd_lines import ATTRIBUTES, NUMBERS, TEXTS, decoded
from pipeline.model.decoded import Decoded


def _canonical(name: str) -> str:
    return name.replace("client.", "client_", 1)


FORMAT: Final = FlatJson(
    ("timestamp", *TEXTS),
    NUMBERS,
    ATTRIBUTES,
    {"client_addr": ("client.addr",), "client_id": ("client.id",)},
    _canonical,
    time="timestamp",
)


LINES: Final = LineFormat(
    has_keys("client.addr", "timestamp", "uri"), json=True, check=FORMAT.check, of_pod=True
)


def decode(messages: Sequence[bytes]) -> Decoded:
    """Decode lines of JSON into rows of ``access_logs``."""
    lines = lines_of(messages)
    return decoded(FORMAT.told(lines)) if len(lines) else Decoded()
