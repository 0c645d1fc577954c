"""Envoy's access log as JSON, one object on each line: Istio's, Consul's, Envoy Gateway's, others'.

There is no format that Envoy prescribes, only operators; members are known by the names that Istio
and Consul give them, by header names (Envoy Gateway), in any letter case, with ``-`` or ``_``.
Numbers may be strings, and what is not told may be missing, null, ``""`` or ``"-"``.
"""

from collections.abc import Sequence
from typing import Final

from pipeline.decode.envoy.operators import ATTRIBUTES, NUMBERS, TEXTS, decoded
from pipeline.decode.lines.flat_json import FlatJson
from pipeline.decode.lines.json_lines import has_keys
from pipeline.decode.lines.lines import LineFormat, lines_of
from pipeline.model.decoded import Decoded
from pipeline.model.secret_keys import URL_HEADERS

_HEADERS: Final = {
    "method": (":method",),
    "path": (":path", "x-envoy-origin-path", "x-envoy-original-path"),
    "authority": (":authority", "host"),
    "user_agent": ("user-agent",),
    "request_id": ("x-request-id",),
    "x_forwarded_for": ("x-forwarded-for",),
    "upstream_service_time": ("x-envoy-upstream-service-time",),
    "grpc_status": ("grpc-status", "grpc_status_number"),
    "content_type": ("content-type",),
    "x_b3_traceid": ("x-b3-traceid",),
    "x_amzn_trace_id": ("x-amzn-trace-id",),
}
"""What fields are called where somebody named them after headers."""

_CANONICAL: Final = {
    spelling.lstrip(":").replace("-", "_"): name
    for name, spellings in _HEADERS.items()
    for spelling in spellings
}


def canonical(name: str) -> str:
    """The name of a member as Istio writes it: ``:authority`` and ``User-Agent`` are others."""
    plain = name.lower().lstrip(":").replace("-", "_")
    return _CANONICAL.get(plain, plain)


FORMAT: Final = FlatJson(
    ("start_time", *TEXTS),
    NUMBERS,
    ATTRIBUTES,
    _HEADERS,
    canonical,
    frozenset(name.lstrip(":").replace("-", "_") for name in URL_HEADERS),
    time="start_time",
)


LINES: Final = LineFormat(
    has_keys("start_time", "response_code"), json=True, check=FORMAT.check, of_pod=True
)


def decode(messages: Sequence[bytes]) -> Decoded:
    """Decode lines of JSON into rows of ``access_logs``."""
    lines = lines_of(messages)
    return decoded(FORMAT.told(lines)) if len(lines) else Decoded()
