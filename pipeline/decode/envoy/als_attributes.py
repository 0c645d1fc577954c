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

from pipeline.decode.envoy.als_entries import Entries, joined, nanoseconds
from pipeline.decode.envoy.als_messages import TEXTS_BY_TEXT, TIMES
from pipeline.decode.kernels.hashing import distinct
from pipeline.decode.kernels.json_members import Members
from pipeline.decode.kernels.json_text import JSON
from pipeline.decode.kernels.kernel import Buffer, Ints, kernel
from pipeline.decode.kernels.text import LENGTH_MASK, OFFSET_BITS
from pipeline.decode.wire.otlp_common import BOOL, INT, STRING
from pipeline.decode.wire.protobuf_struct import Json, any_of, struct_or_raw
from pipeline.model.secret_keys import URL_HEADERS

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


_QUERY, _FRAGMENT = ord("?"), ord("#")


def attributes_of(entries: Entries) -> pa.Array:
    """One JSON object for each entry; None where nothing is left to tell."""
    told = Members(entries.walked.buffer, len(entries))
    _texts_by_text(entries, told, "custom_tags", "")
    _of_common(entries, told)
    _of_filters(entries, told)
    _of_tls(entries, told)
    for table, prefix in TEXTS_BY_TEXT.items():
        if prefix:
            _texts_by_text(entries, told, table, prefix)
    _of_http(entries, told)
    return told.objects()


def _of_common(entries: Entries, told: Members) -> None:
    common = entries.common
    for name in COMMON_TEXTS:
        _texts(told, f"envoy.{name}", common.column(name))
    for name in COMMON_COUNTS:
        _counts(told, f"envoy.{name}", common.column(name))
    here = np.flatnonzero(common.column("intermediate_log_entry"))
    told.add(here, told.text(b"envoy.intermediate_log_entry"), 1, BOOL)
    for name in TIMES.values():
        here = np.flatnonzero(common.present(name))
        times = nanoseconds(common, name)[here]
        told.add(here, told.text(f"envoy.{name}_ns".encode()), times, INT)


def _of_filters(entries: Entries, told: Members) -> None:
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


def _values_by_text(entries: Entries, told: Members, table: str, values: list[Json]) -> None:
    gathered: defaultdict[int, dict[str, Json]] = defaultdict(dict)
    keys = entries.walked.rows(table).column("key").tolist()
    for entry, key, value in zip(entries.owners(table).tolist(), keys, values, strict=True):
        gathered[entry][entries.text(key)] = value
    owners = np.array(list(gathered), np.int64)
    texts = told.texts([orjson.dumps(by_text) for by_text in gathered.values()])
    told.add(owners, told.text(f"envoy.{table}".encode()), texts, JSON)


def _of_tls(entries: Entries, told: Members) -> None:
    tls = entries.parts["tls"]
    here = np.flatnonzero(tls.present("cipher_suite_told"))
    suites = tls.column("cipher_suite")[here]
    told.add(here, told.text(b"envoy.tls_cipher_suite"), suites, INT)
    for name, key in TLS_TEXTS.items():
        _texts(told, key, tls.column(name))


def _of_http(entries: Entries, told: Members) -> None:
    request, response = entries.parts["requests"], entries.parts["responses"]
    for name, key in REQUEST_TEXTS.items():
        _texts(told, key, request.column(name))
    for name, key in REQUEST_URLS.items():
        _texts(told, key, _without_query(entries, request.column(name)))
    for name in REQUEST_COUNTS:
        _counts(told, f"envoy.{name}", request.column(name))
    for name in RESPONSE_COUNTS:
        _counts(told, f"envoy.{name}", response.column(name))
    _counts(told, "server.port", request.column("port"))


def _texts(told: Members, key: str, slices: Ints) -> None:
    here = np.flatnonzero(slices & LENGTH_MASK)
    told.add(here, told.text(key.encode()), slices[here], STRING)


def _counts(told: Members, key: str, counts: Ints) -> None:
    label = told.text(key.encode())
    here = np.flatnonzero(counts > 0)
    told.add(here, label, counts[here], INT)
    huge = np.flatnonzero(counts < 0)  # unsigned, and over 63 bits
    digits = [b"%d" % one for one in counts[huge].view(np.uint64).tolist()]
    told.add(huge, label, told.texts(digits), JSON)


def _texts_by_text(entries: Entries, told: Members, table: str, prefix: str) -> None:
    rows = entries.walked.rows(table)
    keys, values = rows.column("key"), rows.column("value")
    if prefix and len(rows):
        first, kinds = distinct(entries.walked.buffer, keys)
        names = [entries.text(one) for one in keys[first].tolist()]
        keys = told.texts([(prefix + name).encode() for name in names])[kinds]
        urls = np.array([name.lower() in URL_HEADERS for name in names])[kinds]
        values = np.where(urls, _without_query(entries, values), values)
    told.add(entries.owners(table), keys, values, STRING)


def _without_query(entries: Entries, urls: Ints) -> Ints:
    """URLs or paths without query and fragment."""
    cut = urls.copy()
    _cut(entries.walked.buffer, cut)
    return cut


@kernel
def _cut(source: Buffer, urls: Ints) -> None:
    for index in range(len(urls)):
        begin = urls[index] >> OFFSET_BITS
        for length in range(urls[index] & LENGTH_MASK):
            if source.data[begin + length] in (_QUERY, _FRAGMENT):
                urls[index] = begin << OFFSET_BITS | length
                break
