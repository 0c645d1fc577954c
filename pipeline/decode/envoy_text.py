"""Envoy's and Istio's default access log as text.

Envoy's line has 13 tokens, Istio's 22; both may stand in one file. In Istio's the termination
details may hold spaces (names of policies), and nobody escapes quotes in what a client sent: a line
that does not come out even is set aside, not guessed at. JSON has no such traps.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pyarrow as pa

from pipeline.decode.envoy.operators import ATTRIBUTES, NUMBERS, TEXTS, decoded
from pipeline.decode.kernels.columns import NOTHING, numbers as as_numbers, texts, times
from pipeline.decode.kernels.kernel import Ints
from pipeline.decode.kernels.slice_objects import objects_of
from pipeline.decode.lines.access_log_rows import Told
from pipeline.decode.lines.lines import LineFormat, Lines, lines_of
from pipeline.decode.lines.text_values import rfc3339, whole_numbers
from pipeline.decode.lines.tokens import requests, tokens, without_dashes
from pipeline.model.decoded import Decoded

ENVOY: Final = (
    "start_time", "request", "response_code", "response_flags", "bytes_received", "bytes_sent",
    "duration", "upstream_service_time", "x_forwarded_for", "user_agent", "request_id",
    "authority", "upstream_host",
)  # fmt: skip
"""The tokens of Envoy's line."""

ISTIO: Final = (
    *ENVOY[:4], "response_code_details", "connection_termination_details",
    "upstream_transport_failure_reason", *ENVOY[4:], "upstream_cluster", "upstream_local_address",
    "downstream_local_address", "downstream_remote_address", "requested_server_name", "route_name",
)  # fmt: skip
"""The tokens of Istio's line."""

_DETAILS: Final = ISTIO.index("connection_termination_details")

REASONS: Final = (
    "",
    "not a line of Envoy's or Istio's default access log",
    "the time is not RFC 3339",
    "a number that is none, or out of range",
)


def _fits(line: bytes) -> bool:
    # [2020-11-25T21:26:18.409Z] "GET / HTTP/1.1" 200 ...
    return line[:1] == b"[" and line[5:6] == b"-" and b'] "' in line[:48]


LINES: Final = LineFormat(_fits, of_pod=True)


def decode(messages: Sequence[bytes]) -> Decoded:
    """Decode lines of text into rows of ``access_logs``."""
    lines = lines_of(messages)
    if not len(lines):
        return Decoded()
    fields, istio = _fields(lines)
    bad = np.where(fields["start_time"] == NOTHING, 1, 0)
    began = rfc3339(lines.buffer, fields["start_time"])
    numbers: dict[str, pa.Array] = {}
    wrong = np.zeros(len(lines), np.bool_)
    for name, most in NUMBERS.items():
        found = whole_numbers(lines.buffer, fields[name])
        wrong |= (fields[name] != NOTHING) & (~found.good | (found.values > most))
        numbers[name] = as_numbers(found.values, pa.int64(), found.good)
    bad = np.where(bad == 0, np.where(began.good, np.where(wrong, 3, 0), 2), bad)
    columns = {name: texts(lines.buffer, fields[name]) for name in TEXTS} | numbers
    attributes = objects_of(
        lines.buffer, {known: fields[name] for name, known in ATTRIBUTES.items()}
    )
    columns["istio"] = pa.array(istio)
    refused = lines.refusals(REASONS, bad)
    return decoded(Told(times(began.values), columns, attributes, bad, refused, lines))


def _fields(lines: Lines) -> tuple[Mapping[str, Ints], np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """The slices of all fields, and which lines are Istio's."""
    plain = tokens(lines, len(ENVOY), bracketed=0)
    long = tokens(lines, len(ISTIO), bracketed=0, greedy=_DETAILS)
    envoy, istio = plain.counts == len(ENVOY), long.counts == len(ISTIO)
    nothing = np.full(len(lines), NOTHING)
    fields = dict.fromkeys((*TEXTS, *NUMBERS, *ATTRIBUTES), nothing)
    of_envoy = dict(zip(ENVOY, without_dashes(lines.buffer, plain.cells.T), strict=True))
    of_istio = dict(zip(ISTIO, without_dashes(lines.buffer, long.cells.T), strict=True))
    for name in ISTIO:
        otherwise = np.where(envoy, of_envoy.get(name, nothing), nothing)
        fields[name] = np.where(istio, of_istio[name], otherwise)
    asked = requests(lines.buffer, fields["request"])
    fields |= {"method": asked.method, "path": asked.path, "protocol": asked.protocol}
    return fields, istio
