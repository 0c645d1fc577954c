"""Identities of Linkerd's callers among attributes of metrics: named like a secret, and none.

``client_id`` is what OAuth calls the name of an application, and API gateways log under it the key
of one. Linkerd's proxies call so the name in the certificate of a caller, without which nobody
knows who called. It stays where three things hold: the key is that of a point, the metric is one of
those that Linkerd's proxies put it on, and the value is a name as Linkerd's certificates have them.
Sources: linkerd.io, "Proxy metrics"; linkerd2-proxy ``linkerd/app/core/src/transport/labels.rs``.
"""

import re
from typing import Final

import numpy as np

from pipeline.decode.kernels.kernel import Ints
from pipeline.decode.kernels.text import LENGTH_MASK, OFFSET_BITS
from pipeline.decode.wire.otlp_common import STRING
from pipeline.decode.wire.walk import Walked

KEY: Final = b"client_id"

METRIC: Final = re.compile(
    rb"(request_total|request_errors_total|response_(total|latency_ms)|tcp_\w+|inbound_\w+"
    rb"|route_(request|response)_\w+)(_bucket|_sum|_count)?"
)
"""Metrics of what comes in; nothing else has a caller."""

_LABEL: Final = rb"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
IDENTITY: Final = re.compile(
    rb"%(label)s\.%(label)s\.serviceaccount\.identity\.%(label)s(?:\.%(label)s)+"
    rb"|spiffe://%(label)s(?:\.%(label)s)+/ns/%(label)s/sa/%(label)s" % {b"label": _LABEL}
)
"""Service account, namespace, namespace of the control plane, trust domain; or as SPIFFE spells
the first three."""
LONGEST: Final = 253
"""Names of certificates are names of hosts."""


def mesh_identities(walked: Walked) -> Ints:
    """Which rows of ``attributes`` of a walk over OTLP metrics name a caller of Linkerd's.

    Returns:
        Their numbers, ascending.
    """
    buffer = walked.buffer
    if buffer.data[: buffer.size].tobytes().find(KEY) < 0:
        return np.zeros(0, np.int64)
    attributes, points = walked.rows("attributes"), walked.rows("points")
    keys = attributes.column("key")
    of_point = (attributes.column("type") == STRING) & (attributes.parents >= 0)
    (likely,) = np.nonzero(of_point & ((keys & LENGTH_MASK) == len(KEY)))
    places = (keys[likely] >> OFFSET_BITS)[:, None] + np.arange(len(KEY))
    named = (buffer.data[places] == np.frombuffer(KEY, np.uint8)).all(axis=1)
    rows: Ints = likely[named]
    metrics = walked.rows("metrics").column("name")[points.parents[attributes.parents[rows]]]
    values = attributes.column("value")[rows]
    known = [
        IDENTITY.fullmatch(value) is not None and METRIC.fullmatch(metric) is not None
        for value, metric in zip(_told(walked, values), _told(walked, metrics), strict=True)
    ]
    named_in_mesh: Ints = rows[np.array(known, np.bool_)]
    return named_in_mesh


def _told(walked: Walked, slices: Ints) -> list[bytes]:
    """The texts of slices; empty where one is longer than any name."""
    data = walked.buffer.data
    return [
        data[at : at + size].tobytes() if size <= LONGEST else b""
        for at, size in zip(
            (slices >> OFFSET_BITS).tolist(), (slices & LENGTH_MASK).tolist(), strict=True
        )
    ]
