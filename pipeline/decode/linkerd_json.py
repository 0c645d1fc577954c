"""Linkerd's access log as JSON, one object on each line.

Numbers of bytes and nanoseconds are strings, and what is not told is ``""`` or ``"-"``.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from pipeline.decode.kernels.columns import times
from pipeline.decode.lines.access_log_rows import Told
from pipeline.decode.lines.flat_json import REASONS, FlatJson
from pipeline.decode.lines.json_lines import has_keys
from pipeline.decode.lines.line_times import times_of
from pipeline.decode.lines.lines import LineFormat, lines_of
from pipeline.decode.lines.linkerd_lines import ATTRIBUTES, NUMBERS, TEXTS, decoded
from pipeline.model.decoded import Decoded

LINES: Final = LineFormat(has_keys("client.addr", "timestamp", "uri"), json=True, of_pod=True)

BAD_TIME: Final = "timestamp is not an RFC 3339 time"


def _canonical(name: str) -> str:
    return name.replace("client.", "client_", 1)


FORMAT: Final = FlatJson(
    ("timestamp", *TEXTS),
    NUMBERS,
    ATTRIBUTES,
    {"client_addr": ("client.addr",), "client_id": ("client.id",)},
    _canonical,
)


def decode(messages: Sequence[bytes]) -> Decoded:
    """Decode lines of JSON into rows of ``access_logs``."""
    lines = lines_of(messages)
    if not len(lines):
        return Decoded()
    read = FORMAT.read(lines)
    began = times_of(lines, read.fields["timestamp"])
    bad = np.where((read.bad == 0) & ~began.good, len(REASONS), read.bad)
    refused = lines.refusals((*REASONS, BAD_TIME), bad)
    return decoded(Told(times(began.values), read.fields, read.attributes, bad, refused, lines))
