"""Apache's and NGINX's access logs in the Common and the Combined Log Format.

``host ident user [time] "request" status bytes "referer" "user agent"``, the last two in the
combined format only. These servers write neither durations nor ids, nor who they are: a line says
that somebody asked this server for something. Sources: Apache ``mod_log_config``, NGINX
``ngx_http_log_module``.
"""

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa

from pipeline.decode.kernels.columns import NOTHING, texts, times
from pipeline.decode.kernels.slice_objects import objects_of
from pipeline.decode.lines import access_log_rows
from pipeline.decode.lines.access_log_rows import Told
from pipeline.decode.lines.lines import LineFormat, lines_of
from pipeline.decode.lines.text_values import common_log_time, whole_numbers
from pipeline.decode.lines.tokens import requests, tokens, without_dashes, without_queries
from pipeline.model.decoded import Decoded

TOKENS: Final = (
    "host", "ident", "user", "time", "request", "status", "bytes", "referer", "user_agent",
)  # fmt: skip
COMMON: Final = TOKENS.index("referer")
"""How many tokens a line of the Common Log Format has."""

MOST_STATUS: Final = (1 << 16) - 1

REASONS: Final = (
    "",
    "not a line of the common or combined log format",
    "the time is not one of the common log format",
    "a number that is none, or out of range",
)
_LINE: Final = re.compile(rb'\S+ \S+ \S+ \[\d\d/[A-Z][a-z]{2}/\d{4}:[^\]]*\] "')

LINES: Final = LineFormat(lambda line: _LINE.match(line) is not None, of_pod=True)


def decode(messages: Sequence[bytes]) -> Decoded:
    """Decode lines of text into rows of ``access_logs``."""
    lines = lines_of(messages)
    if not len(lines):
        return Decoded()
    source = lines.buffer
    found = tokens(lines, len(TOKENS), bracketed=3, escaped=True, cut=True)
    fields = dict(zip(TOKENS, without_dashes(source, found.cells.T), strict=True))
    asked = requests(source, fields["request"])
    began = common_log_time(source, fields["time"])
    numbers = {name: whole_numbers(source, fields[name]) for name in ("status", "bytes")}
    wrong = numbers["status"].values > MOST_STATUS
    for name, values in numbers.items():
        wrong |= (fields[name] != NOTHING) & ~values.good
    whole = (found.counts == COMMON) | (found.counts == len(TOKENS))
    bad = np.where(whole, np.where(began.good, np.where(wrong, 3, 0), 2), 1)
    columns = {name: texts(source, fields[name]) for name in ("host", "user_agent")}
    columns |= {name: texts(source, slices) for name, slices in asked._asdict().items()}
    columns |= {name: values.array(pa.int64()) for name, values in numbers.items()}
    kept = {
        "user.name": fields["user"],
        "http.request.header.referer": without_queries(source, fields["referer"]),
    }
    attributes = objects_of(source, kept)
    refused = lines.refusals(REASONS, bad)
    told = Told(times(began.values), columns, attributes, bad, refused, lines)
    return access_log_rows.decoded(told, _columns())


def _columns() -> tuple[pl.Expr | str, ...]:
    return (
        pl.lit(0, pl.UInt8).alias("log_type"),
        pl.lit("http").alias("protocol"),
        access_log_rows.http_version(pl.col("protocol")).alias("protocol_version"),
        pl.col("method").alias("http_request_method"),
        "authority",
        pl.col("path").alias("url_path"),
        pl.col("status").alias("http_response_status_code"),
        pl.col("bytes").alias("response_bytes"),
        pl.col("host").alias("downstream_remote_address"),
        "user_agent",
    )
