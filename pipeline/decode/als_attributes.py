"""What an access log told beyond its columns, as one JSON object for each entry.

Names follow the OpenTelemetry semantic conventions where they have one, and start with ``envoy.``
where they have not. Custom tags keep their own names; of two things under one name ours counts.
What follows the path of a URL may be secret and is not kept.
"""

from collections import defaultdict
from typing import Final

import numpy as np
import orjson
import pyarrow as pa

from pipeline.decode.als_entries import Entries, joined, nanoseconds
from pipeline.decode.als_messages import TEXTS_BY_TEXT, TIMES
from pipeline.decode.envoy_words import HEADERS_WITH_QUERY
from pipeline.decode.kernel import Ints
from pipeline.decode.protobuf_struct import Json, any_of, struct_or_raw
from pipeline.decode.text import LENGTH_MASK

Objects = list[dict[str, Json]]

COMMON_TEXTS: Final = (
    "upstream_transport_failure_reason",
    "downstream_transport_failure_reason",
    "connection_termination_details",
)
COMMON_COUNTS: Final = (
    "downstream_wire_bytes_sent",
    "downstream_wire_bytes_received",
    "upstream_wire_bytes_sent",
    "upstream_wire_bytes_received",
)
REQUEST_COUNTS: Final = (
    "request_headers_bytes",
    "upstream_header_bytes_sent",
    "downstream_header_bytes_received",
)
RESPONSE_COUNTS: Final = (
    "response_headers_bytes",
    "upstream_header_bytes_received",
    "downstream_header_bytes_sent",
)
REQUEST_TEXTS: Final = {
    "scheme": "url.scheme",
    "forwarded_for": "http.request.header.x-forwarded-for",
}
REQUEST_URLS: Final = {
    "referer": "http.request.header.referer",
    "original_path": "envoy.original_path",
}
TLS_TEXTS: Final = {
    "session_id": "envoy.tls_session_id",
    "ja3": "tls.client.ja3",
    "peer.subject": "tls.client.subject",
    "peer.issuer": "tls.client.issuer",
    "local.subject": "tls.server.subject",
    "local.issuer": "tls.server.issuer",
}


def without_query(url: str) -> str:
    """A URL or path without query and fragment."""
    return url.partition("?")[0].partition("#")[0]


def attributes_of(entries: Entries) -> pa.Array:
    """One JSON object for each entry; None where nothing is left to tell."""
    told: Objects = [{} for _ in range(len(entries))]
    _texts_by_text(entries, told, "custom_tags", "")
    _of_common(entries, told)
    _of_filters(entries, told)
    _of_tls(entries, told)
    for table, prefix in TEXTS_BY_TEXT.items():
        if prefix:
            _texts_by_text(entries, told, table, prefix)
    _of_http(entries, told)
    return pa.array([orjson.dumps(one).decode() if one else None for one in told], pa.string())


def _of_common(entries: Entries, told: Objects) -> None:
    common = entries.common
    for name in COMMON_TEXTS:
        _texts(entries, told, f"envoy.{name}", common.column(name))
    for name in COMMON_COUNTS:
        _counts(told, f"envoy.{name}", common.column(name))
    for entry in np.flatnonzero(common.column("intermediate_log_entry")).tolist():
        told[entry]["envoy.intermediate_log_entry"] = True
    for name in TIMES.values():
        key = f"envoy.{name}_ns"
        here = np.flatnonzero(common.present(name))
        for entry, time in zip(
            here.tolist(), nanoseconds(common, name)[here].tolist(), strict=True
        ):
            told[entry][key] = time


def _of_filters(entries: Entries, told: Objects) -> None:
    rows = entries.walked.rows("filter_state")
    values = [
        any_of(entries.text(type_url), entries.data(value))
        for type_url, value in zip(
            rows.column("type_url").tolist(), rows.column("value").tolist(), strict=True
        )
    ]
    _values_by_text(entries, told, "filter_state", values)
    structs = joined(entries, "structs", len(entries.walked.rows("metadata")))
    _values_by_text(entries, told, "metadata", [struct_or_raw(struct) for struct in structs])


def _values_by_text(entries: Entries, told: Objects, table: str, values: list[Json]) -> None:
    gathered: defaultdict[int, dict[str, Json]] = defaultdict(dict)
    keys = entries.walked.rows(table).column("key").tolist()
    for entry, key, value in zip(entries.owners(table).tolist(), keys, values, strict=True):
        gathered[entry][entries.text(key)] = value
    for entry, by_text in gathered.items():
        told[entry][f"envoy.{table}"] = by_text


def _of_tls(entries: Entries, told: Objects) -> None:
    tls = entries.parts["tls"]
    here = np.flatnonzero(tls.present("cipher_suite_told"))
    suites = tls.column("cipher_suite")[here].tolist()
    for entry, suite in zip(here.tolist(), suites, strict=True):
        told[entry]["envoy.tls_cipher_suite"] = suite
    for name, key in TLS_TEXTS.items():
        _texts(entries, told, key, tls.column(name))


def _of_http(entries: Entries, told: Objects) -> None:
    request, response = entries.parts["requests"], entries.parts["responses"]
    for name, key in REQUEST_TEXTS.items():
        _texts(entries, told, key, request.column(name))
    for name, key in REQUEST_URLS.items():
        _texts(entries, told, key, request.column(name), url=True)
    for name in REQUEST_COUNTS:
        _counts(told, f"envoy.{name}", request.column(name))
    for name in RESPONSE_COUNTS:
        _counts(told, f"envoy.{name}", response.column(name))
    _counts(told, "server.port", request.column("port"))


def _texts(entries: Entries, told: Objects, key: str, slices: Ints, *, url: bool = False) -> None:
    here = np.flatnonzero(slices & LENGTH_MASK)
    for entry, one in zip(here.tolist(), slices[here].tolist(), strict=True):
        text = entries.text(one)
        if url:
            text = without_query(text)
        if text:
            told[entry][key] = text


def _counts(told: Objects, key: str, counts: Ints) -> None:
    here = np.flatnonzero(counts)
    for entry, count in zip(here.tolist(), counts[here].view(np.uint64).tolist(), strict=True):
        told[entry][key] = count


def _texts_by_text(entries: Entries, told: Objects, table: str, prefix: str) -> None:
    rows = entries.walked.rows(table)
    headers = bool(prefix)
    for entry, key_slice, value_slice in zip(
        entries.owners(table).tolist(),
        rows.column("key").tolist(),
        rows.column("value").tolist(),
        strict=True,
    ):
        key, value = entries.text(key_slice), entries.text(value_slice)
        if headers and key.lower() in HEADERS_WITH_QUERY:
            value = without_query(value)
        told[entry][prefix + key] = value
