"""Envoy's access log as JSON, one object on each line: Istio's, Consul's, Envoy Gateway's, others'.

There is no format that Envoy prescribes, only operators; members are known by the names that Istio
and Consul give them, by header names (Envoy Gateway), in any letter case, with ``-`` or ``_``.
Numbers may be strings, and what is not told may be missing, null, ``""`` or ``"-"``.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from pipeline.decode.columns import times
from pipeline.decode.envoy_lines import ATTRIBUTES, NUMBERS, TEXTS, decoded
from pipeline.decode.envoy_words import HEADERS_WITH_QUERY
from pipeline.decode.json_lines import NOT_AN_OBJECT, NOT_JSON, JsonColumns, has_keys, json_lines
from pipeline.decode.lines import LineFormat
from pipeline.decode.text_values import of_texts, rfc3339
from pipeline.model.decoded import Decoded

LINES: Final = LineFormat(has_keys("start_time", "response_code"), json=True)

REASONS: Final = (
    "",
    NOT_JSON,
    NOT_AN_OBJECT,
    "start_time is not an RFC 3339 time",
    "a number that is none, or out of range",
)

_ALSO: Final = {
    "x_envoy_origin_path": "path",
    "x_envoy_original_path": "path",
    "x_request_id": "request_id",
    "x_envoy_upstream_service_time": "upstream_service_time",
    "grpc_status_number": "grpc_status",
    "host": "authority",
}
_URLS: Final = frozenset(name.lstrip(":").replace("-", "_") for name in HEADERS_WITH_QUERY)
_WITH_COLUMN: Final = frozenset({"start_time", *TEXTS, *NUMBERS})


def canonical(name: str) -> str:
    """The name of a member as Istio writes it: ``:authority`` and ``User-Agent`` are others."""
    plain = name.lower().lstrip(":").replace("-", "_")
    return _ALSO.get(plain, plain)


def decode(messages: Sequence[bytes]) -> Decoded:
    """Decode lines of JSON into rows of ``access_logs``."""
    read = json_lines(messages)
    columns = JsonColumns(read.objects, canonical)
    began = rfc3339(*of_texts(columns.text("start_time")))
    fields = {name: columns.text(name) for name in TEXTS}
    fields |= {name: columns.number(name, most=most) for name, most in NUMBERS.items()}
    numbers = read.bad.copy()
    numbers[read.index] = np.where(~began.good, 3, np.where(columns.bad, 4, 0))
    return decoded(
        times(began.values),
        fields,
        columns.rest(ATTRIBUTES, _WITH_COLUMN, urls=_URLS),
        numbers[read.index] == 0,
        read.lines.refusals(REASONS, numbers),
    )
