"""What is peculiar to the spans of Kong's OpenTelemetry plugin, put into the columns of all spans.

Kong is a proxy that does not say so. One span ``kong`` (server) stands for a request; each try to
send it on is a span ``kong.balancer`` (client) under it, numbered from 1 by ``try_count``; what
plugins ask elsewhere is ``kong.internal.request`` (client), which tells its peer in the URL alone;
phases and plugins are internal. A look-up in DNS (``kong.dns``) is a client span, too, though it
calls no service and is mostly answered from a cache. Source: Kong's
``kong/observability/tracing/instrumentation.lua`` (3.10).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.decode.wire.intern import KONG, Interned, id_of

SCOPE: Final = "kong-internal"
"""The instrumentation scope of these spans, whatever name Kong was given as a service."""

_DNS: Final = "kong.dns"
_INTERNAL, _CLIENT = 1, 3
_WHOLE: Final = r"(?P<told>\d{1,9})(?:\.0)?[,}]"
"""A number that is whole; Kong writes all but statuses as doubles."""
_TRY: Final = r'"try_count":' + _WHOLE
_PEER_PORT: Final = r'"net\.peer\.port":' + _WHOLE
_HOST: Final = r'"http\.url":"[a-z]+://(?:[^/"@]*@)?(?P<told>\[[^\]"]+\]|[^/:?#"]+)'
_PORT: Final = r'"http\.url":"[a-z]+://[^/?#"]*:(?P<told>\d{1,5})[/?#"]'

Mask = NDArray[np.bool_]


def by_kong(scopes: Interned) -> Mask:
    """For each owner of a scope whether that is Kong's."""
    return np.array([row["name"] == SCOPE for row in scopes.rows], np.bool_)[scopes.index]


def with_system(resources: Interned, kong: Mask) -> Interned:
    """The resources with Kong's system for those that spans of Kong are from.

    A resource that has another name is not known for Kong's by itself, so the row that says it is
    has an id of its own.

    Args:
        resources: of all owners.
        kong: which owners have spans of Kong.
    """
    rows, index = list(resources.rows), resources.index.copy()
    for number in np.unique(index[kong]).tolist():
        row = rows[number]
        if row["system"] != KONG:
            index[kong & (resources.index == number)] = len(rows)
            id_ = id_of(f"{row['attributes']}{KONG}".encode())
            rows.append({**row, "resource_id": id_, "system": KONG})
    return replace(resources, rows=rows, index=index)


def with_meaning(columns: Mapping[str, pa.Array], kong: Mask) -> dict[str, pa.Array]:
    """Columns of ``spans`` as Kong means them.

    Look-ups in DNS are internal, tries are numbered from 0, and a call has the port that was told
    as a double, and the host that only its URL names. What was told stays in ``attributes``.

    Args:
        columns: columns of spans.
        kong: which of the spans are Kong's.
    """
    if not kong.any():
        return dict(columns)
    ours = pa.array(kong)
    told = pc.if_else(ours, columns["attributes"], None)
    host, port = columns["server_address"], columns["server_port"]
    tries = _number(told, _TRY)
    of_url = pc.and_(ours, pc.and_(pc.equal(columns["kind"], _CLIENT), pc.is_null(host)))
    dns = pc.and_(ours, pc.equal(columns["name"], _DNS))
    return {
        **columns,
        "kind": pc.if_else(dns, pa.scalar(_INTERNAL, pa.uint8()), columns["kind"]),
        "http_request_resend_count": pc.coalesce(
            columns["http_request_resend_count"],
            pc.if_else(pc.greater(tries, 0), pc.subtract(tries, pa.scalar(1, pa.uint32())), None),
        ),
        "server_address": pc.if_else(of_url, _text(told, _HOST), host),
        "server_port": pc.coalesce(
            port, _number(told, _PEER_PORT), pc.if_else(of_url, _number(told, _PORT), None)
        ),
    }


def _text(attributes: pa.Array, pattern: str) -> pa.Array:
    return pc.struct_field(pc.extract_regex(attributes, pattern), "told")


def _number(attributes: pa.Array, pattern: str) -> pa.Array:
    return _text(attributes, pattern).cast(pa.uint32())
