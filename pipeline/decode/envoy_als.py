"""Envoy's access log service: ``StreamAccessLogsMessage`` to rows of ``access_logs``.

Each message stands for itself: whoever took the stream put the stream's identifier, which Envoy
tells only once, in front of every message. Durations are of the proxy's own clock and may be
negative; entries whose times no column can hold are refused.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.decode.envoy.als_addresses import address
from pipeline.decode.envoy.als_attributes import attributes_of
from pipeline.decode.envoy.als_entries import Entries, entries_of, nanoseconds, words
from pipeline.decode.envoy.als_messages import ADDRESSES, ENVOY_ALS, TEXTS_BY_TEXT, TIMES
from pipeline.decode.envoy.resources import resources_of
from pipeline.decode.envoy.words import (
    HTTP_VERSIONS,
    REQUEST_METHODS,
    RESPONSE_FLAGS,
    TLS_VERSIONS,
    UNAUTHORIZED,
)
from pipeline.decode.gates.wire_gate import WireGate
from pipeline.decode.kernels.columns import numbers, times
from pipeline.decode.kernels.kernel import Ints
from pipeline.decode.kernels.text import LENGTH_MASK
from pipeline.decode.privacy.masking import MaskedKeys
from pipeline.decode.wire.parts import Part, first_told
from pipeline.decode.wire.refusals import LONGEST_NAME, Bad, too_long, with_bad
from pipeline.decode.wire.walk import Rows, Walked
from pipeline.model.decoded import Decoded, Refusal
from pipeline.model.tables import ACCESS_LOGS, RESOURCES

Truths = NDArray[np.bool_]

LAST_START: Final = 9_223_372_030
"""Seconds before and after 1970 up to which a time fits 64 bits, whatever its nanos."""

LAST_DURATION: Final = 4_611_686_010
"""Seconds up to which the difference of two durations fits, too."""

LONG: Final = f"the name of its log is longer than {LONGEST_NAME:,} bytes"
UNREPRESENTABLE: Final = "a time outside the years 1677 to 2262, or a duration over 146 years"
URI, DNS = 1, 2
TRACEPARENT: Final = r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?$"
URLS: Final = ("path", "original_path", "referer")
"""Cells of requests that hold URLs."""
QUERY: Final = "(?s)[?#].*"
GRPC: Final = "application/grpc"
GRPC_STATUS: Final = "grpc-status"
UNTOLD: Final = {"consumer": pa.string(), "upstream_response_status_code": pa.uint16()}
"""Columns that only other logs fill."""


def decode(messages: Sequence[bytes]) -> Decoded:
    """Decode serialised ``StreamAccessLogsMessage`` messages."""
    walked = ENVOY_ALS.walk(messages)
    entries = entries_of(walked)
    if not len(entries):
        return Decoded(refused=walked.refused)
    kept = _representable(entries.common) & ~too_long(_log_names(walked))
    ids, resources = resources_of(walked, entries.common.parents, kept)
    columns = _common(entries) | _addresses(entries) | _tls(entries) | _http(entries)
    columns |= {
        "resource_id": ids,
        "log_name": entries.texts(kept * _log_names(walked)),
        "attributes": attributes_of(entries),
        **{name: pa.nulls(len(entries), kind) for name, kind in UNTOLD.items()},
    }
    rows = pa.table([columns[name] for name in ACCESS_LOGS.names], ACCESS_LOGS.arrow)
    return Decoded(
        {ACCESS_LOGS.name: rows.filter(pa.array(kept)), RESOURCES.name: resources},
        refused(walked),
    )


def refused(walked: Walked) -> tuple[Refusal, ...]:
    """Malformed messages, entries with a time that no column holds, and those of endless logs."""
    rows = walked.rows("entries")
    long = too_long(_log_names(walked))
    places = rows.column("http") | rows.column("tcp")
    return with_bad(
        walked,
        *(
            Bad(rows.parents[bad], places[bad], reason)
            for bad, reason in ((long, LONG), (~long & ~_representable(rows), UNREPRESENTABLE))
        ),
    )


def _log_names(walked: Walked) -> Ints:
    """Of each entry the name of its log, as slices."""
    identifiers = Part(walked.rows("identifiers"), len(walked.bounds))
    names: Ints = identifiers.column("log_name")[walked.rows("entries").parents]
    return names


def _representable(common: Rows) -> Truths:
    fit: Truths = _within(common.column("start_time.seconds"), LAST_START)
    for name in ("duration", *TIMES.values()):
        fit &= _within(common.column(f"{name}.seconds"), LAST_DURATION)
    return fit


def _within(values: Ints, limit: int) -> Truths:
    return (values >= -limit) & (values <= limit)


def _common(entries: Entries) -> dict[str, pa.Array]:
    common = entries.common
    kind = common.column("log_type")
    rate = common.column("sample_rate")
    share = np.ascontiguousarray(rate).view(np.float64)
    return {
        "start_time": times(nanoseconds(common, "start_time"), common.present("start_time")),
        "log_type": numbers(kind, pa.uint8(), (kind >= 0) & (kind <= 255)),
        "stream_id": entries.texts(common.column("stream_id")),
        "route_name": entries.texts(common.column("route_name")),
        "upstream_cluster": entries.texts(common.column("upstream_cluster")),
        "response_flags": _flags(entries.parts["flags"]),
        "sample_rate": numbers(rate, pa.float64(), (share > 0) & (share <= 1)),
    } | _durations(entries)


def _durations(entries: Entries) -> dict[str, pa.Array]:
    common = entries.common
    told, ended = common.present("duration"), common.present("time_to_last_downstream_tx_byte")
    first, last = "time_to_first_upstream_tx_byte", "time_to_last_upstream_rx_byte"
    duration = np.where(
        told,
        nanoseconds(common, "duration"),
        nanoseconds(common, "time_to_last_downstream_tx_byte"),
    )
    upstream = nanoseconds(common, last) - nanoseconds(common, first)
    return {
        "duration_ns": numbers(duration, pa.int64(), told | ended),
        "upstream_duration_ns": numbers(
            upstream, pa.int64(), common.present(first) & common.present(last)
        ),
    }


def _flags(flags: Part) -> pa.Array:
    """The short names of the flags that are set, joined in the order of their field numbers."""
    bits = np.zeros(len(flags), np.int64)
    for number, name in RESPONSE_FLAGS.items():
        told = flags.present(name) if number == UNAUTHORIZED else flags.column(name) != 0
        bits |= told.astype(np.int64) << number
    known, places = np.unique(bits, return_inverse=True)
    joined = [
        ",".join(name for number, name in RESPONSE_FLAGS.items() if one >> number & 1) or None
        for one in known.tolist()
    ]
    return pa.array(joined, pa.string()).take(pa.array(places))


def _addresses(entries: Entries) -> dict[str, pa.Array]:
    columns = {table: address(entries, table) for table in ADDRESSES.values()}
    attempts = pa.array(entries.common.column("attempt_count"), pa.int64()).cast(pa.uint32())
    # no attempt, although a host was reached, is what proxies say that do not count attempts
    untold = pc.and_(pc.equal(attempts, 0), columns["upstream_remote_address"].is_valid())
    nothing = pa.scalar(None, pa.uint32())
    return columns | {"attempt_count": pc.if_else(untold, nothing, attempts)}


def _tls(entries: Entries) -> dict[str, pa.Array]:
    tls = entries.parts["tls"]
    return {
        "tls_version": words(tls.column("version"), TLS_VERSIONS),
        "tls_sni": entries.texts(tls.column("sni")),
        "tls_peer_identity": _identity(entries, "peer_names"),
        "tls_local_identity": _identity(entries, "local_names"),
    }


def _identity(entries: Entries, table: str) -> pa.Array:
    """The first URI among the names of a certificate, else its first DNS name."""
    rows = entries.walked.rows(table)
    owners, names, kind = entries.owners(table), rows.column("name"), rows.column("kind")
    told = names & LENGTH_MASK > 0
    first = [
        first_told(names[here], owners[here], len(entries))
        for here in (told & (kind == URI), told & (kind == DNS))
    ]
    return entries.texts(np.where(first[0] != 0, first[0], first[1]))


def _http(entries: Entries) -> dict[str, pa.Array]:
    """What only HTTP entries tell, and the bytes that both kinds tell."""
    request, response = entries.parts["requests"], entries.parts["responses"]
    http = entries.common.present("http")
    code = response.column("response_code")
    content_type = entries.texts(_header(entries, "request_headers", "content-type"))
    grpc = pc.coalesce(pc.starts_with(content_type, GRPC), False)
    path = pc.replace_substring_regex(entries.texts(request.column("path")), QUERY, "")
    return (
        {
            "protocol": pc.if_else(pa.array(http), pc.if_else(grpc, "grpc", "http"), "tcp"),
            "protocol_version": words(entries.common.column("protocol_version"), HTTP_VERSIONS),
            "request_id": entries.texts(request.column("request_id")),
            "http_request_method": words(request.column("method"), REQUEST_METHODS),
            "authority": entries.texts(request.column("authority")),
            "url_path": pc.if_else(pc.equal(path, ""), pa.scalar(None, pa.string()), path),
            "http_response_status_code": numbers(code, pa.uint16(), http & (code < 1 << 16)),
            "rpc_status_code": _grpc_status(entries),
            "response_code_details": entries.texts(response.column("response_code_details")),
            "user_agent": entries.texts(request.column("user_agent")),
        }
        | _bytes(entries)
        | _trace(entries)
    )


def _bytes(entries: Entries) -> dict[str, pa.Array]:
    connection, tcp = entries.parts["connections"], entries.common.present("tcp")
    columns = {}
    for column, part, body, of_connection in (
        ("request_bytes", "requests", "request_body_bytes", "received_bytes"),
        ("response_bytes", "responses", "response_body_bytes", "sent_bytes"),
    ):
        told = np.where(tcp, connection.column(of_connection), entries.parts[part].column(body))
        columns[column] = numbers(told, pa.int64(), told >= 0)
    return columns


def _header(entries: Entries, table: str, name: str) -> Ints:
    """Of each entry the slice of one value of a map; of a key told twice, the last."""
    rows = entries.walked.rows(table)
    here = pc.equal(entries.texts(rows.column("key")), name)
    here = pc.coalesce(here, False).to_numpy(zero_copy_only=False)
    values = np.zeros(len(entries), np.int64)
    values[entries.owners(table)[here]] = rows.column("value")[here]
    return values


def _grpc_status(entries: Entries) -> pa.Array:
    trailer = _header(entries, "response_trailers", GRPC_STATUS)
    header = _header(entries, "response_headers", GRPC_STATUS)
    return entries.texts(np.where(trailer & LENGTH_MASK, trailer, header))


def _trace(entries: Entries) -> dict[str, pa.Array]:
    """The trace id of the request's ``traceparent``, when that header is logged and valid."""
    parents = entries.texts(_header(entries, "request_headers", "traceparent"))
    valid = pc.coalesce(pc.match_substring_regex(parents, TRACEPARENT), False)
    here = valid.to_numpy(zero_copy_only=False)
    halves = np.zeros((len(entries), 2), np.uint64)
    for entry, text in zip(
        np.flatnonzero(here).tolist(), parents.filter(valid).to_pylist(), strict=True
    ):
        halves[entry] = int(text[3:19], 16), int(text[19:35], 16)
    nothing = ~halves.any(axis=1)
    return {
        "trace_id_high": pa.array(halves[:, 0], mask=nothing),
        "trace_id_low": pa.array(halves[:, 1], mask=nothing),
    }


def mask(walked: Walked, masked: MaskedKeys) -> bool:
    """Overwrite secrets in headers, tags and in the queries of paths; tells if there were any."""
    hidden = masked.mask(walked, TEXTS_BY_TEXT)
    return masked.mask_cells(walked, "requests", URLS) or hidden


GATE: Final = WireGate(ENVOY_ALS, ("entries",), refused, mask)
"""What the door knows of access logs."""
