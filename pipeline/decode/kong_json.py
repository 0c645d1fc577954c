"""Kong's log records: what http-log, file-log, tcp-log, udp-log and kafka-log write.

One JSON object for each request or, of the stream subsystem, for each connection; alone, one on
each line, or in arrays (a queue with ``max_batch_size`` over 1). Times are milliseconds. Source:
Kong's ``kong/pdk/log.lua`` (3.10) and ``log-format.md`` of its documentation; every member is
optional, since ``custom_fields_by_lua`` can delete any.
"""

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.decode.kernels.kernel import Ints
from pipeline.decode.lines.lines import Checked, LineFormat
from pipeline.decode.lines.trace_ids import trace_ids
from pipeline.decode.otlp.consumers import consumers
from pipeline.decode.privacy.pseudonyms import hashed
from pipeline.decode.records.gateway_records import (
    MILLISECONDS,
    RATE_LIMITED,
    UPSTREAM_FAILED,
    UPSTREAM_TIMEOUT,
    Judged,
    Mask,
    address,
    cells_of,
    decoded,
    first_that_holds,
    int64,
    judged,
    mask_of,
    matches,
    members,
    resources_of,
    where,
)
from pipeline.decode.records.record_cells import Cells, column_of, truths
from pipeline.decode.records.record_plan import Records
from pipeline.model.decoded import Decoded

_REQUEST_HEADERS: Final = {
    "host": "host",
    "user_agent": "user-agent",
    "content_type": "content-type",
    "x_request_id": "x-request-id",
    "traceparent": "traceparent",
    "b3": "b3",
    "b3_trace_id": "x-b3-traceid",
    "xray": "x-amzn-trace-id",
    "cloud_trace": "x-cloud-trace-context",
    "anonymous": "x-anonymous-consumer",
}

RECORDS: Final = Records(
    cells={
        "started_at": [("started_at",)],
        "request_id": [("request", "id")],
        "method": [("request", "method")],
        "uri": [("request", "uri")],
        "request_size": [("request", "size")],
        "tls_version": [("request", "tls", "version"), ("session", "tls", "version")],
        "tls_cipher": [("request", "tls", "cipher"), ("session", "tls", "cipher")],
        "tls_verify": [("request", "tls", "client_verify"), ("session", "tls", "client_verify")],
        **{cell: [("request", "headers", name)] for cell, name in _REQUEST_HEADERS.items()},
        "status": [("response", "status")],
        "response_size": [("response", "size")],
        "via": [("response", "headers", "via")],
        "server": [("response", "headers", "server")],
        "grpc_status": [("response", "headers", "grpc-status")],
        "upstream_status": [("upstream_status",)],
        "latency_request": [("latencies", "request")],
        "latency_proxy": [("latencies", "proxy")],
        "latency_receive": [("latencies", "receive")],
        "latency_kong": [("latencies", "kong")],
        "latency_session": [("latencies", "session")],
        "session_received": [("session", "received")],
        "session_sent": [("session", "sent")],
        "session_status": [("session", "status")],
        "tries": [("tries",)],
        "try_ip": [("tries", "ip")],
        "try_port": [("tries", "port")],
        "service_id": [("service", "id")],
        "service_name": [("service", "name")],
        "service_host": [("service", "host")],
        "service_port": [("service", "port")],
        "route_id": [("route", "id")],
        "route_name": [("route", "name")],
        "consumer_id": [("consumer", "id"), ("authenticated_entity", "consumer_id")],
        "consumer_username": [("consumer", "username")],
        "consumer_custom_id": [("consumer", "custom_id")],
        "credential_id": [("authenticated_entity", "id")],
        "client_ip": [("client_ip",)],
        "source": [("source",)],
        "workspace": [("workspace",)],
        "workspace_name": [("workspace_name",)],
        "trace_w3c": [("trace_id", "w3c")],
        "trace_b3": [("trace_id", "b3"), ("trace_id", "b3-single"), ("trace_id", "b3_single")],
        "trace_aws": [("trace_id", "aws")],
        "trace_gcp": [("trace_id", "gcp")],
        "correlation_id": [("correlation_id",)],
    },
    counts={"try_count": ("tries",)},
)


def fits(line: bytes) -> bool:
    """Whether a line looks like a log record of Kong."""
    return {"started_at", "latencies"} <= members(line).keys()


_JUDGED: Final = RECORDS.only("started_at", "status", "method", "session_received", "session_sent")
"""The cells that say whether a record is taken."""


def check(messages: Sequence[bytes]) -> Checked:
    """What ``decode`` would do with messages."""
    return _judged(cells_of(messages, _JUDGED)).checked


LINES: Final = LineFormat(fits, json=True, check=check)

ATTRIBUTES: Final = {
    "latency_kong": "kong.latencies.kong",
    "latency_receive": "kong.latencies.receive",
    "source": "kong.source",
    "service_id": "kong.service.id",
    "service_name": "kong.service.name",
    "route_id": "kong.route.id",
    "consumer_id": "kong.consumer.id",
    "credential_id": "kong.authenticated_entity.id",
    "correlation_id": "kong.correlation_id",
    "session_status": "kong.session.status",
    "anonymous": "http.request.header.x-anonymous-consumer",
    "service_host": "server.address",
    "service_port": "server.port",
    "tls_version": "tls.protocol.version",
    "tls_cipher": "tls.cipher",
    "tls_verify": "kong.tls.client_verify",
}

_OWN, _SUCCESS, _TRUE = (pa.scalar(word) for word in ("kong", "SUCCESS", "true"))
_LAST_STATUS: Final = r"(\d{3})\s*$"
_KONG: Final = re.compile(r"kong/(\S+)")
_KUBERNETES: Final = r"^[^.]+\.[^.]+\.svc(\.|$)"
_TRY: Final = ("ip", "port", "state", "code", "balancer_latency")
"""What is kept of the tries of a request that was tried more than once."""


def decode(messages: Sequence[bytes]) -> Decoded:
    """Decode Kong's log records."""
    cells = cells_of(messages, RECORDS)
    stream = _is_stream(cells)
    tries = cells.counts("try_count")
    proxied = _proxied(cells, tries)
    columns = {
        **_request(cells, stream),
        **_upstream(cells, proxied, tries),
        **_durations(cells, stream),
        **trace_ids([cells.texts(name) for name in _TRACES]),
        "consumer": _consumer(cells),
        "tls_version": _tls_version(cells),
        "downstream_remote_address": hashed(cells.texts("client_ip")),
        "response_flags": _flags(cells, proxied),
    }
    return decoded(cells, columns, _judged(cells), _gateways(cells))


def _judged(cells: Cells) -> Judged:
    started = cells.numbers("started_at", scale=MILLISECONDS)
    unknown = ~(cells.told("status") | cells.told("method") | _is_stream(cells))
    return judged(cells, started, [(unknown, "not a log record of Kong")])


def _is_stream(cells: Cells) -> Mask:
    """Which records are of connections, not of requests."""
    return cells.told("session_received") | cells.told("session_sent")


_TRACES: Final = (
    "trace_w3c", "traceparent", "trace_b3", "b3", "b3_trace_id", "trace_aws", "xray", "trace_gcp",
    "cloud_trace",
)  # fmt: skip


def _proxied(cells: Cells, tries: Ints) -> Mask:
    """Which requests Kong sent on, or tried to: a latency of -1 alone says that it did not."""
    proxied: Mask = (tries > 0) | cells.told("upstream_status") | cells.numbers("latency_proxy")[1]
    return proxied


def _request(cells: Cells, stream: Mask) -> dict[str, pa.Array]:
    grpc = mask_of(pc.starts_with(cells.texts("content_type"), "application/grpc"))
    protocols = (stream, "tcp"), (grpc, "grpc"), (np.ones(len(cells), np.bool_), "http")
    return {
        "protocol": first_that_holds(*protocols),
        "request_id": cells.first("x_request_id", "request_id"),
        "stream_id": cells.texts("request_id"),
        "http_request_method": cells.texts("method"),
        "authority": cells.texts("host"),
        "url_path": cells.paths("uri"),
        "route_name": cells.first("route_name", "route_id"),
        "http_response_status_code": cells.column("status", pa.uint16()),
        "rpc_status_code": cells.texts("grpc_status"),
        "user_agent": cells.texts("user_agent"),
        "request_bytes": pc.coalesce(
            cells.column("request_size", pa.int64()), cells.column("session_received", pa.int64())
        ),
        "response_bytes": pc.coalesce(
            cells.column("response_size", pa.int64()), cells.column("session_sent", pa.int64())
        ),
    }


def _upstream(cells: Cells, proxied: Mask, tries: Ints) -> dict[str, pa.Array]:
    statuses = cells.texts("upstream_status")
    plain, one = cells.numbers("upstream_status", most=999)
    several = cells.told("upstream_status") & ~one
    added = {"kong.upstream_status": where(several, statuses), "kong.tries": _tries(cells, tries)}
    return {
        "upstream_cluster": where(proxied, _service(cells)),
        "upstream_remote_address": address(cells.texts("try_ip"), cells.texts("try_port")),
        "upstream_response_status_code": (
            _last(statuses) if several.any() else column_of(plain, one, pa.uint16())
        ),
        "attempt_count": column_of(tries, tries >= 0, pa.uint32()),
        "attributes": cells.attributes(ATTRIBUTES, added),
    }


def _service(cells: Cells) -> pa.Array:
    """What Kong calls the service; its host where that is a name of Kubernetes' DNS."""
    host = cells.texts("service_host")
    inside = matches(host, _KUBERNETES, literal=".svc")
    return pc.if_else(
        truths(inside), host, cells.first("service_name", "service_host", "service_id")
    )


def _last(statuses: pa.Array) -> pa.Array:
    """The last of the statuses that nginx lists, one for each try."""
    last = pl.Series("status", pl.from_arrow(statuses), pl.String).str.extract(_LAST_STATUS)
    return last.cast(pl.UInt16).to_arrow()


def _tries(cells: Cells, tries: Ints) -> pa.Array:
    """Of requests that were tried more than once the tries, as JSON text."""
    told: list[str | None] = [None] * len(cells)
    rows = np.flatnonzero(tries > 1)
    for row, text in zip(rows.tolist(), cells.raw("tries", rows), strict=True):
        items = [item for item in _json(text) if isinstance(item, dict)]
        kept = [{name: item[name] for name in _TRY if name in item} for item in items]
        told[row] = orjson.dumps(kept).decode()
    return pa.array(told, pa.string())


def _json(text: bytes) -> Sequence[object]:
    """An array, empty where a number in it is larger than any double."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return ()
    return found if isinstance(found, list) else ()


def _durations(cells: Cells, stream: Mask) -> dict[str, pa.Array]:
    proxy, proxy_told = cells.numbers("latency_proxy", scale=MILLISECONDS)
    receive, _ = cells.numbers("latency_receive", scale=MILLISECONDS)
    request = int64(cells.numbers("latency_request", scale=MILLISECONDS))
    session = int64(cells.numbers("latency_session", scale=MILLISECONDS))
    return {
        "duration_ns": pc.if_else(truths(stream), session, request),
        "upstream_duration_ns": int64((proxy + receive, proxy_told)),
    }


def _consumer(cells: Cells) -> pa.Array:
    """Who was authenticated; the anonymous consumer is nobody."""
    name = consumers("kong", cells.first)
    if cells.told("anonymous").any():
        name = where(~mask_of(pc.equal(cells.texts("anonymous"), _TRUE)), name)
    return name


def _tls_version(cells: Cells) -> pa.Array:
    """The version; null where a client proved who it is, since Kong does not tell who."""
    verified = mask_of(pc.equal(cells.texts("tls_verify"), _SUCCESS))
    return where(~verified, cells.texts("tls_version"))


def _flags(cells: Cells, proxied: Mask) -> pa.Array:
    """Why Kong itself answered, where its status says so; nginx has no other words for it."""
    own = mask_of(pc.equal(cells.texts("source"), _OWN))
    status, _ = cells.numbers("status")
    return first_that_holds(
        (own & (status == 429), RATE_LIMITED),
        (own & proxied & (status == 504), UPSTREAM_TIMEOUT),
        (own & proxied & (status == 502), UPSTREAM_FAILED),
    )


def _gateways(cells: Cells) -> tuple[pa.Array, pa.Table]:
    keys = [cells.texts(name) for name in ("workspace", "workspace_name", "via", "server")]
    return resources_of(
        keys,
        lambda told: {
            "service_name": "kong",
            "service_version": _version(*told[2:]),
            "system": "kong",
            "kong.workspace.id": told[0],
            "kong.workspace.name": told[1],
        },
    )


def _version(*told: str) -> str | None:
    """Kong's version, as it puts it into ``via``, or into ``server`` where it answered itself."""
    found = [match[1] for text in told if (match := _KONG.search(text))]
    return found[0] if found else None
