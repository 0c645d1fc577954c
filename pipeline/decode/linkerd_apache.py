"""Linkerd's access log in the style of Apache.

``client.addr client.id - [timestamp] "METHOD uri VERSION" status bytes``; the bytes may be missing,
and the status of a request that failed in the proxy. The time is RFC 3339, unlike Apache's.
"""

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa

from pipeline.decode.kernels.columns import NOTHING, texts, times
from pipeline.decode.lines.access_log_rows import Told
from pipeline.decode.lines.lines import LineFormat, lines_of
from pipeline.decode.lines.linkerd_lines import NUMBERS, TEXTS, decoded
from pipeline.decode.lines.text_values import rfc3339, whole_numbers
from pipeline.decode.lines.tokens import requests, tokens, without_dashes
from pipeline.model.decoded import Decoded

TOKENS: Final = (
    "client_addr", "client_id", "user", "timestamp", "request", "status", "response_bytes",
)  # fmt: skip
FEWEST: Final = 5

REASONS: Final = (
    "",
    "not a line of Linkerd's access log",
    "the time is not RFC 3339",
    "a number that is none, or out of range",
)
_LINE: Final = re.compile(rb'\S+ \S+ - \[\d{4}-\d\d-\d\dT[^\]]*\] "')

LINES: Final = LineFormat(lambda line: _LINE.match(line) is not None, of_pod=True)


def decode(messages: Sequence[bytes]) -> Decoded:
    """Decode lines of text into rows of ``access_logs``."""
    lines = lines_of(messages)
    if not len(lines):
        return Decoded()
    source = lines.buffer
    found = tokens(lines, len(TOKENS), bracketed=3)
    fields = dict(zip(TOKENS, without_dashes(source, found.cells.T), strict=True))
    asked = requests(source, fields["request"])
    whole = (found.counts >= FEWEST) & (found.counts <= len(TOKENS))
    began = rfc3339(source, fields["timestamp"])
    nothing = pa.nulls(len(lines), pa.string())
    columns = dict.fromkeys(TEXTS, nothing) | {
        "client_addr": texts(source, fields["client_addr"]),
        "client_id": texts(source, fields["client_id"]),
        "method": texts(source, asked.method),
        "host": texts(source, asked.authority),
        "uri": texts(source, asked.path),
        "version": texts(source, asked.protocol),
    }
    columns |= dict.fromkeys(NUMBERS, pa.nulls(len(lines), pa.int64()))
    wrong = np.zeros(len(lines), np.bool_)
    for name in ("status", "response_bytes"):
        values = whole_numbers(source, fields[name])
        wrong |= (fields[name] != NOTHING) & (~values.good | (values.values > NUMBERS[name]))
        columns[name] = values.array(pa.int64())
    bad = np.where(whole, np.where(began.good, np.where(wrong, 3, 0), 2), 1)
    refused = lines.refusals(REASONS, bad)
    return decoded(Told(times(began.values), columns, nothing, bad, refused, lines))
